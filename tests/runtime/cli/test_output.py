from __future__ import annotations

import io
import json

import pytest

from edgecv_runtime.cli.output import kilobytes, remark, say, say_json, table


def test_table_by_hand() -> None:
    assert table(["name", "ms", "drop"], [["a", "3.25", "−1.5"], ["longer", "12.00", ""]]) == (
        "name       ms  drop\n──────  ─────  ────\na        3.25  −1.5\nlonger  12.00"
    )
    assert table(["name"], []) == "name\n────"


def test_kilobytes() -> None:
    assert [kilobytes(size) for size in (0, 1499, 1_234_567)] == ["0 kB", "1 kB", "1,235 kB"]


def test_json_holds_what_json_can_hold(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"größe": [1.5, float("nan"), (float("inf"), -float("inf"))], "n": 3, "none": None, "yes": True})
    out = capsys.readouterr().out
    assert json.loads(out) == {"größe": [1.5, None, [None, None]], "n": 3, "none": None, "yes": True}
    say_json([1, {"a": 2}], indent=None)
    assert capsys.readouterr().out == '[1, {"a": 2}]\n'


def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    say("result")
    say()
    remark("remark")
    assert capsys.readouterr() == ("result\n\n", "remark\n")


def test_a_terminal_that_cannot_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="latin-1", newline="\n"))
    say("größe ✓ 猫")
    __import__("sys").stdout.flush()
    assert raw.getvalue() == "größe ? ?\n".encode("latin-1")
