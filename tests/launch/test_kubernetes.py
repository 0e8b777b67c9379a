"""Kubernetes: the manifest that is applied, following, deleting."""

import pytest
import yaml
from desk import AWKWARD, LAUNCH

APPLY = ("apply", "--name=my-run", "--image=host/a:1", "--pods=4", "--gpus=8")


def applied(desk, *options, arguments=("x",)):
    """The service and the job of the file that kubectl was given."""
    result = desk.run("kubernetes.sh", *APPLY, *options, "--", *arguments)
    assert result.returncode == 0, result.stderr
    [asked, [*call, file]] = desk.calls("kubectl")
    assert asked[1:4] == ["get", "job", "my-run"] and call == ["kubectl", "apply"]
    assert file == f"--filename={desk.root}/build/my-run.yaml"
    with open(file.removeprefix("--filename=")) as manifest:
        service, job = yaml.safe_load_all(manifest)
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    return service, job


def container_of(job):
    [container] = job["spec"]["template"]["spec"]["containers"]
    return container


def test_pods_find_each_other_through_the_headless_service(desk):
    service, job = applied(desk)
    name = service["metadata"]["name"]
    pod = job["spec"]["template"]["spec"]
    assert name == job["metadata"]["name"] == pod["subdomain"] == "my-run"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"job-name": name}  # the label that a Job gives its pods
    environment = {entry["name"]: entry["value"] for entry in container_of(job)["env"]}
    assert environment["XLT_COORDINATOR"] == f"{name}-0.{name}:8476"
    assert environment["XLT_PROCESS_COUNT"] == "4"
    assert [port["port"] for port in service["spec"]["ports"]] == [8476]
    assert container_of(job)["ports"] == [{"containerPort": 8476}]
    assert all(isinstance(value, str) for value in environment.values())


@pytest.mark.parametrize("ended", ["Complete", "FailureTarget Failed"])
def test_a_job_that_has_ended_is_not_applied_again(desk, ended):
    desk.answers(("get job my-run", ended))
    result = desk.run("kubernetes.sh", *APPLY, "--", "x")
    assert result.returncode == 2
    assert "kubernetes.sh delete --name=my-run" in result.stderr
    assert len(desk.calls("kubectl")) == 1


def test_one_pod_per_process(desk):
    job = applied(desk)[1]["spec"]
    assert job["completionMode"] == "Indexed"  # sets JOB_COMPLETION_INDEX
    assert job["completions"] == job["parallelism"] == 4
    assert container_of({"spec": job})["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert container_of({"spec": job})["image"] == "host/a:1"


def test_failures(desk):
    job = applied(desk)[1]["spec"]
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # what a podFailurePolicy needs
    assert pod["terminationGracePeriodSeconds"] >= 300
    assert job["backoffLimit"] >= 4 * 10  # pods that fail together count one by one
    refused, disrupted = job["podFailurePolicy"]["rules"]
    assert refused["action"] == "FailJob"
    assert refused["onExitCodes"]["values"] == [2]
    assert refused["onExitCodes"]["containerName"] == container_of({"spec": job})["name"]
    assert disrupted["action"] == "Ignore"


def test_every_argument_arrives(desk):
    awkward = [
        *AWKWARD,
        "tab\tand\rreturn",
        "&",
        '"@IMAGE@"',
        "$$(JAX_PLATFORMS)",
        "\\\\",
        "1",
        "true",
    ]
    container = container_of(applied(desk, arguments=awkward)[1])
    command = container["command"]
    assert command == ["python", "-m", "xlt_jax.train", "--distributed=kubernetes"]
    # Kubernetes makes $ of $$ and would fill in $(NAME): every dollar must be double.
    assert all(word.replace("$$", "").count("$") == 0 for word in container["args"])
    assert [word.replace("$$", "$") for word in container["args"]] == awkward


def test_control_characters_are_refused(desk):
    result = desk.run("kubernetes.sh", *APPLY, "--", "a\x07b")
    assert result.returncode == 2
    assert "Control characters" in result.stderr
    assert not desk.calls("kubectl")


def test_the_template_names_nothing_that_is_not_filled_in(desk):
    applied(desk, "--service_account=trainer")
    assert "@" not in (desk.root / "build/my-run.yaml").read_text().split("apiVersion", 1)[1]
    assert 'serviceAccountName: "trainer"' in (desk.root / "build/my-run.yaml").read_text()
    assert list(yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text()))  # YAML already


def test_a_template_of_ones_own(desk):
    text = (LAUNCH / "kubernetes.yaml").read_text().replace("medium: Memory", "sizeLimit: 9Gi")
    (desk.folder / "elsewhere/my template.yaml").write_text(text)
    job = applied(desk, "--template=my template.yaml")[1]
    assert job["spec"]["template"]["spec"]["volumes"][0]["emptyDir"] == {"sizeLimit": "9Gi"}
    result = desk.run("kubernetes.sh", *APPLY, "--template=none.yaml", "--", "x")
    assert result.returncode == 2
    assert "There is no file none.yaml" in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--pods=0",), "--pods must be a positive whole number"),
        (("--gpus=x",), "--gpus must be a positive whole number"),
        (("--name=My_run",), "--name must be at most 52 lower-case"),
        (("--namespace=a b",), "--namespace must be at most 52 lower-case"),
    ],
)
def test_values_are_checked(desk, options, says):
    result = desk.run("kubernetes.sh", *APPLY, *options, "--", "x")
    assert result.returncode == 2
    assert says in result.stderr
    assert not desk.calls()


def test_follow(desk):
    follow = ("follow", "--name=my-run")
    for more in ((), ("--pod=3",), ("--pod=all", "--namespace=team")):
        assert desk.run("kubernetes.sh", *follow, *more).returncode == 0
    index = "job-name=my-run,batch.kubernetes.io/job-completion-index"
    rest = ["--follow", "--prefix", "--tail=50", "--max-log-requests=1000"]
    assert desk.calls() == [
        ["kubectl", "logs", f"--selector={index}=0", *rest],
        ["kubectl", "logs", f"--selector={index}=3", *rest],
        ["kubectl", "logs", "--namespace=team", "--selector=job-name=my-run", *rest],
    ]


def test_delete(desk):
    for options, typed in (((), "no\n"), ((), ""), (("--namespace=team",), "my-ru\n")):
        result = desk.run("kubernetes.sh", "delete", "--name=my-run", *options, typed=typed)
        assert result.returncode == 2
        assert "Nothing was deleted" in result.stderr
    assert desk.run("kubernetes.sh", "delete", "--yes").returncode == 2
    assert not desk.calls()
    assert desk.run("kubernetes.sh", "delete", "--name=my-run", typed="my-run\n").returncode == 0
    assert desk.run("kubernetes.sh", "delete", "--name=my-run", "--yes").returncode == 0
    delete = ["kubectl", "delete", "--ignore-not-found", "job/my-run", "service/my-run"]
    assert desk.calls() == [delete, delete]


def test_options_of_another_action_are_refused(desk):
    for action, option in (("apply", "--yes"), ("follow", "--image=x"), ("delete", "--pods=1")):
        result = desk.run("kubernetes.sh", action, "--name=my-run", option)
        assert result.returncode == 2
        assert f"Unknown option {option.split('=')[0]}" in result.stderr
