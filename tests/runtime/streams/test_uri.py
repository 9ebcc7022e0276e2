from __future__ import annotations

import pytest

from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.streams.uri import parse_live, redacted


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://admin:p@ss:w0rd@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("http://host/a.mjpg?user=me&pwd=secret&fps=5", "http://host/a.mjpg?user=***&pwd=***&fps=5"),
        ("http://host/a?x=1;token=abc#f", "http://host/a?x=1;token=***#f"),
        ("rtsp://host/cam@entrance", "rtsp://host/cam@entrance"),
        ("/dev/video0?size=640x480", "/dev/video0?size=640x480"),
    ],
)
def test_credentials_are_never_shown(source: str, shown: str) -> None:
    assert redacted(source) == shown
    live = parse_live(source)
    assert live is not None and live.name == shown


def test_cameras() -> None:
    number, path = parse_live("2?size=1280x720&fps=30&fourcc=MJPG"), parse_live("/dev/video0")
    assert number is not None and path is not None
    assert (number.scheme, number.address, number.size, number.fps) == ("v4l2", "/dev/video2", (1280, 720), 30.0)
    assert number.options == {"fourcc": "MJPG"} and path.address == "/dev/video0"
    csi = parse_live("csi://1?size=640x480")
    assert csi is not None and (csi.scheme, csi.address, csi.size) == ("csi", "1", (640, 480))
    pipeline = parse_live("gst://videotestsrc ! appsink?x")
    assert pipeline is not None and pipeline.address == "videotestsrc ! appsink?x"


@pytest.mark.parametrize("source", ["photo.jpg", "a/b", "file:///tmp/a.mp4", "C3.png", "./0"])
def test_files_are_not_live(source: str) -> None:
    assert parse_live(source) is None


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("ftp://host/a", UnsupportedError, "one of rtsp://, rtsps://, .* received 'ftp'://"),
        ("rtsp://", InputError, "rtsp:// needs a host"),
        ("http:///path", InputError, "http:// needs a host"),
        ("0?size=big", InputError, "size must be WIDTHxHEIGHT, such as 1280x720; received 'big'"),
        ("0?size=0x9", InputError, "size must be"),
        ("0?fps=fast", InputError, "fps must be from 0 to 1000; received 'fast'"),
    ],
)
def test_refused(source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_live(source)
