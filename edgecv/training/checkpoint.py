"""A folder that holds a training as it was after its last whole epoch, whenever the process ends.

Weights are written under a name of their own, flushed to disk, and only then named in ``state.json``, which is replaced
in one step. A process killed at any moment leaves a state whose files are all there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgecv_runtime.bundle import write_atomically
from edgecv_runtime.errors import InputError, OutputError

_STATE = "state.json"
_FORMAT = 1
_SUFFIX = ".weights.h5"


@dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes
    ----------
    epoch : int
        Whole epochs done.
    weights : str
        File of the network and the optimizer.
    best : str
        File of the network alone, of the epoch with the least loss on the pictures held out.
    best_epoch : int
    best_loss : float
    history : list of dict
        One for each epoch.
    finished : bool
        Whether it has come to its end.
    """

    epoch: int
    weights: str
    best: str
    best_epoch: int
    best_loss: float
    history: list[dict[str, float]] = field(default_factory=list)
    finished: bool = False


def fingerprint(facts: Mapping[str, Any]) -> str:
    """What identifies a training: a digest of everything that it depends on."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class Checkpoint:
    """The folder.

    Parameters
    ----------
    folder : Path
        Is made if it is not there.
    facts : mapping
        What the training depends on, in plain words: a folder made with others is refused.

    Raises
    ------
    InputError
        Another training's folder.
    OutputError
        The folder cannot be made or read.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self._facts = folder, dict(facts)
        self._made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.state = self._read()
        except OSError as error:
            raise OutputError(f"cannot use {folder} for checkpoints: {error.strerror or error}") from None
        self._tidy()

    def _read(self) -> State | None:
        path = self.folder / _STATE
        if not path.is_file():
            strange = [entry.name for entry in self.folder.iterdir() if not entry.name.endswith(_SUFFIX)]
            if strange:
                raise InputError(
                    f"a checkpoint folder must be new, empty or one that edgecv made; {self.folder} holds {strange[0]}"
                )
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            known, state = document["facts"], State(**document["state"])
            if document["format"] != _FORMAT:
                raise ValueError("another format")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not the state of a training ({error}): remove {self.folder}") from None
        mine = json.loads(json.dumps(self._facts, default=str))
        different = sorted(key for key in {*known, *mine} if known.get(key) != mine.get(key))
        if different:
            key = different[0]
            raise InputError(
                f"{self.folder} belongs to a training with another {key} ({_short(known.get(key))}; this one has "
                f"{_short(mine.get(key))}): give the same command, another --checkpoint, or remove the folder"
            )
        return state

    def path(self, name: str) -> Path:
        return self.folder / name

    def write_weights(self, name: str, save: Callable[[Path], None]) -> str:
        """Let `save` write ``name.weights.h5``, and have it on disk when this returns."""
        path = self.folder / f"{name}{_SUFFIX}"
        try:
            save(path)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
        return path.name

    def commit(self, state: State) -> None:
        """From here on this is the state; files of earlier ones are removed."""
        document = {"format": _FORMAT, "facts": self._facts, "state": asdict(state)}
        text = json.dumps(document, indent=1, default=str) + "\n"
        write_atomically(self.folder / _STATE, text.encode())
        self.state = state
        self._tidy()

    def _tidy(self) -> None:
        """Remove weights that no state names: of earlier epochs, or of one that was not finished."""
        named = set() if self.state is None else {self.state.weights, self.state.best}
        for path in self.folder.glob(f"*{_SUFFIX}"):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def discard_if_unused(self) -> None:
        """Remove the folder again, where it was made here and no epoch was kept."""
        if self._made and self.state is None:
            self.remove()

    def remove(self) -> None:
        """Delete what is known here, and the folder if nothing else is in it."""
        self.state = None
        # The state goes first: without it the weights are leftovers, with it they would be missed.
        (self.folder / _STATE).unlink(missing_ok=True)
        self._tidy()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
