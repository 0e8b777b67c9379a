#!/usr/bin/env bash
# Makes a TPU slice: on demand, spot, or through the queue (waits until it is there).
#
# launch/tpu_create.sh --name=NAME --zone=ZONE --type=TYPE [OPTIONS]
#
#   --name           of the slice, and of the queued resource
#   --zone           such as us-central2-b
#   --type           accelerator and size: v3-8, v4-64, v5litepod-16, v5p-128, v6e-8 ...
#   --version        the machines' software; by default the plain one for the type
#   --spot           cheaper, and may be taken away at any time; see tpu_watch.sh
#   --queued         ask for a queued resource and wait until it is ACTIVE
#   --poll_seconds   between two looks at the queue; 60
#   --gcloud_flag    handed to gcloud's create, such as --gcloud_flag=--network=mine; repeatable
#   --project        by default gcloud's own
#   --dry_run        print the commands, run nothing
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project='' type='' version='' poll_seconds=60 spot=no queued=no
options 'name zone project type version poll_seconds gcloud_flag' 'spot queued' "$@"
tpu
required type
whole_number poll_seconds
no_arguments

if [ -z "$version" ]; then
  case $type in
    v2-* | v3-* | v4-*) version=tpu-ubuntu2204-base ;;
    v5litepod-*) version=v2-alpha-tpuv5-lite ;;
    v5p-*) version=v2-alpha-tpuv5 ;;
    v6e-*) version=v2-alpha-tpuv6e ;;
    *)
      refuse "No software is known for --type $(quoted "$type") (known: v2- v3- v4- v5litepod-" \
        "v5p- v6e-). Give --version; these are in:" \
        "gcloud compute tpus tpu-vm versions list --zone=$zone"
      ;;
  esac
fi
extra=()
[ "$spot" = no ] || extra+=(--spot)
extra+=(${flags[@]+"${flags[@]}"})

if [ "$queued" = no ]; then
  run gcloud compute tpus tpu-vm create "$name" "${place[@]}" --accelerator-type="$type" \
    --version="$version" ${extra[@]+"${extra[@]}"}
  exit
fi

run gcloud compute tpus queued-resources create "$name" "${place[@]}" --node-id="$name" \
  --accelerator-type="$type" --runtime-version="$version" ${extra[@]+"${extra[@]}"}
failures=0
while :; do
  if state=$(ask gcloud compute tpus queued-resources describe "$name" "${place[@]}" \
    --format='value(state.state)'); then
    failures=0
  else
    failures=$((failures + 1))
    state='not known'
    [ "$failures" -lt 10 ] || {
      say "error: gcloud failed $failures times in a row. The request stands;" \
        "tpu_delete.sh --queued ends it."
      exit 1
    }
  fi
  [ "$dry_run" = no ] || exit 0
  case $state in
    ACTIVE)
      say "$name is ACTIVE."
      exit 0
      ;;
    FAILED | SUSPENDING | SUSPENDED | DELETING)
      say "error: $name is $state. Delete it with tpu_delete.sh --queued and ask again."
      exit 1
      ;;
  esac
  say "$name is $state; the next look is in $poll_seconds seconds."
  sleep "$poll_seconds"
done
