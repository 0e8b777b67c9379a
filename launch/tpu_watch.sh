#!/usr/bin/env bash
# Keeps a run going on a TPU that may be taken away, until the run has ended.
#
# launch/tpu_watch.sh --name=NAME --zone=ZONE --type=TYPE [OPTIONS] -- ARGUMENTS
#
# Looks again and again: makes the slice if there is none, sets it up, starts
# python -m xlt_jax.train ARGUMENTS, and waits. A slice or queued resource that is PREEMPTED,
# SUSPENDED, FAILED or TERMINATED is deleted and made anew, a run that failed is started again; it
# resumes from MODEL_DIR, which must be gs://. Ends with 0 when every worker's run of these ARGUMENTS
# ended well, with 2 when it refused them or another run goes on there, with 1 after too many
# troubles. May itself be stopped and started again at any time. The TPU is left as it is at the
# end: tpu_delete.sh.
#
#   --type, --version, --spot, --queued, --gcloud_flag, --project   as for tpu_create.sh
#   --poll_seconds      between two looks; 60
#   --attempts          troubles of any kind until it gives up; 100
#   --backoff_seconds   wait after the first trouble; doubled by each that follows until the run
#                       goes on again, at most 30 minutes; 60
#   --dry_run           print the commands of a run without trouble, run nothing
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project='' type='' version='' spot=no queued=no
poll_seconds=60 attempts=100 backoff_seconds=60
options 'name zone project type version gcloud_flag poll_seconds attempts backoff_seconds' \
  'spot queued' "$@"
tpu
required type
for each in poll_seconds attempts backoff_seconds; do whole_number "$each"; done
training_arguments
case $(printf '%s\n' "${arguments[@]}" | sed -n "s/^--gin\.MODEL_DIR=[ '\"]*//p") in
  gs://[a-z0-9]*) ;;
  *)
    refuse "A slice that is taken away loses its disks: the arguments need" \
      "--gin.MODEL_DIR=\"'gs://...'\", to resume from."
    ;;
esac

scripts=$root/launch
place_options=(--name="$name" "${place[@]}")
[ "$dry_run" = no ] || place_options+=(--dry_run)
kind=()
[ "$queued" = no ] || kind=(--queued)
create_options=(--type="$type" --poll_seconds="$poll_seconds" ${kind[@]+"${kind[@]}"})
[ -z "$version" ] || create_options+=(--version="$version")
[ "$spot" = no ] || create_options+=(--spot)
for each in ${flags[@]+"${flags[@]}"}; do create_options+=(--gcloud_flag="$each"); done

slice_state() { # READY, PREEMPTED ...; nothing where there is no slice. Fails if gcloud does.
  local table
  if [ "$queued" = yes ]; then
    table=$(ask gcloud compute tpus queued-resources list "${place[@]}" \
      --format='value(name.basename(),state.state)') || return
  else
    table=$(ask gcloud compute tpus tpu-vm list "${place[@]}" \
      --format='value(name.basename(),state)') || return
  fi
  awk -v name="$name" '$1 == name { print $2 }' <<< "$table"
}

run_states() { # The different words of the workers, one a line; see _worker.sh status.
  ask gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker=all \
    --command="$(quoted bash xlt_jax/launch/_worker.sh status "${arguments[@]}") || echo bare" |
    grep -E '^(bare|idle|running|other|exit [0-9]+)$' | sort -u
}

look() { # Sets slice, and state: what there is to do.
  slice=$(slice_state) || {
    state=unknown
    return
  }
  local states
  case $slice in
    '') state=absent ;;
    PREEMPTED | SUSPENDED | FAILED | TERMINATED) state=lost ;;
    READY | ACTIVE)
      states=$(run_states) || states=unknown
      case " ${states//$'\n'/ } " in
        *' other '*) state=other ;;
        ' exit 2 ') # what was refused before this watch may be there by now
          if [ "$started" = yes ]; then state=rejected; else state=idle; fi
          ;;
        *' exit 2 '*) if [ "$started" = yes ]; then state=rejected; else state=broken; fi ;;
        *' bare '*) state=bare ;;
        ' idle ' | ' running ' | ' exit 0 ' | ' unknown ') state=$states ;;
        ' exit 0 running ') state=running ;; # the last workers are about to end
        *) state=broken ;;
      esac
      ;;
    *) state=pending ;;
  esac
}

trouble() {
  troubles=$((troubles + 1))
  if [ "$troubles" -ge "$attempts" ]; then
    say "error: $1: trouble $troubles of $attempts, so this ends. A TPU is left as it is."
    exit 1
  fi
  say "$(date '+%m-%d %H:%M') $1: trouble $troubles of $attempts, on in $delay seconds."
  sleep "$delay"
  delay=$((delay * 2 < 1800 ? delay * 2 : 1800))
}

start() {
  started=yes
  "$scripts/tpu_run.sh" "${place_options[@]}" -- "${arguments[@]}" ||
    trouble 'the run did not start'
}

rehearse() { # A dry run has no answers: these are the looks of a run without trouble.
  for state in absent bare idle 'exit 0'; do
    slice_state
    [ "$state" = absent ] || run_states || :
    act
  done
}

act() {
  case $state in
    absent)
      "$scripts/tpu_create.sh" "${place_options[@]}" "${create_options[@]}" ||
        trouble "no slice was made"
      ;;
    bare) "$scripts/tpu_setup.sh" "${place_options[@]}" || trouble 'the set-up failed' ;;
    idle) start ;;
    running)
      delay=$backoff_seconds
      sleep "$poll_seconds"
      ;;
    pending)
      say "$name is $slice."
      sleep "$poll_seconds"
      ;;
    lost)
      "$scripts/tpu_delete.sh" "${place_options[@]}" ${kind[@]+"${kind[@]}"} --yes || :
      trouble "the slice was $slice"
      ;;
    broken)
      "$scripts/tpu_stop.sh" "${place_options[@]}" || :
      trouble 'the run failed'
      start
      ;;
    unknown) trouble 'gcloud gave no answer' ;;
    other)
      say "error: another run goes on on $name; launch/tpu_stop.sh ends it."
      exit 2
      ;;
    rejected)
      say "error: xlt_jax.train refused its arguments; tpu_logs.sh shows why."
      exit 2
      ;;
    'exit 0')
      say "The run has ended. The TPU goes on and costs: launch/tpu_delete.sh" \
        "$(quoted "${place_options[@]}" ${kind[@]+"${kind[@]}"})"
      exit 0
      ;;
  esac
}

troubles=0
started=no # by this watch
delay=$backoff_seconds
[ "$dry_run" = no ] || rehearse
while :; do
  look
  act
done
