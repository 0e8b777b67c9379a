"""Event files are readable by TensorBoard's own reader, at any moment."""

import numpy as np
from tensorboard.backend.event_processing import event_accumulator

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
