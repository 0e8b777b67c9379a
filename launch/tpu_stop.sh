#!/usr/bin/env bash
# Ends training on every worker of a TPU: it saves after its step; tpu_run.sh resumes it.
#
# launch/tpu_stop.sh --name=NAME --zone=ZONE [OPTIONS]
#
#   --save_seconds   after SIGTERM until what is left is killed; 600
#   --project        by default gcloud's own
#   --dry_run        print the command, run nothing
#
# End tpu_watch.sh first: it would start the run again.
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project='' save_seconds=600
options 'name zone project save_seconds' '' "$@"
tpu
whole_number save_seconds
no_arguments

on_worker all bash xlt_jax/launch/_worker.sh stop "$save_seconds"
