from __future__ import annotations

import io
from typing import Any

import pytest

from edgecv_runtime.progress import Progress, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_silent_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.StringIO()
    monkeypatch.setattr("sys.stderr", plain)
    assert list(track("abc", 3, "working")) == ["a", "b", "c"]
    assert plain.getvalue() == ""
    monkeypatch.setattr("sys.stderr", None)  # a service without one
    assert list(track("abc", 3, "working")) == ["a", "b", "c"]


@pytest.mark.parametrize(("total", "unit", "last"), [(4, "images", "4/4"), (4_000_000, "B", "4.0 MB/4.0 MB")])
def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, total: int, unit: str, last: str) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(total, "working", unit) as bar:
        for _ in range(4):
            bar.advance(total // 4)
    drawn = terminal.getvalue()
    assert f"working {'━' * 28} {last}" in drawn
    assert drawn.endswith("\r\x1b[K")  # gone when done
    assert "\n" not in drawn


def test_unknown_and_zero_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr("edgecv_runtime.progress._INTERVAL", 0.0)
    for total in (None, 0):
        with Progress(total, "working") as bar:
            bar.advance()
        assert bar.done == 1


def test_the_bar_goes_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)

    def items() -> Any:
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(track(items(), 1, "working"))
    assert terminal.getvalue().endswith("\r\x1b[K")
