"""A device that updates is killed at random moments, and always starts from a bundle that verifies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "update_durability.py"


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, kills: int) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, str(PROGRAM), "--kills", str(kills), "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(written.read_text())
    assert figures["kills"] == kills and figures["started_from_nothing_or_a_bad_bundle"] == 0
    assert figures["last_release"] > 1 and figures["last_confirmed"] <= figures["last_release"]


@pytest.mark.parametrize(
    ("sabotage", "message"),
    [
        # A confirmed bundle is lost: the pointer goes back to what it was before.
        (
            "slots.folder.joinpath('slots.json').write_text(update.State('a', digest('a'), 1).to_json()); "
            "slots.path('a').write_bytes(first)",
            "was confirmed",
        ),
        # Both slots are damaged.
        ("[slots.path(name).write_bytes(b'PK') for name in 'ab']", "cannot be started from"),
    ],
)
def test_a_loss_is_noticed(sabotage: str, message: str) -> None:
    """The check itself is checked."""
    program = f"""
import hashlib, sys
sys.path.insert(0, {str(PROGRAM.parent)!r})
import update_durability as durability
from edgecv_runtime import update
kill_once = durability.kill_once
def kill_and_take_away(folder, start, delay):
    slots = durability.slots_of(folder)
    first = slots.path("a").read_bytes()
    digest = lambda name: hashlib.sha256(first).hexdigest()
    told = kill_once(folder, start, delay + 0.5)
    {sabotage}
    return told
durability.kill_once = kill_and_take_away
sys.argv = ["update_durability", "--kills", "1"]
sys.exit(durability.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and message in done.stderr, done.stderr
