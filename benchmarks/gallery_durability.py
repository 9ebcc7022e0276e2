"""Nothing acknowledged is lost: a process that enrols in a loop is killed at random moments.

    python benchmarks/gallery_durability.py [--kills N] [--dimension D] [--seed S] [--json FILE]

A child process opens the gallery and works through a fixed list of steps: it enrols one person or a batch of twelve in
one call, adds samples to somebody, renames, merges and removes; after each call that returned it acknowledges the step
through a pipe. It is killed with SIGKILL at a random moment between its start and a few dozen steps on. Then the
gallery is opened as any program would, every checksum is compared, and its content must be exactly what the
acknowledged steps leave behind, or those and the one step that was under way, whole. The next child goes on from there,
in the same file.

SIGKILL takes away the process and leaves the operating system its caches; that a commit also outlasts a power cut rests
on ``synchronous=FULL``, which has SQLite flush its log to the medium before a call returns.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import _common
import numpy as np

from edgecv_runtime.gallery.gallery import Gallery

BATCH = 12
_LONGEST = 0.3  # seconds from the start of a child to its end

State = dict[str, list[int]]  # name -> seeds of the vectors, in the order of enrolment


def vector(seed: int, dimension: int) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(seed).standard_normal(dimension)
    return values


def step(number: int, gallery: Gallery, dimension: int) -> None:
    """One call of the gallery."""
    kind = number % 10
    if kind == 3:
        names = [f"batch {number} {place}" for place in range(BATCH)]
        rows = [vector(number * 100 + place, dimension) for place in range(BATCH)]
        gallery.enroll_many(names, rows, poisoning="off")
    elif kind == 5:
        gallery.rename(f"person {number - 1}", f"renamed {number}")
    elif kind == 7:
        gallery.merge(f"person {number - 1}", f"renamed {number - 2}")
    elif kind == 9:
        gallery.remove(f"person {number - 1}")
    elif kind == 2:
        gallery.enroll(f"person {number - 1}", vector(number, dimension), poisoning="off")
    else:
        gallery.enroll(f"person {number}", vector(number, dimension), poisoning="off")


def expected(number: int, state: State) -> None:
    """What the same step does to a plain dictionary."""
    kind = number % 10
    if kind == 3:
        state.update({f"batch {number} {place}": [number * 100 + place] for place in range(BATCH)})
    elif kind == 5:
        state[f"renamed {number}"] = state.pop(f"person {number - 1}")
    elif kind == 7:
        state[f"renamed {number - 2}"] += state.pop(f"person {number - 1}")
    elif kind == 9:
        del state[f"person {number - 1}"]
    elif kind == 2:
        state[f"person {number - 1}"].append(number)
    else:
        state[f"person {number}"] = [number]


def content(path: Path, dimension: int) -> State:
    """What is in the gallery, every vector compared with the one that was enrolled under its seed."""
    with Gallery(path, read_only=True) as gallery:
        samples = gallery.store.load()
        people = gallery.people()
    found: State = {}
    for owner, row in zip(samples.people, samples.vectors, strict=True):
        found.setdefault(samples.names[owner], []).append(_seed_of(row, dimension))
    if {name: len(seeds) for name, seeds in found.items()} != people:
        raise _common.BenchmarkError("the list of people and the samples do not agree")
    return found


_SEEDS: dict[bytes, int] = {}


def _seed_of(row: np.ndarray, dimension: int) -> int:
    key = row.tobytes()
    if key not in _SEEDS:
        raise _common.BenchmarkError("a vector is in the gallery that nobody enrolled")
    return _SEEDS[key]


def remember(number: int, dimension: int) -> None:
    """Note the stored form of the vectors of a step."""
    from edgecv_runtime.gallery.distances import get_distance

    seeds = [number * 100 + place for place in range(BATCH)] if number % 10 == 3 else [number]
    for seed in seeds:
        _SEEDS[get_distance("cosine").prepare(vector(seed, dimension)[None])[0].tobytes()] = seed


def child(path: Path, start: int, dimension: int, pipe: int) -> None:
    """Work until killed."""
    os.write(pipe, b".")
    with Gallery(path, refresh=None) as gallery:
        number = start
        while True:
            step(number, gallery, dimension)
            os.write(pipe, f"{number}\n".encode())
            number += 1


def kill_once(path: Path, start: int, dimension: int, delay: float) -> int:
    """Start a child, kill it after `delay` seconds; the first step that it did not acknowledge."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        try:
            child(path, start, dimension, writer)
        finally:
            os._exit(1)  # only reached by an error, which the parent reports
    os.close(writer)
    os.read(reader, 1)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with os.fdopen(reader, "rb") as acknowledged:
        lines = acknowledged.read().decode().split("\n")[:-1]
    if not os.WIFSIGNALED(status):
        raise _common.BenchmarkError(f"the enrolling process ended by itself at step {start + len(lines)}")
    return start + len(lines)


def warm_up(path: Path, dimension: int) -> None:
    """Every kind of step once: what a child needs is then imported before it is started."""
    with Gallery(path) as gallery:
        for number in range(10):
            step(number, gallery, dimension)


def run(path: Path, kills: int, dimension: int, seed: int) -> dict[str, int]:
    """Kill `kills` times; raises `BenchmarkError` at the first thing that is not as it must be."""
    warm_up(path.with_name("other.db"), dimension)
    delays = random.Random(seed)
    state: State = {}
    done, under_way, empty = 0, 0, 0
    for number in range(2):
        remember(number, dimension)
    for kill in range(kills):
        reached = kill_once(path, done, dimension, delays.uniform(0, _LONGEST))
        for number in range(done, reached):
            expected(number, state)
        for number in range(done, reached + 2):
            remember(number, dimension)
        there = content(path, dimension) if path.exists() else {}
        further = {name: list(seeds) for name, seeds in state.items()}
        expected(reached, further)
        if there == further:
            state, under_way, reached = further, under_way + 1, reached + 1
        elif there != state:
            lost = sorted(name for name, seeds in state.items() if there.get(name) != seeds)
            raise _common.BenchmarkError(
                f"after kill {kill + 1}, {len(lost)} people are not as acknowledged: {lost[:3]}"
            )
        empty += reached == done
        done = reached
    return {
        "kills": kills,
        "steps": done,
        "people": len(state),
        "samples": sum(map(len, state.values())),
        "kept_unacknowledged": under_way,
        "killed_before_a_step": empty,
        "lost": 0,
    }


def main() -> int:
    parser = _common.parser(__doc__ or "")
    parser.add_argument("--kills", type=_common.positive, default=300, metavar="N", help="default: 300")
    parser.add_argument("--dimension", type=_common.positive, default=128, metavar="D", help="default: 128")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the moments (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = run(Path(folder, "faces.db"), options.kills, options.dimension, options.seed)
        except _common.BenchmarkError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(f"killed {figures['kills']} times; after each the gallery opened and held what was acknowledged")
    print(f"{figures['steps']} steps, {figures['people']} people, {figures['samples']} samples at the end")
    print(f"the step under way was there, whole, {figures['kept_unacknowledged']} times, and not at all the others")
    print(f"{figures['killed_before_a_step']} children were killed before their first step was done")
    _common.write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
