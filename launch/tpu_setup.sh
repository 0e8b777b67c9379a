#!/usr/bin/env bash
# Copies this checkout to every worker of a TPU and installs what it needs there.
#
# launch/tpu_setup.sh --name=NAME --zone=ZONE [--project=PROJECT] [--dry_run]
#
# Each worker gets ~/xlt_jax with xlt_jax/ tasks/ gin/ launch/ as they are here, changes that are
# not committed included, and ~/xlt_jax/.venv with requirements.lock and jax[tpu] of the same
# version, which brings its libtpu. Safe to repeat, for example after a change.
#
# With several workers gcloud wants your key in the agent: ssh-add ~/.ssh/google_compute_engine
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' zone='' project=''
options 'name zone project' '' "$@"
tpu
no_arguments

export COPYFILE_DISABLE=1 # macOS's tar would add files ._NAME
run cd "$root"
run mkdir -p build
run tar --exclude=__pycache__ -czf "build/$name.tar.gz" \
  setup.py requirements.lock xlt_jax tasks gin launch
run gcloud compute tpus tpu-vm scp "build/$name.tar.gz" "$name:xlt_jax.tar.gz" "${place[@]}" \
  --worker=all
on_worker all bash -c 'set -e
mkdir -p xlt_jax
cd xlt_jax
rm -rf xlt_jax tasks gin launch
tar -xzf ../xlt_jax.tar.gz
bash launch/_worker.sh setup'
