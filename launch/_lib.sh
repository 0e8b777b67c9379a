# shellcheck shell=bash
# What the launch scripts share: each sources this file first. Runs in bash 3.2 (macOS) and newer.
set -euo pipefail

# shellcheck disable=SC2034  # the scripts that source this file use it
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dry_run=no
flags=()     # values of a repeated --..._flag option
arguments=() # what follows --
place=()     # where a TPU is, for gcloud
exec 3>&1    # dry runs print here, also from inside $(...)

usage() { # Prints the header comment of the script.
  awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
}

say() {
  printf '%s\n' "$*" >&2
}

refuse() { # Bad input: says so and ends.
  say "error: $*"
  exit 2
}

quoted() { # Prints its arguments so that any POSIX shell reads them back unchanged.
  local word separator=''
  for word in "$@"; do
    printf '%s' "$separator"
    separator=' '
    case $word in
      '' | *[!A-Za-z0-9_./:=,@%+-]*) ;;
      *)
        printf '%s' "$word"
        continue
        ;;
    esac
    printf "'"
    while [ "$word" != "${word#*\'}" ]; do
      printf "%s'\\\\''" "${word%%\'*}"
      word=${word#*\'}
    done
    printf "%s'" "$word"
  done
}

run() { # Shows a command and runs it; a dry run only prints it.
  if [ "$dry_run" = yes ]; then
    printf '%s\n' "$(quoted "$@")" >&3
  else
    say "+ $(quoted "$@")"
    "$@"
  fi
}

ask() { # As run, for a command whose output is read: it is not shown.
  if [ "$dry_run" = yes ]; then run "$@"; else "$@"; fi
}

need() { # need PROGRAM ADVICE
  [ "$dry_run" = yes ] || command -v "$1" > /dev/null || refuse "$1 was not found. $2"
}

# options 'name zone' 'spot yes' "$@": sets the variables name and zone to the values that are
# given, spot and yes to the word yes; values of an option ..._flag gather in flags.
options() {
  local valued=" $1 " switches=" $2 dry_run " option value
  shift 2
  while [ $# -gt 0 ]; do
    option=${1%%=*}
    option=${option#--}
    case $1 in
      -h | --help)
        usage
        exit 0
        ;;
      --)
        shift
        arguments=("$@")
        return
        ;;
      --*) ;;
      *) refuse "Unexpected argument $(quoted "$1"). $(known)" ;;
    esac
    case $option in
      *[!a-z_]*) refuse "Unknown option $(quoted "${1%%=*}"). $(known)" ;;
    esac
    case $switches in
      *" $option "*)
        [ "$1" = "--$option" ] || refuse "--$option takes no value."
        printf -v "$option" yes
        shift
        continue
        ;;
    esac
    case $valued in
      *" $option "*) ;;
      *) refuse "Unknown option $(quoted "${1%%=*}"). $(known)" ;;
    esac
    case $1 in
      *=*) value=${1#*=} ;;
      *)
        [ $# -gt 1 ] || refuse "--$option needs a value."
        value=$2
        shift
        ;;
    esac
    [ -n "$value" ] || refuse "--$option is empty."
    case $option in
      *_flag) flags+=("$value") ;;
      *) printf -v "$option" '%s' "$value" ;;
    esac
    shift
  done
}

known() { # Uses the variables of options.
  # shellcheck disable=SC2154,SC2086
  printf 'There are:%s. What is meant for another program follows --; -h explains.' \
    "$(printf ' --%s' $valued $switches)"
}

required() { # required name zone: the options that must be given.
  local each
  for each in "$@"; do
    [ -n "${!each}" ] || refuse "--$each is missing; $(basename "$0") -h explains."
  done
}

no_arguments() {
  [ ${#arguments[@]} -eq 0 ] || refuse "Nothing may follow --, but $(quoted "${arguments[@]}") did."
}

training_arguments() {
  [ ${#arguments[@]} -gt 0 ] ||
    refuse "Arguments of xlt_jax.train are missing: ... -- --gin_file=gin/finetune.gin ..."
}

whole_number() { # whole_number poll_seconds: a positive one.
  case ${!1} in
    '' | 0* | *[!0-9]*) refuse "--$1 must be a positive whole number, not $(quoted "${!1}")." ;;
  esac
}

label() { # label name: lower-case letters, digits and hyphens, as Google and Kubernetes want it.
  [[ ${!1} =~ ^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$ ]] ||
    refuse "--$1 must be at most 52 lower-case letters, digits and hyphens, a letter first," \
      "not $(quoted "${!1}")."
}

tpu() { # Checks --name and --zone of a TPU; place is where it is.
  required name zone
  label name
  label zone
  need gcloud "Install Google's Cloud SDK, then run: gcloud auth login"
  # shellcheck disable=SC2154  # from options
  place=(--zone="$zone")
  [ -z "$project" ] || place+=(--project="$project")
}

worker_number() { # worker_number worker: a TPU worker's number, or all.
  case ${!1} in
    all) ;;
    '' | *[!0-9]*) refuse "--$1 must be a number from 0, or all, not $(quoted "${!1}")." ;;
  esac
}

on_worker() { # on_worker all WORDS: runs them on one worker or on all, in the home folder.
  local worker=$1
  shift
  # shellcheck disable=SC2154  # from options
  run gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$worker" \
    --command="$(quoted "$@")"
}

confirm() { # confirm WHAT NAME YES: goes on only with --yes or after the name was typed.
  local typed=''
  if [ "$dry_run" = yes ] || [ "$3" = yes ]; then return; fi
  printf 'This deletes %s. Type its name to go on: ' "$1" >&2
  read -r typed || :
  [ "$typed" = "$2" ] ||
    refuse "Nothing was deleted: $(quoted "$typed") is not $2. --yes skips this."
}
