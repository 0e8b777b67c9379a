"""TensorBoard event files without TensorFlow.

clu's writers import TensorFlow, and so does tensorboard's EventFileWriter on its first event
(3 s, 800 MB). Its record framing and protocol buffers alone do not.
"""

import itertools
import os
import socket
import time
from collections.abc import Mapping

from etils import epath
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

_STATUS_SUCCESS = 1  # of tensorboard.hparams.Status
_numbers = itertools.count()


class ScalarWriter:
    """Appends scalars and texts to one new event file in ``directory``.

    ``write`` and ``text`` leave the file complete on disk; there is no thread. A directory on
    gs:// gets its file on ``close``, as object stores do not append.
    """

    def __init__(self, directory: str | os.PathLike):
        """Makes the directory and the file."""
        folder = epath.Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        # The first part is what TensorBoard looks for; the rest keeps two processes apart.
        name = f"events.out.tfevents.{now:.0f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / f"{name}.{next(_numbers)}").open("wb")
        self._records = RecordWriter(self._file)
        self._add(event_pb2.Event(wall_time=now, file_version="brain.Event:2"))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds one point to each named curve."""
        values = [
            summary_pb2.Summary.Value(tag=name, simple_value=float(value))
            for name, value in scalars.items()
        ]
        self._add_summary(step, values)

    def text(self, name: str, text: str, step: int = 0) -> None:
        """Adds a text (Markdown), for example the configuration."""
        metadata = summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text")
        )
        tensor = tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, string_val=[text.encode("utf-8")]
        )
        value = summary_pb2.Summary.Value(tag=name, metadata=metadata, tensor=tensor)
        self._add_summary(step, [value])

    def hparams(self, values: Mapping[str, str | float | bool], group: str) -> None:
        """Makes the folder a finished session of TensorBoard's HParams view.

        Args:
            values: Name -> value of each hyperparameter; the scalars of the folder are its metrics.
            group: Sessions of one group are shown as one row: seeds of the same settings.
        """
        now = time.time()
        start = plugin_data_pb2.SessionStartInfo(group_name=group, start_time_secs=now)
        for name, value in values.items():
            kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else ""
            setattr(start.hparams[name], f"{kind or 'number'}_value", value)
        end = plugin_data_pb2.SessionEndInfo(status=_STATUS_SUCCESS, end_time_secs=now)
        for tag, content in (
            (metadata.SESSION_START_INFO_TAG, {"session_start_info": start}),
            (metadata.SESSION_END_INFO_TAG, {"session_end_info": end}),
        ):
            value = summary_pb2.Summary.Value(
                tag=tag,
                metadata=metadata.create_summary_metadata(
                    plugin_data_pb2.HParamsPluginData(**content)
                ),
                tensor=metadata.NULL_TENSOR,
            )
            self._add_summary(0, [value])

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file; nothing can be written after it."""
        self._file.close()

    def _add_summary(self, step: int, values: list) -> None:
        summary = summary_pb2.Summary(value=values)
        self._add(event_pb2.Event(wall_time=time.time(), step=int(step), summary=summary))

    def _add(self, event: event_pb2.Event) -> None:
        self._records.write(event.SerializeToString())
        self._file.flush()
