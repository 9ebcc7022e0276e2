"""What a gallery needs of the place where its samples are kept, whatever that place is.

`Gallery` validates, searches and decides; a store keeps. A store *must* do all of `Store`; one that can also search by
itself (a server with a vector index) *may* be a `SearchingStore`, and the vectors then never travel to the device.

Rules every store keeps, and the conformance suite in ``tests/runtime/gallery/conformance.py`` checks:

- When a method that changes something returns, the change is durable: a killed process, a lost connection or a power
  cut after it loses nothing. When it raises, nothing was changed.
- A change is all or nothing: a batch is never half there, and no person exists without a sample.
- Sample ids are given by the store, are positive, grow, and are never used twice, also not after a removal.
- The revision grows with every committed change of samples or names, and says what another process has done meanwhile.
- What is removed is gone from the place itself, not only marked.
- Names come in as `Gallery` has checked them (`edgecv_runtime.gallery.names`), vectors as finite float32 unit vectors
  or whatever else the gallery's distance is defined on: a store changes neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import EdgecvError, InputError

Floats: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.int64]

# Keys of the metadata that mean the same in every store. Values are text.
FINGERPRINT = "fingerprint"  # identity of the embedder that made the vectors
DIMENSION = "dimension"  # decimal; fixed by the first vector
DISTANCE = "distance"
TEMPLATE = "template"
WEIGHTS = "weights"  # of the distance: a JSON list of numbers
CALIBRATION = "calibration"  # JSON, written by edgecv_runtime.gallery.calibration
CREATED = "created"  # ISO 8601, UTC


class GalleryError(InputError):
    """A gallery cannot be trusted or read: damaged, of another kind, or locked with another key."""


class StoreUnavailableError(EdgecvError, ConnectionError):
    """The place that keeps the gallery cannot be reached now; trying again later may help."""


@dataclass(frozen=True)
class NewSample:
    """A sample that is not stored yet.

    Attributes
    ----------
    person : str
    vector : numpy.ndarray
        (D,) float32, finite.
    quality : float
        0 to 1; NaN where it was not measured.
    added : float
        Seconds since 1970-01-01 UTC.
    """

    person: str
    vector: Floats
    quality: float
    added: float


@dataclass(frozen=True)
class Samples:
    """Stored samples as columns that share N, in ascending order of `ids`.

    Attributes
    ----------
    ids : numpy.ndarray
        (N,) int64.
    people : numpy.ndarray
        (N,) int32: index into `names` of the person each sample belongs to.
    names : sequence of str
        Every name once; each is referred to by at least one sample.
    vectors : numpy.ndarray
        (N, D) float32, C-contiguous.
    quality : numpy.ndarray
        (N,) float32, 0 to 1; NaN where it was not measured.
    added : numpy.ndarray
        (N,) float64, seconds since 1970-01-01 UTC.
    revision : int
        The store's revision at which this was true.
    """

    ids: Ids
    people: npt.NDArray[np.int32]
    names: Sequence[str]
    vectors: Floats
    quality: Floats
    added: npt.NDArray[np.float64]
    revision: int

    def __post_init__(self) -> None:
        count = len(self.ids)
        lengths = [len(column) for column in (self.people, self.vectors, self.quality, self.added)]
        if any(length != count for length in lengths) or self.vectors.ndim != 2:
            raise InputError(f"the columns of samples must share one length; received {[count, *lengths]}")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Changes:
    """What happened in a store after a given revision.

    Attributes
    ----------
    changed : Samples
        Samples that are new, or whose person was renamed or merged (their id is then known already: replace them).
        `changed.revision` is the revision that is reached by applying this.
    removed : numpy.ndarray
        (M,) int64: ids that are gone; ids the reader never saw may be among them.
    """

    changed: Samples
    removed: Ids


@dataclass(frozen=True)
class Hits:
    """What a store that searches found: best first, one row for each sample.

    Attributes
    ----------
    ids : numpy.ndarray
        (K,) int64.
    names : sequence of str
        K names, one for each id.
    distances : numpy.ndarray
        (K,) float32, ascending, in the gallery's distance.
    """

    ids: Ids
    names: Sequence[str]
    distances: Floats


class Store(Protocol):
    """A place that keeps samples; see the rules at the top of this module.

    A store belongs to one thread at a time. Any method may raise `StoreUnavailableError` (the server is away),
    `edgecv_runtime.errors.OutputError` (disk full, no permission) or `GalleryError` (what is kept is damaged).
    """

    @property
    def location(self) -> str:
        """Path or URL for messages; never with a password."""
        ...

    @property
    def read_only(self) -> bool: ...

    def metadata(self) -> dict[str, str]:
        """Every key and its value."""
        ...

    def initialise(self, values: Mapping[str, str]) -> dict[str, str]:
        """Set, in one step, those keys that have no value yet; return the metadata as it is afterwards.

        Two processes that create the same gallery at once thereby see the same values. `DIMENSION` is set before the
        first sample comes: a store that needs the dimension to make its tables does so then.
        """
        ...

    def set_metadata(self, values: Mapping[str, str | None]) -> None:
        """Set or, with None, delete these keys; the others stay."""
        ...

    def revision(self) -> int:
        """Revision of the last committed change; 0 for a new store. Cheap: it is asked often."""
        ...

    def load(self) -> Samples:
        """Every sample, in one bulk read. An empty store gives (0, dimension or 0) vectors."""
        ...

    def changes(self, since: int) -> Changes | None:
        """What happened after revision `since`; None where that is no longer known: `load` again."""
        ...

    def add(self, samples: Sequence[NewSample]) -> Samples:
        """Keep these in one durable step; a name that is not there yet becomes a person.

        Returns
        -------
        Samples
            The same samples in the same order with their ids, at the revision they were added in.
        """
        ...

    def remove(self, name: str) -> int:
        """Erase a person and every sample of theirs; return how many samples (0: nobody has this name)."""
        ...

    def remove_samples(self, ids: Sequence[int]) -> int:
        """Erase single samples, and the people who are left without any; return how many were there."""
        ...

    def rename(self, name: str, new_name: str) -> None:
        """Give a person another name. `InputError` where `name` is unknown or `new_name` is taken."""
        ...

    def merge(self, name: str, into: str) -> int:
        """Give every sample of `name` to `into`; return how many. `InputError` where one of the two is unknown."""
        ...

    def people(self) -> dict[str, int]:
        """Name → number of samples, in the order of enrolment (lowest sample id first)."""
        ...

    def samples_of(self, name: str) -> Samples:
        """The samples of one person; none where nobody has this name."""
        ...

    def close(self) -> None:
        """Let go of the place; calling it again does nothing."""
        ...


@runtime_checkable
class SearchingStore(Store, Protocol):
    """A store that finds neighbours by itself: `Gallery` then asks it instead of loading every vector."""

    def searches(self, distance: str) -> bool:
        """Whether `search` knows this distance; otherwise the gallery loads the vectors and searches itself."""
        ...

    def search(self, query: Floats, k: int, distance: str) -> Hits:
        """The k nearest samples (or fewer, where the store holds fewer).

        Parameters
        ----------
        query : numpy.ndarray
            (D,) float32.
        k : int
            At least 1.
        distance : str
            One for which `searches` said yes.
        """
        ...
