#!/usr/bin/env bash
# Starts training on every worker of a TPU; it goes on when this connection ends.
#
# launch/tpu_run.sh --name=NAME --zone=ZONE [--project=PROJECT] [--dry_run] -- ARGUMENTS
#
# ARGUMENTS are those of python -m xlt_jax.train. With several workers MODEL_DIR must be a folder
# that all of them see, such as gs://...: the same command resumes from it. The log is
# ~/xlt_jax/train.log on each worker (tpu_logs.sh), the exit status ~/xlt_jax/train.exit.
# Refuses to start beside a run that goes on; tpu_stop.sh ends one.
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project=''
options 'name zone project' '' "$@"
tpu
training_arguments

on_worker all bash xlt_jax/launch/_worker.sh start "${arguments[@]}"
