"""Event files, against the checksum's published values and TensorFlow's reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecv.training.events import EventFile, crc32c
from edgecv_runtime.errors import OutputError


@pytest.mark.parametrize(
    ("data", "checksum"),  # RFC 3720, appendix B.4, and the customary check value
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E), (b"123456789", 0xE3069283)],
)
def test_checksums(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


def test_tensorflow_reads_them(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    event_pb2 = pytest.importorskip("tensorflow.core.util.event_pb2")
    file = EventFile(tmp_path / "train")
    for step in (0, 1, 300):
        file.scalar("epoch_loss", 0.5 * step, step)
    file.close()
    file.close()
    path = next((tmp_path / "train").iterdir())
    assert path.name.startswith("events.out.tfevents.")
    records = tensorflow.data.TFRecordDataset(str(path)).as_numpy_iterator()  # it checks the checksums
    events = [event_pb2.Event.FromString(content) for content in records]
    assert events[0].file_version == "brain.Event:2"
    assert [(entry.step, entry.summary.value[0].tag, entry.summary.value[0].simple_value) for entry in events[1:]] == [
        (0, "epoch_loss", 0.0),
        (1, "epoch_loss", 0.5),
        (300, "epoch_loss", 150.0),
    ]
    assert all(1.7e9 < entry.wall_time < 1e11 for entry in events)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to .*file"):
        EventFile(tmp_path / "file")
