"""Whenever an update is cut short, the device starts from a bundle that verifies: it is killed at random moments.

    python benchmarks/update_durability.py [--kills N] [--ballast BYTES] [--seed S] [--json FILE]

A child process updates a folder of slots in a loop, as a device would over years: it installs signed bundles with
rising releases, starts from them, confirms some, rolls some back, leaves some unconfirmed until their starts are used
up, and is offered bundles that were tampered with and such that fail their self-test. It is killed with SIGKILL at a
random moment. Then the device is started as usual: there must be a bundle to start from, it must verify (digests,
signature, parity contract), it must be one of those that were good, and no confirmed release may be lost. The next
child goes on from there, in the same folder.

SIGKILL takes away the process and leaves the operating system its caches; that the order of flushes and renames is
right for a power cut is tested step by step in tests/runtime/test_update.py.
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
import _tiny_bundle

from edgecv_runtime.errors import BundleError, CheckFailedError
from edgecv_runtime.parity import verify
from edgecv_runtime.signing import sign, write_new_key
from edgecv_runtime.update import INCOMING_FILE, STARTS, STATE_FILE, Slots

GOOD, TAMPERED, BROKEN = "good", "tampered", "broken"
_KINDS = (GOOD, GOOD, TAMPERED, GOOD, BROKEN, GOOD)
_AHEAD = 24  # releases that lie ready for a child
_LONGEST = 0.4  # seconds from the start of a child to its end

Confirmed = int


def kind(release: int) -> str:
    return _KINDS[release % len(_KINDS)]


def offer(folder: Path, release: int, ballast: int) -> Path:
    """The signed bundle of a release, as it would come over the network."""
    path = folder / "new" / f"{release}.edgecv"
    if path.is_file():
        return path
    members = _tiny_bundle.make(release, broken=kind(release) == BROKEN, ballast=ballast)
    made = path.with_name(f"made_{release}.edgecv")
    _tiny_bundle.write_bundle(made, _tiny_bundle.manifest(release), members)
    sign(made, folder / "key")
    if kind(release) == TAMPERED:
        content = bytearray(made.read_bytes())
        content[len(content) // 2] ^= 1
        made.write_bytes(content)
    made.rename(path)
    return path


def slots_of(folder: Path) -> Slots:
    return Slots(folder / "slots", public_key=folder / "key.pub", backend="mock")


def step(folder: Path, release: int, pipe: int) -> None:
    """What a device goes through with one release; what it may rely on is told through the pipe."""
    slots = slots_of(folder)
    try:
        slots.install(folder / "new" / f"{release}.edgecv")
    except (BundleError, CheckFailedError):
        if kind(release) == GOOD:
            raise
        return
    if kind(release) != GOOD:
        raise _common.BenchmarkError(f"release {release} is {kind(release)} and was installed")
    turn = release % 4
    if turn == 3:
        for _ in range(STARTS + 1):  # nobody confirms: the last start falls back
            slots.boot()
        return
    slots.boot()
    if turn == 1:
        slots.rollback()
        return
    confirm(slots, pipe)


def confirm(slots: Slots, pipe: int) -> None:
    release = slots.confirm().release
    os.write(pipe, f"{release}\n".encode())


def child(folder: Path, start: int, pipe: int) -> None:
    """Work until killed."""
    os.write(pipe, b".")
    slots = slots_of(folder)
    if slots.folder.is_dir() and (slots.folder / STATE_FILE).is_file() and slots.status().trial:
        confirm(slots, pipe)
    for release in range(start, start + _AHEAD):
        step(folder, release, pipe)
    while True:
        slots.boot()


def kill_once(folder: Path, start: int, delay: float) -> list[Confirmed]:
    """Start a child, kill it after `delay` seconds; the releases that it said were confirmed."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        try:
            child(folder, start, writer)
        except Exception as error:  # noqa: BLE001  # any: the parent reports that it ended
            print(f"child: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    os.close(writer)
    os.read(reader, 1)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with os.fdopen(reader, "rb") as told:
        lines = told.read().decode().split("\n")[:-1]
    if not os.WIFSIGNALED(status):
        raise _common.BenchmarkError("the updating process ended by itself")
    return [int(line) for line in lines]


def check(folder: Path, confirmed: Confirmed) -> tuple[int, bool]:
    """Start the device; the release that it starts from, and whether that is on trial."""
    slots = slots_of(folder)
    boot = slots.boot()
    tested = verify(boot.path, backend="mock", public_key=folder / "key.pub")
    if not tested.passed:
        raise _common.BenchmarkError(f"the device started from a bundle that does not verify: {tested.to_dict()}")
    if boot.release is None or kind(boot.release) != GOOD or boot.release < confirmed:
        raise _common.BenchmarkError(f"started from release {boot.release}; release {confirmed} was confirmed")
    if slots.status().floor < confirmed:
        raise _common.BenchmarkError(f"the floor is {slots.status().floor}; release {confirmed} was confirmed")
    known = {"a.edgecv", "b.edgecv", "lock", STATE_FILE, INCOMING_FILE}
    further = [path.name for path in slots.folder.iterdir() if path.name not in known]
    if len(further) > 1:  # one from this kill, never more: each next one clears up
        raise _common.BenchmarkError(f"left behind: {further}")
    return boot.release, boot.trial


def run(folder: Path, kills: int, ballast: int, seed: int) -> dict[str, int]:
    """Kill `kills` times; raises `BenchmarkError` at the first thing that is not as it must be."""
    (folder / "new").mkdir()
    write_new_key(folder / "key")
    slots_of(folder).install(offer(folder, 1, ballast))
    confirmed, release, trials, copying, writing = 1, 1, 0, 0, 0
    delays = random.Random(seed)
    for _ in range(kills):
        # Every release is offered once more after a kill: what was under way is what is tried next.
        for number in range(release + 1, release + 1 + _AHEAD):
            offer(folder, number, ballast)
        told = kill_once(folder, release + 1, delays.uniform(0, _LONGEST))
        confirmed = max([confirmed, *told])
        copying += (folder / "slots" / INCOMING_FILE).exists()
        writing += any((folder / "slots").glob(f".{STATE_FILE}.*"))
        release, trial = check(folder, confirmed)
        trials += trial
        for path in (folder / "new").glob("*.edgecv"):
            if int(path.stem) <= release:
                path.unlink()
    return {
        "kills": kills,
        "last_release": release,
        "last_confirmed": confirmed,
        "killed_before_the_copy_was_in_its_slot": copying,
        "killed_while_the_pointer_was_written": writing,
        "started_on_trial": trials,
        "started_from_nothing_or_a_bad_bundle": 0,
    }


def main() -> int:
    parser = _common.parser(__doc__ or "")
    parser.add_argument("--kills", type=_common.positive, default=200, metavar="N", help="default: 200")
    parser.add_argument("--ballast", type=int, default=2**18, metavar="BYTES", help="in each bundle (default: 262144)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the moments (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = run(Path(folder), options.kills, options.ballast, options.seed)
        except (_common.BenchmarkError, BundleError, CheckFailedError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(f"killed {figures['kills']} times; each time the device started from a bundle that verified")
    print(f"release {figures['last_release']} at the end; no confirmed release was lost")
    print(f"killed {figures['killed_before_the_copy_was_in_its_slot']} times before the new bundle was in its slot,")
    print(f"{figures['killed_while_the_pointer_was_written']} times while the pointer was written;")
    print(f"{figures['started_on_trial']} times the device then started from a bundle on trial")
    _common.write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
