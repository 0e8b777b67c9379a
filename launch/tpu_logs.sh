#!/usr/bin/env bash
# Follows the log of one worker of a TPU, or of all with the worker's name before each line.
#
# launch/tpu_logs.sh --name=NAME --zone=ZONE [OPTIONS]
#
#   --worker    its number, or all; 0
#   --lines     of the past to begin with; 50
#   --project   by default gcloud's own
#   --dry_run   print the command, run nothing
#
# Ends when the run ends, and says how. Ctrl-C ends the watching, not the run.
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project='' worker=0 lines=50
options 'name zone project worker lines' '' "$@"
tpu
worker_number worker
whole_number lines
no_arguments

named=no
[ "$worker" != all ] || named=yes
on_worker "$worker" bash xlt_jax/launch/_worker.sh log "$lines" "$named"
