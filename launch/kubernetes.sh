#!/usr/bin/env bash
# Trains on Kubernetes, as an Indexed Job with one pod per process.
#
# launch/kubernetes.sh apply --name=NAME --image=IMAGE --pods=N --gpus=N [OPTIONS] -- ARGUMENTS
# launch/kubernetes.sh follow --name=NAME [--pod=N|all] [OPTIONS]
# launch/kubernetes.sh delete --name=NAME [--yes] [OPTIONS]
#
#   --name              of the job, its service and its pods
#   --image             a container image in which python -m xlt_jax.train works: requirements.lock,
#                       jax[cuda12] of the same version, and the checkout, installed
#   --pods              processes
#   --gpus              of each pod
#   --service_account   that may read and write MODEL_DIR; default
#   --template          instead of launch/kubernetes.yaml, with the same @NAMES@
#   --pod               whose log to follow; 0
#   --yes               delete without asking for the name
#   --namespace         by default kubectl's own
#   --dry_run           print the commands, run nothing
#
# ARGUMENTS are those of xlt_jax.train; MODEL_DIR must be a folder that all pods see: gs://..., or a
# volume of a template of your own. What is applied is kept as build/NAME.yaml. A job that has ended
# is deleted before it is applied again; it then resumes from MODEL_DIR.
# shellcheck source-path=SCRIPTDIR source=_lib.sh
. "$(dirname "$0")/_lib.sh"
name='' image='' pods='' gpus='' service_account=default template=$root/launch/kubernetes.yaml
pod=0 namespace='' yes=no
action=${1:-}
case $action in
  apply) allowed='name namespace image pods gpus service_account template' switches='' ;;
  follow) allowed='name namespace pod' switches='' ;;
  delete) allowed='name namespace' switches=yes ;;
  -h | --help)
    usage
    exit 0
    ;;
  *) refuse "The first argument must be apply, follow or delete, not $(quoted "$action")." ;;
esac
shift
options "$allowed" "$switches" "$@"
required name
label name
need kubectl 'Install it, and see that kubectl get pods works.'
scope=()
if [ -n "$namespace" ]; then
  label namespace
  scope=(--namespace="$namespace")
fi

json() { # json TEXT: as a string of JSON, and so of YAML
  local text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  text=${text//$'\n'/\\n}
  text=${text//$'\t'/\\t}
  text=${text//$'\r'/\\r}
  case $text in
    *[[:cntrl:]]*) refuse "Control characters cannot be passed on: $(quoted "$1")." ;;
  esac
  printf '"%s"' "$text"
}

filled() { # The template with values in place of "@...@".
  local text list='' each
  text=$(cat "$template")
  for each in "${arguments[@]}"; do
    each=$(json "${each//\$/\$\$}") || exit # Kubernetes turns $$ into $ and fills in $(NAME)
    list+=${list:+, }$each
  done
  text=${text//'"@PODS@"'/"$pods"}
  text=${text//'"@GPUS@"'/"$gpus"}
  text=${text//'"@FAILURES@"'/"$((pods * 20))"}
  text=${text//'@PODS_TEXT@'/"$pods"}
  text=${text//'@NAME@'/"$name"}
  text=${text//'"@SERVICE_ACCOUNT@"'/"$(json "$service_account")"}
  text=${text//'"@IMAGE@"'/"$(json "$image")"}
  text=${text//'"@ARGUMENTS@"'/"[$list]"} # last: nothing in it is filled in again
  printf '%s\n' "$text"
}

case $action in
  apply)
    required image pods gpus
    whole_number pods
    whole_number gpus
    training_arguments
    [ -f "$template" ] || refuse "There is no file $(quoted "$template") to fill in."
    manifest=$root/build/$name.yaml
    text=$(filled)
    run mkdir -p "$root/build"
    if [ "$dry_run" = no ]; then
      printf '%s\n' "$text" > "$manifest.tmp"
      mv "$manifest.tmp" "$manifest"
    fi
    # A job that has ended is not started again by applying it.
    ended=$(ask kubectl get ${scope[@]+"${scope[@]}"} job "$name" --ignore-not-found \
      --output='jsonpath={.status.conditions[?(@.status=="True")].type}')
    case " $ended " in
      *Complete* | *Failed*)
        refuse "The job $name is there and has ended ($ended). To run it again delete it first:" \
          "launch/kubernetes.sh delete --name=$name; it resumes from MODEL_DIR."
        ;;
    esac
    run kubectl apply ${scope[@]+"${scope[@]}"} --filename="$manifest"
    ;;
  follow)
    worker_number pod
    no_arguments
    selector=job-name=$name
    [ "$pod" = all ] || selector+=,batch.kubernetes.io/job-completion-index=$pod
    run kubectl logs ${scope[@]+"${scope[@]}"} --selector="$selector" --follow --prefix \
      --tail=50 --max-log-requests=1000
    ;;
  delete)
    no_arguments
    confirm "the job and the service $name on Kubernetes" "$name" "$yes"
    run kubectl delete ${scope[@]+"${scope[@]}"} --ignore-not-found "job/$name" "service/$name"
    ;;
esac
