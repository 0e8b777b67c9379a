"""One machine's GPUs, and Slurm: the job as sbatch gets it, and what the job does."""

import subprocess

import pytest
from desk import AWKWARD


def test_one_process_for_all_gpus(desk):
    assert desk.run("gpu_run.sh", "--", *AWKWARD).returncode == 0
    assert desk.calls("python") == [
        ["python", "-m", "xlt_jax.train", "--distributed=none", *AWKWARD]
    ]
    assert desk.calls("env")[0][1:3] == ["JAX_PLATFORMS=cuda,cpu", f"{desk.root}/.venv/bin/python"]


def test_some_gpus_and_another_python(desk):
    python = desk.folder / "my python"
    desk.program(python, 'echo "$CUDA_VISIBLE_DEVICES $JAX_PLATFORMS"; exit 143')
    result = desk.run("gpu_run.sh", "--gpus=0,3", f"--python={python}", "--", "x")
    assert result.stdout == "0,3 cuda,cpu\n"
    assert result.returncode == 143
    for gpus in ("all", "0;1", ",1", "1,", "0,,1"):
        result = desk.run("gpu_run.sh", f"--gpus={gpus}", "--", "x")
        assert result.returncode == 2
        assert "--gpus must be numbers such as 0,1" in result.stderr


SLURM = ("--nodes=2", "--gpus_per_node=8", "--time=12:00:00")


def test_sbatch(desk):
    more = ("--partition=big", "--account=us", "--cpus_per_task=64")
    more += ("--sbatch_flag=--comment=a b", "--sbatch_flag=-v")
    call = (*SLURM, *more, "--name=my_run", "--save_seconds=120", "--", *AWKWARD)
    result = desk.run("slurm.sh", *call)
    assert result.returncode == 0, result.stderr
    assert (desk.root / "runs/slurm").is_dir()  # else Slurm drops the log
    assert desk.calls("sbatch") == [
        [
            *("sbatch", "--job-name=my_run", "--nodes=2", "--ntasks-per-node=1"),
            *("--gpus-per-node=8", "--time=12:00:00", "--requeue", "--open-mode=append"),
            *("--signal=TERM@120", f"--chdir={desk.root}"),
            *(f"--output={desk.root}/runs/slurm/%x-%j.log", "--partition=big", "--account=us"),
            *("--cpus-per-task=64", "--comment=a b", "-v", f"{desk.root}/launch/_slurm_job.sh"),
            *(f"{desk.root}/.venv/bin/python", *AWKWARD),
        ]
    ]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--nodes=0", "--nodes must be a positive whole number, not 0"),
        ("--gpus_per_node=a100:8", "--gpus_per_node must be a positive whole number"),
        ("--cpus_per_task=x", "--cpus_per_task must be a positive whole number"),
        ("--save_seconds=5m", "--save_seconds must be a positive whole number"),
        ("--name=a/b", "--name must be letters, digits and _.-, not a/b"),
    ],
)
def test_sbatch_is_not_called_with_bad_values(desk, option, says):
    result = desk.run("slurm.sh", *SLURM, option, "--", "x")
    assert result.returncode == 2
    assert says in result.stderr
    assert not desk.calls()


def job(desk, **more):
    settings = {"SLURM_JOB_ID": "77", "SLURM_GPUS_ON_NODE": "4", **more}
    return subprocess.run(
        [desk.root / "launch/_slurm_job.sh", "/my python", *AWKWARD],
        env={**desk.environment(desk.stand_ins), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


STEP = ["srun", "--cpu-bind=none", "--kill-on-bad-exit=0", "--wait=600"]
PROCESS = ["/my python", "-m", "xlt_jax.train", "--distributed=slurm", *AWKWARD]


def test_the_job_runs_one_step(desk):
    assert job(desk).returncode == 0
    assert desk.calls("srun", "scontrol") == [[*STEP, *PROCESS]]


def test_the_step_gets_the_cpus_of_the_job(desk):
    assert job(desk, SLURM_CPUS_PER_TASK="8").returncode == 0
    assert desk.calls("srun") == [[*STEP, "--cpus-per-task=8", *PROCESS]]


def test_each_process_gets_all_gpus_of_its_node(desk):
    desk.program(desk.folder / "bin/srun", 'echo "$JAX_LOCAL_DEVICE_IDS $JAX_PLATFORMS"')
    assert job(desk).stdout == "0,1,2,3 cuda,cpu\n"
    assert job(desk, SLURM_GPUS_ON_NODE="1").stdout == "0 cuda,cpu\n"


def test_saved_before_the_time_was_up_means_queued_again(desk):
    desk.answers(("srun", 143))
    result = job(desk)
    assert result.returncode == 143
    assert desk.calls("scontrol") == [["scontrol", "requeue", "77"]]


@pytest.mark.parametrize("code", [1, 2, 137])
def test_a_failure_is_not_queued_again(desk, code):
    desk.answers(("srun", code))
    assert job(desk).returncode == code
    assert not desk.calls("scontrol")


def test_a_cancelled_job_is_not_queued_again(desk):
    """scancel signals the job's shell too, whose parent srun is in this stand-in."""
    desk.program(desk.folder / "bin/srun", "kill -TERM $PPID; exit 143")
    assert job(desk).returncode == 143
    assert not desk.calls("scontrol")
