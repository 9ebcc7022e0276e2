"""A process that enrols is killed at random moments, and loses nothing that it had acknowledged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "gallery_durability.py"


@pytest.mark.parametrize("kills", [8, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, kills: int) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, str(PROGRAM), "--kills", str(kills), "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(written.read_text())
    assert figures["kills"] == kills and figures["lost"] == 0
    assert figures["steps"] > 0 and figures["samples"] > 0


def test_a_loss_is_noticed() -> None:
    """The check itself is checked: with a gallery from which a sample was taken away, it fails."""
    program = f"""
import sys
sys.path.insert(0, {str(PROGRAM.parent)!r})
import gallery_durability as durability
kill_once = durability.kill_once
def kill_and_take_away(path, *rest):
    reached = kill_once(path, *rest)
    with durability.Gallery(path) as gallery:
        gallery.remove_samples(gallery.store.load().ids[:1].tolist())
    return reached
durability.kill_once = kill_and_take_away
sys.argv = ["gallery_durability", "--kills", "8"]
sys.exit(durability.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "are not as acknowledged" in done.stderr
