"""A gallery: enrol people by their vectors, and ask who a new vector may be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.answers import Identification, Verification
from edgecv_runtime.gallery.names import check_name
from edgecv_runtime.gallery.store import NewSample
from edgecv_runtime.gallery.upkeep import MaintainedGallery

POISONING = ("refuse", "flag", "off")

_REFRESH_SECONDS = 1.0


class Gallery(MaintainedGallery):
    """People and the vectors of their faces, kept durably and searched quickly.

    Parameters
    ----------
    path : str or Path
        A file, made where there is none, or the URL of a server (``postgresql://…``, ``milvus://…``).
    fingerprint : str or None
        Identity of the embedder (`Model.fingerprint`). A gallery remembers the first one it is given and refuses every
        other, since vectors of two models cannot be compared. None: not checked.
    dimension : int or None
        Length of the vectors. None: that of the gallery, or of the first vector.
    distance : {"cosine", "euclidean", "weighted-l1", "chi-squared"} or None
        Settled when the gallery is made; None: as it was made, ``"cosine"`` for a new one.
    weights : (D,) array_like or None
        Of the weighted distances; settled when the gallery is made.
    template : {"all", "mean", "robust-mean"} or None
        What of a person is searched: every sample, or one mean of them. None: as the gallery was made, ``"all"`` for
        a new one.
    key : bytes or None
        32 bytes that encrypt the file (see `edgecv_runtime.gallery.encryption`).
    threshold : float or None
        Least score at which somebody is recognised. None: the calibrated one; where there is none, a default that is
        told with a warning.
    read_only : bool
        Never write, also not to make the file.
    cache : str, Path or None
        For a server: a file with a copy of its gallery, used while the server is away.
    search : {"auto", "exact", "prefilter", "graph"}
        See `edgecv_runtime.gallery.search`.
    refresh : float or None
        Seconds after which a question first asks the store what other processes have changed; 0: every time; None:
        only `refresh` does.

    Raises
    ------
    GalleryError
        It is damaged, of another embedder, distance or dimension, or the key does not fit.
    MissingFileError, OutputError, NewerFormatError, InputError, UnsupportedError, StoreUnavailableError

    Examples
    --------
    >>> import edgecv_runtime as ert
    >>> with ert.Gallery("faces.db", fingerprint=embedder.fingerprint) as gallery:      # doctest: +SKIP
    ...     gallery.enroll("Ada", embedder("ada.jpg").vector)
    ...     gallery.identify(embedder("door.jpg").vector).name
    'Ada'
    """

    def __init__(
        self,
        path: str | Path,
        fingerprint: str | None = None,
        dimension: int | None = None,
        distance: str | None = None,
        template: str | None = None,
        key: bytes | None = None,
        threshold: float | None = None,
        read_only: bool = False,
        *,
        cache: str | Path | None = None,
        weights: npt.ArrayLike | None = None,
        search: str = "auto",
        refresh: float | None = _REFRESH_SECONDS,
    ) -> None:
        super().__init__(
            path,
            fingerprint=fingerprint,
            dimension=dimension,
            distance=distance,
            weights=weights,
            template=template,
            key=key,
            threshold=threshold,
            read_only=read_only,
            cache=cache,
            search=search,
            refresh=refresh,
        )

    # -- what it is ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many people there are."""
        with self._lock:
            roster = self._current()
            return len(self._store.people()) if roster is None else len(roster)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.names()

    def __repr__(self) -> str:
        return f"<Gallery {self.location}: {self.distance}, {self.template}>"

    def names(self) -> list[str]:
        """Everybody, in the order of enrolment."""
        with self._lock:
            roster = self._current()
            return list(self._store.people()) if roster is None else roster.names()

    def people(self) -> dict[str, int]:
        """Name → number of samples, in the order of enrolment."""
        with self._lock:
            return self._store.people()

    # -- enrolling -------------------------------------------------------------------------------------

    def enroll(
        self, name: str, vector: npt.ArrayLike, *, quality: float | None = None, poisoning: str = "refuse"
    ) -> int:
        """Add a sample of a person; when this returns, it is on the disk.

        Parameters
        ----------
        name : str
            1 to 256 characters on one line; see `edgecv_runtime.gallery.names.check_name`. A name that is there
            already gets a further sample.
        vector : (D,) array_like
            Finite and not zero. With the cosine distance only its direction counts, and is kept.
        quality : float or None
            0 to 1, as the quality gate measured it.
        poisoning : {"refuse", "flag", "off"}
            What to do with a sample that would pull two people together, being nearer to another than to its own:
            refuse it, warn of it, or not look.

        Returns
        -------
        int
            The sample's id.

        Raises
        ------
        InputError
            Name, vector or quality is not what is required, or the sample is refused.
        OutputError, StoreUnavailableError
            It could not be stored; nothing was changed.
        """
        return self.enroll_many([name], [vector], qualities=[quality], poisoning=poisoning)[0]

    def enroll_many(
        self,
        names: Sequence[str],
        vectors: npt.ArrayLike | Sequence[npt.ArrayLike],
        *,
        qualities: Sequence[float | None] | None = None,
        poisoning: str = "refuse",
    ) -> list[int]:
        """Add many samples in one durable step: all of them, or none.

        Parameters
        ----------
        names : sequence of str
            (N,); one name may come several times.
        vectors : (N, D) array_like
        qualities : sequence of float or None
            (N,)
        poisoning : {"refuse", "flag", "off"}
            See `enroll`. A sample is compared with those that are stored, not with its own batch.

        Returns
        -------
        list of int
            The samples' ids.
        """
        if poisoning not in POISONING:
            raise InputError(f"poisoning must be one of {', '.join(POISONING)}; received {poisoning!r}")
        if isinstance(names, str):
            raise InputError(f"names must be a list of names; received the string {names!r}")
        grades = [_quality(value) for value in (qualities if qualities is not None else [None] * len(names))]
        count = np.shape(vectors)[0] if isinstance(vectors, np.ndarray) else len(vectors)  # type: ignore[arg-type]
        if not len(names) == count == len(grades):
            raise InputError(
                f"names, vectors and qualities must be as many; received {len(names)}, {count} and {len(grades)}"
            )
        checked = [check_name(name) for name in names]
        if not checked:
            return []
        with self._lock:
            rows = self._prepared_rows(vectors)
            self._settings = self._settings.with_dimension(self._store, rows.shape[1])
            if poisoning != "off":
                self._look_for_poison(checked, rows, refuse=poisoning == "refuse")
            now = time.time()
            added = self._store.add(
                [NewSample(name, row, grade, now) for name, row, grade in zip(checked, rows, grades, strict=True)]
            )
            self._follow_own()
        ids: list[int] = added.ids.tolist()
        return ids

    def remove(self, name: str) -> int:
        """Erase a person: every sample is gone from the file itself.

        Returns
        -------
        int
            How many samples there were.

        Raises
        ------
        InputError
            Nobody has this name.
        """
        with self._lock:
            count = self._store.remove(check_name(name))
            self._follow_own()
        if not count:
            raise InputError(f"nobody in {self.location} is called {name!r}; edgecv gallery list shows who is there")
        return count

    def remove_samples(self, ids: Iterable[int]) -> int:
        """Erase single samples; a person who is left without any is erased too. Returns how many were there."""
        with self._lock:
            count = self._store.remove_samples([int(number) for number in ids])
            self._follow_own()
        return count

    def rename(self, name: str, new_name: str) -> None:
        """Give a person another name; the old one is erased.

        Raises
        ------
        InputError
            Nobody has the old name, or somebody has the new one.
        """
        with self._lock:
            self._store.rename(check_name(name), check_name(new_name))
            self._follow_own()

    def merge(self, name: str, into: str) -> int:
        """Make two people one: `into` gets every sample of `name`. Returns how many."""
        with self._lock:
            count = self._store.merge(check_name(name), check_name(into))
            self._follow_own()
        return count

    # -- asking ----------------------------------------------------------------------------------------

    def identify(self, vector: npt.ArrayLike, k: int = 1, threshold: float | None = None) -> Identification:
        """Who may this be? (1:N, open set)

        Parameters
        ----------
        vector : (D,) array_like
        k : int
            Most people in the answer, at least 1.
        threshold : float or None
            For this question; None: `threshold`.

        Returns
        -------
        Identification
            The nearest people, best first. `recognised` says whether the best is near enough; "nobody" is an answer.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"k must be a whole number from 1 on; received {k!r}")
        with self._lock:
            query = self._prepared(vector)
            limit = self._threshold(threshold)
            matches = self._nearest(query, int(k))
        return Identification(matches, limit)

    def verify(self, name: str, vector: npt.ArrayLike, threshold: float | None = None) -> Verification:
        """Is this the person they claim to be? (1:1)

        Raises
        ------
        InputError
            Nobody has this name, or the vector is not what is required.
        """
        name = check_name(name)
        with self._lock:
            query = self._prepared(vector)
            roster = self._current()
            rows = self._store.samples_of(name).vectors if roster is None else roster.vectors_of(name)
            if not len(rows):
                raise InputError(
                    f"nobody in {self.location} is called {name!r}; edgecv gallery list shows who is there"
                )
            limit = self._threshold(threshold)
            metric = self._settings.metric
            score = float(np.max(metric.similarity(query, rows)))
        return Verification(name, score, metric.to_distance(score), limit)

    def refresh(self) -> None:
        """Ask the store now what other processes have changed."""
        with self._lock:
            self._follow()

    # -- lifetime --------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the file or server. Calling it again does nothing."""
        with self._lock:
            self._store.close()
            self._roster = None

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _quality(value: float | None) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise InputError(f"quality must be from 0 to 1, or None; received {value!r}")
    return float(value)
