"""Updates that a power cut cannot break: two slots, and a pointer that is switched once the new bundle is proven.

A folder of slots holds ``a.edgecv`` and ``b.edgecv``, and ``slots.json``, which says which of them is active. A new
bundle is copied to ``incoming.edgecv``, checked (digests, signature, release) and tested there by its own parity
contract, then renamed into the slot that is not active; then ``slots.json`` is replaced. Each of these files is flushed
to the medium before it takes its name, and the folder after it, in this order: whenever the power goes, the old bundle
is active and whole, or the new one is.

The new one is on trial until it is confirmed. Each start (`Slots.boot`) counts itself first, so that a start that never
comes to an end counts too; a bundle that fails its test, or has used up its starts, gives way to the one before it.
Releases only grow: the highest that was ever confirmed is remembered, and no lower one is installed unasked.

The public key is best configured for the whole machine (see `edgecv_runtime.signing`): what a start has found good is
then checked once more by `load`, which reads the file anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from edgecv_runtime.bundle import Bundle, write_atomically
from edgecv_runtime.errors import BundleError, CheckFailedError, EdgecvError, InputError, MissingFileError, OutputError
from edgecv_runtime.parity import verify
from edgecv_runtime.signing import check_signature

STARTS = 3  # of a bundle on trial, before it gives way

STATE_FILE = "slots.json"
INCOMING_FILE = "incoming.edgecv"
_LOCK_FILE = "lock"
_SLOTS = {"a": "b", "b": "a"}  # slot -> the other
_VERSION = 1

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class State:
    """The content of ``slots.json``.

    Attributes
    ----------
    active : {"a", "b"}
        The slot to start from.
    sha256 : str
        Of the file in the active slot.
    release : int or None
        Of the bundle in the active slot.
    trial : bool
        It has yet to be confirmed.
    starts : int
        On trial: how often it was begun.
    fallback : str or None
        sha256 of the file in the other slot that was in use before, and may be again; None where there is none.
    floor : int
        The highest release that was ever confirmed; 0 where there was none with a number.
    failed : str or None
        Why the last update was taken back, in one line.
    """

    active: str
    sha256: str
    release: int | None = None
    trial: bool = False
    starts: int = 0
    fallback: str | None = None
    floor: int = 0
    failed: str | None = None

    def to_json(self) -> str:
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: bytes) -> State:
        """Read it; ValueError where it is not one."""
        try:
            document = json.loads(text)
            if document.pop("version") != _VERSION:
                raise ValueError("it is of another version")
            state = cls(**document)
            kinds = (
                state.active in _SLOTS, isinstance(state.sha256, str), isinstance(state.trial, bool),
                isinstance(state.starts, int), isinstance(state.floor, int),
                isinstance(state.release, int | None), isinstance(state.fallback, str | None),
                isinstance(state.failed, str | None),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(str(error)) from None
        if not all(kinds):
            raise ValueError("a field is of the wrong type")
        return state


@dataclass(frozen=True)
class Boot:
    """What to start from.

    Attributes
    ----------
    path : Path
        The bundle, which has just passed its test.
    release : int or None
    trial : bool
        Call `Slots.confirm` when the application has found that all is well.
    failed : str or None
        Why the bundle that was active had to give way to this one, where that happened now.
    """

    path: Path
    release: int | None
    trial: bool
    failed: str | None = None


class Slots:
    """A folder with two slots for one bundle.

    Parameters
    ----------
    folder : str or Path
        Is made by the first `install`.
    public_key : str, Path or None
        As in `load`: who must have signed what is installed and started.
    backend, device, threads
        As in `load`, for the self-test.

    Examples
    --------
    >>> slots = Slots("/var/lib/camera")                    # doctest: +SKIP
    >>> slots.install("new.edgecv")                         # doctest: +SKIP
    >>> model = edgecv_runtime.load(slots.boot().path)      # doctest: +SKIP
    >>> slots.confirm()                                     # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        public_key: str | Path | None = None,
        backend: str | None = None,
        device: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._public_key = public_key
        self._how: dict[str, Any] = {"backend": backend, "device": device, "threads": threads}

    def __repr__(self) -> str:
        return f"<Slots {self.folder}>"

    def path(self, slot: str) -> Path:
        """The bundle in slot ``"a"`` or ``"b"``, which may not be there."""
        return self.folder / f"{slot}.edgecv"

    # -- what an operator does -----------------------------------------------------------------------------

    def install(self, new: str | Path, *, allow_downgrade: bool = False) -> State:
        """Put a new bundle into the slot that is not active, prove it, and switch to it, on trial.

        Installing again what is active changes nothing. The first bundle of all has nothing to fall back to and is
        confirmed at once.

        Parameters
        ----------
        new : str or Path
        allow_downgrade : bool
            Take a lower release than the highest that was confirmed, one without a number, or another bundle of
            the same number.

        Raises
        ------
        BundleError
            It is damaged, altered, not signed as it must be, or of a lower release.
        CheckFailedError
            It fails its self-test here; everything is as it was.
        InputError
            The update before it is still on trial.
        MissingFileError, OutputError, MissingPackageError, UnsupportedError
        """
        new = Path(new)
        Bundle(new)  # what is refused at first sight leaves no trace
        self._make_folder()
        with self._locked():
            state = self._state()
            incoming = self.folder / INCOMING_FILE
            try:
                return self._install(_copy(new, incoming), incoming, new, state, allow_downgrade)
            finally:
                with suppress(OSError):
                    incoming.unlink(missing_ok=True)

    def _install(self, digest: str, incoming: Path, new: Path, state: State | None, allow_downgrade: bool) -> State:
        # From here on only our own copy is looked at: the original may change under our hands.
        bundle = self._named(new, lambda: self._checked(incoming))
        release = bundle.manifest.release
        if state is not None:
            if state.sha256 == digest and _digest(self.path(state.active)) == digest:
                return state
            if state.trial:
                raise InputError(
                    f"the bundle in {self.folder} is still on trial: confirm it or roll it back before the next update"
                )
            if not allow_downgrade:
                _refuse_downgrade(new, release, digest, state)
        self._named(new, lambda: self._prove(incoming))
        slot = "a" if state is None else _SLOTS[state.active]
        incoming.replace(self.path(slot))
        _flush_folder(self.folder)
        if state is None:
            made = State(slot, digest, release, floor=release or 0)
        else:
            made = State(slot, digest, release, trial=True, fallback=state.sha256, floor=state.floor)
        self._write(made)
        return made

    def boot(self) -> Boot:
        """Choose the bundle to start from, and prove it: to be called at each start of the application.

        Raises
        ------
        MissingFileError
            Nothing was ever installed there.
        CheckFailedError
            Neither slot holds a bundle that passes its test.
        """
        with self._locked():
            state = self._needed()
            used_up = state.trial and state.starts >= STARTS
            reason: str | None
            if used_up:
                reason = f"it was not confirmed within {STARTS} starts"
            else:
                if state.trial:  # counted before it is tried: a start that hangs or kills the machine counts too
                    state = replace(state, starts=state.starts + 1)
                    self._write(state)
                reason = self._reason_against(state.active, state.sha256)
            if reason is None:
                return Boot(self.path(state.active), state.release, state.trial)
            obstacle = self._obstacle(state)
            if obstacle is None:
                return self._fall_back(state, reason)
            if used_up and self._reason_against(state.active, state.sha256) is None:
                return Boot(self.path(state.active), state.release, state.trial)  # better than none at all
            raise CheckFailedError(
                f"{self.path(state.active)} cannot be started from ({reason}), and the bundle before it neither: "
                f"{obstacle}"
            )

    def confirm(self) -> State:
        """End the trial: the active bundle stays, and no lower release is taken from now on."""
        with self._locked():
            state = self._needed()
            if state.trial:
                floor = max(state.floor, state.release or 0)
                state = replace(state, trial=False, starts=0, floor=floor, failed=None)
                self._write(state)
            return state

    def rollback(self) -> Boot:
        """Go back to the bundle before, if it is there and passes its test; the floor of releases stays.

        Raises
        ------
        CheckFailedError
            It does not, or there is none; the active one stays.
        """
        with self._locked():
            state = self._needed()
            obstacle = self._obstacle(state)
            if obstacle is not None:
                raise CheckFailedError(f"{self.folder} cannot be rolled back: {obstacle}")
            return self._fall_back(state, "it was rolled back by hand")

    def status(self) -> State:
        """What ``slots.json`` says; nothing is tested.

        Raises
        ------
        MissingFileError
            Nothing was ever installed there.
        """
        with self._locked():
            return self._needed()

    # -- proof ---------------------------------------------------------------------------------------------

    def _checked(self, path: Path) -> Bundle:
        bundle = Bundle(path)
        check_signature(bundle, self._public_key)
        return bundle

    def _prove(self, path: Path) -> None:
        tested = verify(path, public_key=self._public_key, **self._how)
        if not tested.passed:
            broken = next(check for check in tested.checks if not check.passed)
            raise CheckFailedError(f"{path} fails its self-test on this machine: {broken.name}: {broken.detail}")

    def _named(self, new: Path, question: Callable[[], _Answer]) -> _Answer:
        """Ask about the copy; the message names the file that the caller knows."""
        try:
            return question()
        except (BundleError, CheckFailedError) as error:
            error.args = (str(error).replace(str(self.folder / INCOMING_FILE), str(new)),)
            raise

    def _reason_against(self, slot: str, digest: str) -> str | None:
        """Why the bundle in a slot cannot be started from; None where it can."""
        path = self.path(slot)
        try:
            if _digest(path) != digest:
                raise BundleError(f"{path} is missing or is not the file that was installed")
            self._checked(path)
            self._prove(path)
        except (EdgecvError, OSError) as error:
            return " ".join(str(error).split())
        return None

    def _obstacle(self, state: State) -> str | None:
        """Why the bundle before the active one cannot take its place; None where it can."""
        if state.fallback is None:
            return "there is no bundle before it"
        return self._reason_against(_SLOTS[state.active], state.fallback)

    def _fall_back(self, state: State, reason: str) -> Boot:
        """Make the other slot, which has just passed its test, the active one."""
        slot = _SLOTS[state.active]
        release = Bundle(self.path(slot)).manifest.release
        self._write(State(slot, state.fallback or "", release, floor=state.floor, failed=reason))
        return Boot(self.path(slot), release, False, failed=reason)

    # -- the folder ----------------------------------------------------------------------------------------

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
            _flush_folder(self.folder.parent)
        except OSError as error:
            raise OutputError(f"cannot make the folder {self.folder}: {error.strerror or error}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time; the kernel takes the lock away from a process that ends, however it ends."""
        if not self.folder.is_dir():
            raise MissingFileError(f"no slots at {self.folder}: install a bundle with edgecv update NEW.edgecv")
        try:
            descriptor = os.open(self.folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"cannot write in {self.folder}: {error.strerror or error}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _needed(self) -> State:
        state = self._state()
        if state is None:
            raise MissingFileError(f"no bundle is installed in {self.folder}: edgecv update NEW.edgecv --slots DIR")
        return state

    def _state(self) -> State | None:
        """What is on disk; where ``slots.json`` is lost or damaged, what can be told from the slots themselves."""
        try:
            return State.from_json((self.folder / STATE_FILE).read_bytes())
        except (OSError, ValueError):
            return self._recovered()

    def _recovered(self) -> State | None:
        found: dict[str, tuple[int | None, str]] = {}
        for slot in _SLOTS:
            path = self.path(slot)
            if not path.is_file():
                continue
            with suppress(BundleError):
                found[slot] = self._checked(path).manifest.release, _digest(path) or ""
        if not found:
            return None
        slot = max(found, key=lambda name: found[name][0] or 0)
        release, digest = found[slot]
        other = found.get(_SLOTS[slot])
        return State(slot, digest, release, fallback=other and other[1], floor=release or 0)

    def _write(self, state: State) -> None:
        for left in self.folder.glob(f".{STATE_FILE}.*"):  # of a process that was killed while it wrote
            with suppress(OSError):
                left.unlink()
        write_atomically(self.folder / STATE_FILE, state.to_json().encode())
        _flush_folder(self.folder)


def _refuse_downgrade(new: Path, release: int | None, digest: str, state: State) -> None:
    least = max(state.floor, state.release or 0)
    advice = "give it a higher number (edgecv sign --release N), or allow the downgrade (--allow-downgrade)"
    if release is None and least:
        raise BundleError(f"{new} has no release number, and release {least} was in use here: {advice}")
    if (release or 0) < least:
        raise BundleError(f"{new} is release {release}, a downgrade from release {least}: {advice}")
    if release is not None and release == state.release and digest != state.sha256:
        raise BundleError(f"{new} is release {release} as is the bundle in use, and another one: {advice}")


def _copy(source: Path, target: Path) -> str:
    """Copy a file and flush it to the medium; the sha256 of what was written."""
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            while block := reader.read(2**20):
                digest.update(block)
                writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
    except OSError as error:
        raise OutputError(f"cannot copy {source} to {target}: {error.strerror or error}") from None
    return digest.hexdigest()


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def _flush_folder(folder: Path) -> None:
    """Bring names to the medium: a rename is not there after a power cut until its folder is."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(f"cannot flush the folder {folder}: {error.strerror or error}") from None
