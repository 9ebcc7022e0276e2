from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime.bundle import Bundle
from edgecv_runtime.errors import BundleError, CheckFailedError, InputError, MissingFileError, OutputError
from edgecv_runtime.parity import verify
from edgecv_runtime.signing import sign, write_new_key
from edgecv_runtime.update import STARTS, Slots, State

Offer = Callable[..., Path]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write_new_key(folder / "key")
    write_new_key(folder / "other")
    return folder


@pytest.fixture(scope="module")
def offer(tiny: Any, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Offer:
    """``offer(3)``: a signed bundle of release 3. Read only."""
    folder = tmp_path_factory.mktemp("offers")

    def make(release: int | None, *, broken: bool = False, key: str = "key", extra: bytes | None = None) -> Path:
        path = folder / f"{release}_{broken}_{key}_{extra!r}.edgecv"
        if not path.exists():
            golden = tiny.golden(tiny.manifest("onnx"), count=1)
            if broken:
                golden = replace(golden, outputs=(golden.outputs[0] + 1,))
            tiny.write(path, golden=golden, release=release, extra=None if extra is None else {"extra.bin": extra})
            sign(path, keys / key)
        return path

    return make


@pytest.fixture
def slots(tmp_path: Path, keys: Path) -> Slots:
    return Slots(tmp_path / "slots", public_key=keys / "key.pub", threads=1)


def files(slots: Slots) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in slots.folder.iterdir()}


# -- from one release to the next ----------------------------------------------------------------------------------


def test_nothing_installed(slots: Slots) -> None:
    for action in (slots.boot, slots.confirm, slots.rollback, slots.status):
        with pytest.raises(MissingFileError, match="no slots at"):
            action()
    slots.folder.mkdir()
    with pytest.raises(MissingFileError, match="no bundle is installed in"):
        slots.boot()


def test_the_first_is_confirmed_at_once(slots: Slots, offer: Offer) -> None:
    state = slots.install(offer(1))
    assert (state.active, state.release, state.trial, state.floor, state.fallback) == ("a", 1, False, 1, None)
    boot = slots.boot()
    assert boot.path == slots.folder / "a.edgecv" and boot.release == 1 and not boot.trial and boot.failed is None
    assert boot.path.read_bytes() == offer(1).read_bytes()
    assert set(files(slots)) == {"a.edgecv", "slots.json", "lock"}


def test_a_trial_that_is_confirmed(slots: Slots, offer: Offer) -> None:
    slots.install(offer(1))
    state = slots.install(offer(2))
    assert (state.active, state.trial, state.starts, state.floor) == ("b", True, 0, 1)
    boot = slots.boot()
    assert boot.path.name == "b.edgecv" and boot.trial and slots.status().starts == 1
    state = slots.confirm()
    assert (state.active, state.trial, state.starts, state.floor) == ("b", False, 0, 2)
    assert slots.confirm() == state
    assert slots.install(offer(3)).active == "a"
    assert slots.path("b").read_bytes() == offer(2).read_bytes()


def test_a_trial_that_nobody_confirms_gives_way(slots: Slots, offer: Offer) -> None:
    slots.install(offer(1))
    slots.install(offer(2))
    assert [slots.boot().release for _ in range(STARTS + 2)] == [2] * STARTS + [1, 1]
    state = slots.status()
    assert state.failed == f"it was not confirmed within {STARTS} starts" and not state.trial and state.floor == 1
    assert slots.install(offer(2)).trial  # it may be tried again


