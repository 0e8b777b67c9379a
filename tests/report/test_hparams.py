"""TensorBoard's HParams view shows the runs that the report is made of."""

import pytest
from synthetic import write_experiment
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import metadata

from xlt_jax.report import hparams, runs
from xlt_jax.report.tables import Results


def read(folder):
    reader = event_accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return reader


def test_a_session_for_each_arm_and_seed(tmp_path):
    def level(arm, benchmark, code, seed):
        return (0.8 if code == "en" else 0.5) + 0.1 * seed

    root = write_experiment(
        tmp_path / "x", codes=("en", "de", "th"), score=level, seeds=(0, 1), curves=True
    )
    folder = root / "report" / "tensorboard"
    for _ in range(2):  # the second replaces the first
        hparams.write(Results(runs.read([root])), folder)
    arms = ("english", "multitask", "none")
    assert {path.name for path in folder.iterdir()} == {
        f"{arm}.seed{seed}" for arm in arms for seed in (0, 1)
    }
    reader = read(folder / "english.seed1")
    assert reader.Scalars("zero_shot/mean")[0].value == pytest.approx(0.6, abs=0.005)
    assert reader.Scalars("english/mean")[0].value == pytest.approx(0.9, abs=0.005)
    content = reader.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    assert start.group_name == "english" and start.hparams["seed"].number_value == 1
    assert start.hparams["arm"].string_value == "english"
