#!/usr/bin/env bash
# Trains on this machine's GPUs with one process for all of them.
#
# launch/gpu_run.sh [OPTIONS] -- ARGUMENTS
#
#   --gpus      their numbers, such as 0,1; by default all
#   --python    the interpreter; .venv/bin/python of this checkout
#   --dry_run   print the command, run nothing
#
# ARGUMENTS are those of python -m xlt_jax.train. JAX's part for GPUs, once, with the version N of
# requirements.lock: .venv/bin/pip install 'jax[cuda12]==N'
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
gpus='' python=$root/.venv/bin/python
options 'gpus python' '' "$@"
training_arguments
need "$python" 'Run make first, or name an interpreter with --python.'
case $gpus in
  *[!0-9,]* | ,* | *, | *,,*) refuse "--gpus must be numbers such as 0,1, not $(quoted "$gpus")." ;;
esac

settings=('JAX_PLATFORMS=cuda,cpu') # without a GPU this fails rather than train on the CPU
[ -z "$gpus" ] || settings+=(CUDA_VISIBLE_DEVICES="$gpus")
run env "${settings[@]}" "$python" -m xlt_jax.train --distributed=none "${arguments[@]}"
