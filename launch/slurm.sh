#!/usr/bin/env bash
# Hands a run to Slurm: one process per node, for all GPUs of the node.
#
# launch/slurm.sh --nodes=N --gpus_per_node=N --time=TIME [OPTIONS] -- ARGUMENTS
#
#   --time            at most, as Slurm writes it: 12:00:00
#   --name            of the job; xlt_jax
#   --partition, --account, --cpus_per_task   as sbatch has them
#   --save_seconds    before the time is up the run gets SIGTERM, saves, ends, and is queued again;
#                     300
#   --python          the interpreter, on every node; .venv/bin/python of this checkout
#   --sbatch_flag     handed to sbatch, such as --sbatch_flag=--constraint=a100; repeatable
#   --dry_run         print the command, run nothing
#
# ARGUMENTS are those of python -m xlt_jax.train; MODEL_DIR must be a folder that all nodes see. The
# job runs in this checkout and its log is runs/slurm/NAME-JOB.log. A job whose node fails or that
# is preempted is queued again and resumes. scancel ends it for good, without saving;
# scancel --signal=TERM JOB saves and queues it again.
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
nodes='' gpus_per_node='' time='' name=xlt_jax partition='' account='' cpus_per_task=''
save_seconds=300 python=$root/.venv/bin/python
options 'nodes gpus_per_node time name partition account cpus_per_task save_seconds python
  sbatch_flag' '' "$@"
required nodes gpus_per_node time
for each in nodes gpus_per_node save_seconds; do whole_number "$each"; done
[ -z "$cpus_per_task" ] || whole_number cpus_per_task
training_arguments
case $name in
  *[!A-Za-z0-9_.-]*) refuse "--name must be letters, digits and _.-, not $(quoted "$name")." ;;
esac
need sbatch "Run this on a login node of a Slurm cluster."
need "$python" 'Run make first, or name an interpreter with --python.'

extra=()
[ -z "$partition" ] || extra+=(--partition="$partition")
[ -z "$account" ] || extra+=(--account="$account")
[ -z "$cpus_per_task" ] || extra+=(--cpus-per-task="$cpus_per_task")
extra+=(${flags[@]+"${flags[@]}"})
run mkdir -p "$root/runs/slurm"
run sbatch --job-name="$name" --nodes="$nodes" --ntasks-per-node=1 \
  --gpus-per-node="$gpus_per_node" --time="$time" --requeue --open-mode=append \
  --signal="TERM@$save_seconds" --chdir="$root" --output="$root/runs/slurm/%x-%j.log" \
  ${extra[@]+"${extra[@]}"} "$root/launch/_slurm_job.sh" "$python" "${arguments[@]}"
