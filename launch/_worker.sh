#!/usr/bin/env bash
# What the tpu_ scripts do on each worker, in the checkout that tpu_setup.sh copied there.
#
# bash xlt_jax/launch/_worker.sh COMMAND
#
#   setup                    makes .venv
#   start ARGUMENTS          trains in the background: train.log, .pid, .exit and .arguments
#   supervise ARGUMENTS      trains and writes the exit status; start calls it
#   status [ARGUMENTS]       prints bare (not set up), idle, running, or: exit STATUS; of a run with
#                            other ARGUMENTS: idle, or other where it goes on
#   log LINES NAMED          follows train.log; NAMED yes: the worker's name before each line
#   stop SECONDS             SIGTERM, so that the run saves; after SECONDS SIGKILL
#   tensorboard LOGDIR PORT  serves until the connection ends
# shellcheck disable=SC2119,SC2120  # arguments of status are optional
set -euo pipefail
cd "$(dirname "$0")/.."

setup() {
  local jax
  jax=$(sed -n 's/^jax==//p' requirements.lock)
  rm -f .venv/installed
  # TPU images have Python 3.10; uv brings a newer one where there is none, and needs no venv of it.
  if [ ! -x .venv/bin/python ]; then
    PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user 'uv>=0.9,<1'
    python3 -m uv venv --quiet --clear --seed --python '>=3.11.4,<3.13' .venv
  fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -r requirements.lock "jax[tpu]==$jax"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation -e .
  touch .venv/installed
  echo "$(hostname): set up with jax $jax"
}

running() { # Whether the process of train.pid lives and is ours: numbers are used again.
  [ -f train.pid ] && grep -qs supervise "/proc/$(cat train.pid)/cmdline"
}

write() { # write FILE TEXT, whole or not at all
  printf '%s\n' "$2" > "$1.tmp"
  mv "$1.tmp" "$1"
}

start() {
  if [ ! -f .venv/installed ]; then
    echo "error: $(hostname) is not set up: run launch/tpu_setup.sh first." >&2
    exit 2
  fi
  if running; then
    echo "error: a run goes on on $(hostname): launch/tpu_stop.sh ends it." >&2
    exit 2
  fi
  rm -f train.exit train.pid
  write train.arguments "$(printf '%q ' "$@")"
  setsid nohup bash launch/_worker.sh supervise "$@" >> train.log 2>&1 < /dev/null &
  write train.pid "$!"
  echo "$(hostname): started, process $!"
}

supervise() {
  local code=0
  trap : TERM # training ends itself; this waits for its status
  echo "==== $(date -u '+%Y-%m-%d %H:%M:%S') UTC: python -m xlt_jax.train"
  # Without a TPU this fails rather than train on the CPU.
  JAX_PLATFORMS=tpu,cpu PYTHONUNBUFFERED=1 \
    .venv/bin/python -m xlt_jax.train --distributed=tpu "$@" || code=$?
  echo "==== $(date -u '+%Y-%m-%d %H:%M:%S') UTC: exit status $code"
  write train.exit "$code"
}

status() {
  local own=yes
  if [ $# -gt 0 ] && [ "$(printf '%q ' "$@")" != "$(cat train.arguments 2> /dev/null)" ]; then
    own=no
  fi
  if running; then
    if [ "$own" = yes ]; then echo running; else echo other; fi
  elif [ ! -f .venv/installed ]; then
    echo bare
  elif [ "$own" = no ]; then
    echo idle
  elif [ -f train.exit ]; then
    echo "exit $(cat train.exit)"
  elif [ -f train.pid ]; then
    echo 'exit 137' # gone without a word: killed, or the machine was started anew
  else
    echo idle
  fi
}

log() {
  local command=(tail -n "$1" train.log)
  ! running || command=(tail -n "$1" --pid="$(cat train.pid)" -F train.log)
  if [ "$2" = yes ]; then
    "${command[@]}" | sed -u "s/^/$(hostname): /"
  else
    "${command[@]}"
  fi
  echo "$(hostname): $(status)"
}

stop() {
  local waited=0 process
  if ! running; then
    echo "$(hostname): no run goes on"
    return
  fi
  process=$(cat train.pid)
  kill -TERM -- "-$process" # the group: setsid made one
  while running && [ "$waited" -lt "$1" ]; do
    sleep 1
    waited=$((waited + 1))
  done
  if running; then
    kill -KILL -- "-$process"
    while running; do sleep 0.1; done
    write train.exit 137
  fi
  echo "$(hostname): $(status)"
}

tensorboard() {
  exec .venv/bin/python -m tensorboard.main --logdir="$1" --port="$2" --host=localhost
}

case ${1:-} in
  setup | start | supervise | status | log | stop | tensorboard) "$@" ;;
  *)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 2
    ;;
esac