def test_a_start_counts_before_it_is_tried(slots: Slots, offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that takes the machine down with it leaves no other trace than the count."""

    class Down(BaseException):
        pass

    def down(*_: object, **__: object) -> None:
        raise Down

    slots.install(offer(1))
    slots.install(offer(2))
    with monkeypatch.context() as patch:
        patch.setattr("edgecv_runtime.update.verify", down)
        for _ in range(STARTS):
            with pytest.raises(Down):
                slots.boot()
    assert slots.boot().release == 1


@pytest.mark.parametrize("trial", [True, False])
def test_a_start_that_fails_its_self_test_falls_back(slots: Slots, offer: Offer, trial: bool) -> None:
    slots.install(offer(1))
    slots.install(offer(2))
    if not trial:
        slots.confirm()
    content = bytearray(slots.path("b").read_bytes())
    content[len(content) // 2] ^= 1  # the medium wears out
    slots.path("b").write_bytes(content)
    boot = slots.boot()
    assert boot.release == 1 and boot.path.name == "a.edgecv" and not boot.trial
    assert boot.failed is not None and "is not the file that was installed" in boot.failed
    assert slots.boot().failed is None and slots.status().failed == boot.failed


def test_neither_slot_can_be_started_from(slots: Slots, offer: Offer) -> None:
    slots.install(offer(1))
    slots.install(offer(2))
    for slot in "ab":
        slots.path(slot).write_bytes(b"PK")
    before = files(slots)
    with pytest.raises(CheckFailedError, match="b.edgecv cannot be started from .*, and the bundle before it neither"):
        slots.boot()
    assert json.loads(before["slots.json"])["starts"] == 0 and slots.status().starts == 1


def test_used_up_with_nothing_to_go_back_to_still_starts(slots: Slots, offer: Offer) -> None:
    slots.install(offer(1))
    slots.install(offer(2))
    slots.path("a").unlink()
    assert [slots.boot().release for _ in range(STARTS + 1)] == [2] * (STARTS + 1)


def test_rolled_back_by_hand(slots: Slots, offer: Offer) -> None:
    slots.install(offer(1))
    with pytest.raises(CheckFailedError, match="cannot be rolled back: there is no bundle before it"):
        slots.rollback()
    slots.install(offer(2))
    slots.confirm()
    boot = slots.rollback()
    assert boot.release == 1 and boot.failed == "it was rolled back by hand"
    with pytest.raises(CheckFailedError, match="cannot be rolled back"):
        slots.rollback()
    with pytest.raises(BundleError, match="a downgrade from release 2"):  # the floor outlasts it
        slots.install(offer(1, extra=b"x"))


def test_installing_the_active_one_again_changes_nothing(slots: Slots, offer: Offer) -> None:
    slots.install(offer(1))
    slots.install(offer(2))
    before = files(slots)
    slots.install(offer(2))
    assert files(slots) == before


def test_an_update_on_trial_is_not_updated(slots: Slots, offer: Offer) -> None:
    slots.install(offer(1))
    slots.install(offer(2))
    with pytest.raises(InputError, match="still on trial: confirm it or roll it back"):
        slots.install(offer(3))


# -- what is refused, and leaves everything as it was --------------------------------------------------------------


def refused(slots: Slots, path: Path, error: type[Exception], message: str) -> None:
    before = files(slots)
    with pytest.raises(error, match=message) as caught:
        slots.install(path)
    assert "\n" not in str(caught.value) and "incoming" not in str(caught.value)
    assert files(slots) == before
    assert slots.boot().release == 2


@pytest.fixture
def running(slots: Slots, offer: Offer) -> Slots:
    """Release 2 is confirmed, release 1 lies in the other slot."""
    slots.install(offer(1))
    slots.install(offer(2))
    slots.confirm()
    return slots


def test_downgrade(running: Slots, offer: Offer) -> None:
    refused(running, offer(1), BundleError, "is release 1, a downgrade from release 2: give it a higher number")
    refused(running, offer(2, extra=b"x"), BundleError, "is release 2 as is the bundle in use, and another one")
    refused(running, offer(None), BundleError, "has no release number, and release 2 was in use here")
    assert running.install(offer(1), allow_downgrade=True).release == 1
    assert running.confirm().floor == 2


def test_without_numbers_every_order_is_allowed(slots: Slots, offer: Offer) -> None:
    for extra in (b"1", b"2", b"1"):
        slots.install(offer(None, extra=extra))
        slots.confirm()
    assert slots.status().floor == 0


def test_unsigned_wrong_key_and_tampered(running: Slots, offer: Offer, tiny: Any, tmp_path: Path) -> None:
    plain = tiny.write(tmp_path / "plain.edgecv", release=3)
    refused(running, plain, BundleError, f"^{plain} is not signed")
    refused(running, offer(3, key="other"), BundleError, "which is not trusted here")
    content = bytearray(offer(3).read_bytes())
    content[len(content) // 2] ^= 1
    plain.write_bytes(content)
    refused(running, plain, BundleError, f"^{plain}")
    refused(running, tmp_path / "none.edgecv", MissingFileError, "no bundle at")


def test_a_bundle_that_fails_its_self_test(running: Slots, offer: Offer) -> None:
    refused(running, offer(3, broken=True), CheckFailedError, "fails its self-test on this machine: parity: ")


def test_a_file_that_changes_while_it_is_installed(running: Slots, offer: Offer, tmp_path: Path) -> None:
    """What is checked is the copy that is then started from."""
    path = tmp_path / "changing.edgecv"
    shutil.copy(offer(3), path)
    real = running._checked

    def checked(copy: Path) -> Bundle:
        path.write_bytes(offer(3, key="other").read_bytes())
        return real(copy)

    running._checked = checked  # type: ignore[method-assign]
    running.install(path)
    assert running.path("a").read_bytes() == offer(3).read_bytes()


def test_a_full_disk(running: Slots, offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(running)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left on device"):
            running.install(offer(3))
    assert files(running) == before


# -- a lost or damaged pointer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1, "active": "c", "sha256": ""}', b"\0" * 300]
)
def test_without_the_pointer_the_slots_tell(running: Slots, offer: Offer, content: bytes | None) -> None:
    pointer = running.folder / "slots.json"
    pointer.unlink()
    if content is not None:
        pointer.write_bytes(content)
    assert running.boot().release == 2
    state = running.status()
    assert (state.active, state.floor, state.trial) == ("b", 2, False) and state.fallback is not None
    with pytest.raises(BundleError, match="a downgrade from release 2"):
        running.install(offer(1, extra=b"x"))


@pytest.mark.parametrize("field", ["active", "sha256", "trial", "starts", "floor", "release", "fallback", "failed"])
def test_states_of_the_wrong_type(field: str) -> None:
    document = json.loads(State("a", "0").to_json())
    assert State.from_json(json.dumps(document).encode()) == State("a", "0")
    with pytest.raises(ValueError):
        State.from_json(json.dumps({**document, field: [1]}).encode())


# -- power cuts ----------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    pass


class Medium:
    """Counts every flush and rename, and cuts the power at one of them; what was not flushed by then is lost."""

    def __init__(self, patch: pytest.MonkeyPatch, cut: int | None = None) -> None:
        self.steps: list[str] = []
        self.cut = cut
        self._flushed: set[int] = set()
        self._renamed: tuple[Path, bytes | None] | None = None
        fsync, rename, unlink = os.fsync, Path.replace, Path.unlink

        def flush(descriptor: int) -> None:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                if self._step("flush folder") and self._renamed is not None:
                    self._undo(*self._renamed)
                self._end()
                self._renamed = None
            else:
                if self._step("flush file"):
                    os.truncate(descriptor, status.st_size // 2)
                self._end()
                self._flushed.add(status.st_ino)
            fsync(descriptor)

        def move(path: Path, target: Path) -> Path:
            assert path.stat().st_ino in self._flushed, f"{path} takes its name before its content is safe"
            assert self._renamed is None, f"{target} is replaced before {self._renamed} is safe"
            self._step(f"rename to {target.name}")
            self._end()
            self._renamed = target, target.read_bytes() if target.exists() else None
            return rename(path, target)

        def remove(path: Path, missing_ok: bool = False) -> None:
            if self.cut is None or len(self.steps) <= self.cut:  # a machine without power clears up nothing
                unlink(path, missing_ok=missing_ok)

        patch.setattr(os, "fsync", flush)
        patch.setattr(Path, "replace", move)
        patch.setattr(Path, "unlink", remove)

    def _step(self, name: str) -> bool:
        self.steps.append(name)
        return self.cut == len(self.steps) - 1

    def _end(self) -> None:
        if self.cut == len(self.steps) - 1:
            raise PowerCut

    @staticmethod
    def _undo(target: Path, before: bytes | None) -> None:
        if before is None:
            target.unlink()
        else:
            target.write_bytes(before)


def live(slots: Slots, new: Path) -> None:
    slots.install(new)
    slots.boot()
    slots.confirm()


def test_power_cut_at_every_step(
    running: Slots, offer: Offer, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh(name: str) -> Slots:
        shutil.copytree(running.folder, tmp_path / name)
        return Slots(tmp_path / name, public_key=keys / "key.pub", threads=1)

    with monkeypatch.context() as patch:
        medium = Medium(patch)
        live(fresh("whole"), offer(3))
    pointer = ["flush file", "rename to slots.json", "flush folder"]
    assert medium.steps == ["flush folder", "flush file", "rename to a.edgecv", "flush folder", *pointer * 3]
    for cut in range(len(medium.steps)):
        slots = fresh(f"cut {cut}")
        with monkeypatch.context() as patch:
            Medium(patch, cut)
            with pytest.raises(PowerCut):
                live(slots, offer(3))
        boot = slots.boot()
        # Until the pointer is on the medium it is the old one.
        assert boot.release == (2 if cut <= 6 else 3), cut
        assert verify(boot.path, public_key=keys / "key.pub").passed
        slots.confirm()
        if boot.release == 2:
            live(slots, offer(3))
        assert slots.boot().release == 3
        assert set(files(slots)) <= {"a.edgecv", "b.edgecv", "slots.json", "lock"}, cut


def test_power_cut_during_the_first_installation(
    slots: Slots, offer: Offer, tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cut in range(7):
        first = Slots(tmp_path / f"first {cut}", public_key=keys / "key.pub", threads=1)
        with monkeypatch.context() as patch:
            Medium(patch, cut)
            with pytest.raises(PowerCut):
                first.install(offer(1))
        first.install(offer(1))
        assert first.boot().release == 1
