#!/usr/bin/env bash
# The job of slurm.sh, run by Slurm on the first node: _slurm_job.sh PYTHON ARGUMENTS
set -euo pipefail
python=$1
shift
export JAX_PLATFORMS=cuda,cpu PYTHONUNBUFFERED=1 # without a GPU it fails rather than train on CPUs
# Under Slurm JAX takes one GPU per process unless it is told.
JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((SLURM_GPUS_ON_NODE - 1)))
export JAX_LOCAL_DEVICE_IDS
# When one process has ended the others may still be saving.
step=(srun --cpu-bind=none --kill-on-bad-exit=0 --wait=600)
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || step+=(--cpus-per-task="$SLURM_CPUS_PER_TASK")

trap 'exit 143' TERM # scancel: the end, not once more
code=0
"${step[@]}" "$python" -m xlt_jax.train --distributed=slurm "$@" || code=$?
if [ "$code" -eq 143 ]; then # SIGTERM: saved before the time was up
  echo "Saved; job $SLURM_JOB_ID is queued again."
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
