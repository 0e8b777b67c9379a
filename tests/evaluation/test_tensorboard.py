"""Event files are readable by TensorBoard's own reader, at any moment."""

import numpy as np
import pytest
from tensorboard.backend.event_processing import (
    data_provider,
    event_accumulator,
    plugin_event_multiplexer,
)
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from xlt_jax.evaluation.tensorboard import ScalarWriter


def read(folder):
    reader = event_accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return reader


def test_scalars_and_text(tmp_path):
    writer = ScalarWriter(tmp_path / "new" / "folder")
    writer.write(1, {"nli.de/accuracy": 0.25, "mean/nli": 0.5})
    writer.write(np.int64(2), {"nli.de/accuracy": np.float32(0.75)})
    writer.text("config", "a = 1")
    reader = read(tmp_path / "new" / "folder")  # before it is closed
    points = [(point.step, point.value) for point in reader.Scalars("nli.de/accuracy")]
    assert points == [(1, 0.25), (2, 0.75)]
    assert [point.value for point in reader.Scalars("mean/nli")] == [0.5]
    assert reader.Tensors("config")[0].tensor_proto.string_val[0] == b"a = 1"
    writer.close()


def test_two_writers_of_one_folder(tmp_path):
    for step in (1, 2):  # a resumed run
        writer = ScalarWriter(tmp_path)
        writer.write(step, {"loss": step})
        writer.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert [point.step for point in read(tmp_path).Scalars("loss")] == [1, 2]


def test_hparams_view_has_a_session_for_each_folder(tmp_path):
    """Asked of TensorBoard's own backend: groups, hyperparameters, metrics."""
    for seed, score in ((0, 0.5), (1, 0.7)):
        writer = ScalarWriter(tmp_path / f"mixed.seed{seed}")
        writer.hparams({"arm": "mixed", "seed": seed, "steps": 600.0, "pack": True}, group="mixed")
        writer.write(1400, {"mean/non_english": score})
        writer.close()
    provider = data_provider.MultiplexerDataProvider(multiplexer(tmp_path), str(tmp_path))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=10,
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        aggregation_type=api_pb2.AGGREGATION_AVG,
        include_metrics=True,
    )
    handler = list_session_groups.Handler(RequestContext(), context, "", request)
    (group,) = handler.run().session_groups
    assert group.name == "mixed" and len(group.sessions) == 2
    assert set(group.hparams) == {"arm", "seed", "steps", "pack"}
    assert group.hparams["arm"].string_value == "mixed"
    (metric,) = group.metric_values
    assert metric.name.tag == "mean/non_english" and metric.value == pytest.approx(0.6)


def multiplexer(folder):
    found = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(folder))
    return found.Reload()
