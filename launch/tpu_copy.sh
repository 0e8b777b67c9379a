#!/usr/bin/env bash
# Copies a run's results here, without its checkpoints: logs, scores, predictions, TensorBoard.
#
# launch/tpu_copy.sh --from=FOLDER --to=FOLDER [OPTIONS]
#
#   --from          MODEL_DIR: gs://..., or a folder of worker 0 below ~/xlt_jax such as runs/x
#   --to            a folder here that will hold the same files; made if need be
#   --checkpoints   copy them too
#   --name, --zone, --project   the TPU; --name and --zone are not needed for gs://
#   --dry_run       print the commands, run nothing
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project='' from='' to='' checkpoints=no
options 'name zone project from to' checkpoints "$@"
required from to
no_arguments
case $to in
  *:* | -*) refuse "--to must be a folder here without a colon, not $(quoted "$to")." ;;
esac

excluded=()
case $from in
  gs://?*)
    need gcloud "Install Google's Cloud SDK, then run: gcloud auth login"
    [ "$checkpoints" = yes ] || excluded=(--exclude='(.*/)?checkpoint_[0-9]+.*')
    [ -z "$project" ] || place=(--project="$project")
    run mkdir -p "$to"
    run gcloud storage rsync --recursive ${excluded[@]+"${excluded[@]}"} \
      ${place[@]+"${place[@]}"} "$from" "$to"
    exit
    ;;
esac
tpu
[ "$checkpoints" = yes ] || excluded=(--exclude='checkpoint_[0-9]*')
on_worker 0 tar -C xlt_jax -czf xlt_jax_results.tar.gz ${excluded[@]+"${excluded[@]}"} -C "$from" .
run mkdir -p "$to"
run gcloud compute tpus tpu-vm scp "$name:xlt_jax_results.tar.gz" "$to/results.tar.gz" \
  "${place[@]}" --worker=0
run tar -C "$to" -xzf "$to/results.tar.gz"
run rm "$to/results.tar.gz"
