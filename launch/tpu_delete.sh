#!/usr/bin/env bash
# Deletes a TPU slice and all that is on its disks, after its name was typed.
#
# launch/tpu_delete.sh --name=NAME --zone=ZONE [OPTIONS]
#
#   --queued    it was made with --queued: delete the queued resource and its slice
#   --yes       do not ask
#   --project   by default gcloud's own
#   --dry_run   print the command, run nothing
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project='' queued=no yes=no
options 'name zone project' 'queued yes' "$@"
tpu
no_arguments

confirm "the TPU $name in $zone and its disks" "$name" "$yes"
if [ "$queued" = yes ]; then
  run gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet
else
  run gcloud compute tpus tpu-vm delete "$name" "${place[@]}" --quiet
fi
