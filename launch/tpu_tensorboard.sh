#!/usr/bin/env bash
# Runs TensorBoard on worker 0 of a TPU and shows it at http://localhost:PORT until Ctrl-C.
#
# launch/tpu_tensorboard.sh --name=NAME --zone=ZONE [OPTIONS]
#
#   --logdir    MODEL_DIR or a folder of several, gs:// or below ~/xlt_jax; runs
#   --port      here and there; 6006
#   --project   by default gcloud's own
#   --dry_run   print the command, run nothing
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project='' logdir=runs port=6006
options 'name zone project logdir port' '' "$@"
tpu
whole_number port
no_arguments

# The terminal (-t) ends TensorBoard there with the connection.
run gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker=0 \
  --command="$(quoted bash xlt_jax/launch/_worker.sh tensorboard "$logdir" "$port")" \
  -- -t -L "$port:localhost:$port"
