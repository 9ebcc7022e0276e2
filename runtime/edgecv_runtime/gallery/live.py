"""What stands behind an open gallery: its store, the roster in memory, and how the two stay in step."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.answers import Match
from edgecv_runtime.gallery.location import open_store
from edgecv_runtime.gallery.poisoning import Suspicion
from edgecv_runtime.gallery.roster import Roster
from edgecv_runtime.gallery.search import make_index
from edgecv_runtime.gallery.settings import settle
from edgecv_runtime.gallery.store import Floats, SearchingStore, StoreUnavailableError
from edgecv_runtime.gallery.templates import template_maker


class LiveGallery:
    """The part of `Gallery` that is not its public face; parameters as there."""

    def __init__(
        self,
        path: str | Path,
        *,
        fingerprint: str | None,
        dimension: int | None,
        distance: str | None,
        weights: npt.ArrayLike | None,
        template: str | None,
        key: bytes | None,
        threshold: float | None,
        read_only: bool,
        cache: str | Path | None,
        search: str,
        refresh: float | None,
    ) -> None:
        if threshold is not None and not np.isfinite(threshold):
            raise InputError(f"threshold must be a finite number; received {threshold}")
        if refresh is not None and not refresh >= 0:
            raise InputError(f"refresh must be at least 0 seconds, or None; received {refresh}")
        self._lock = threading.RLock()
        self._given_threshold = threshold
        self._search_mode = search
        self._refresh = refresh
        self._told: set[str] = set()
        self._store = open_store(path, key=key, read_only=read_only, cache=cache)
        try:
            self._settings = settle(
                self._store,
                fingerprint=fingerprint,
                dimension=dimension,
                distance=distance,
                weights=weights,
                template=template,
            )
            self._roster = None if self._store_searches() else self._load()
        except BaseException:
            self._store.close()
            raise
        self._asked = time.monotonic()

    # -- in step with the store ------------------------------------------------------------------------

    def _store_searches(self) -> bool:
        """Whether the store finds neighbours by itself; a template is made here, so it then cannot."""
        able = isinstance(self._store, SearchingStore) and self._store.searches(self._settings.metric.name)
        return able and self._settings.template == "all"

    def _load(self) -> Roster:
        settings = self._settings
        score = settings.metric.score

        def index_of(vectors: Floats) -> Any:
            return make_index(vectors, self._search_mode, score=score)

        return Roster(
            self._store.load(),
            index_of,
            template_maker(settings.template, settings.metric),
            self._store.samples_of,
        )

    def _current(self) -> Roster | None:
        """The roster, with the store's news if that was not asked for a while; None where the store searches."""
        follows = self._roster is not None and self._refresh is not None
        if follows and time.monotonic() - self._asked >= (self._refresh or 0):
            try:
                self._follow()
            except StoreUnavailableError as error:  # a door must open while the server is away
                self._asked = time.monotonic()
                self._tell("away", f"{error}; going on with what is in memory")
        return self._roster

    def _follow(self) -> None:
        """Bring the roster to the store's revision."""
        self._asked = time.monotonic()
        if self._roster is None or self._store.revision() == self._roster.revision:
            return
        changes = self._store.changes(self._roster.revision)
        if changes is None:
            self._roster = self._load()
        else:
            self._roster.apply(changes)

    def _follow_own(self) -> None:
        """As `_follow`, after a change of ours: it is kept, also if the store goes away before it says so again."""
        try:
            self._follow()
        except StoreUnavailableError as error:
            self._tell("away", f"{error}; what was just changed is stored, and will be seen here when it is back")

    def _tell(self, key: str, message: str) -> None:
        """Warn, once for each gallery and reason."""
        if key not in self._told:
            self._told.add(key)
            warnings.warn(message, stacklevel=4)

    # -- arguments -------------------------------------------------------------------------------------

    def _prepared(self, vector: npt.ArrayLike) -> Floats:
        """(D,) float32 as the gallery's distance wants it.

        Raises
        ------
        InputError
            It is not a vector of this gallery.
        """
        array = _numbers(vector)
        if array.ndim != 1:
            raise InputError(f"a vector of {self._store.location} must have shape (D,); received {array.shape}")
        row: Floats = self._prepared_rows(array[None])[0]
        return row

    def _prepared_rows(self, vectors: npt.ArrayLike | Sequence[npt.ArrayLike]) -> Floats:
        """(N, D) float32, as `_prepared`."""
        array = _numbers(vectors)
        dimension = self._settings.dimension
        if array.ndim != 2 or not array.shape[1] or (dimension is not None and array.shape[1] != dimension):
            wanted = "(D,)" if dimension is None else f"({dimension},)"
            raise InputError(f"vectors of {self._store.location} must have shape {wanted}; received {array.shape[1:]}")
        peaks = np.abs(array).max(axis=1, initial=0)
        if not (peaks <= np.finfo(np.float32).max).all():  # NaN compares as false
            raise InputError("a vector must be finite; received NaN, infinity or a value beyond float32")
        if not peaks.all():
            raise InputError("a vector must not be zero: it has no direction; was the face empty?")
        return self._settings.metric.prepare(array)

    def _threshold(self, given: float | None) -> float:
        """The threshold of one question; one that nobody has calibrated is told."""
        if given is not None:
            if not np.isfinite(given):
                raise InputError(f"threshold must be a finite number; received {given}")
            return float(given)
        if self._given_threshold is not None:
            return self._given_threshold
        calibration = self._settings.calibration
        if calibration is not None:
            return calibration.threshold
        default = self._settings.metric.default_threshold
        self._tell(
            "threshold",
            f"the gallery {self._store.location} was never calibrated for the {self._settings.metric.name} distance "
            f"with template {self._settings.template!r}: the threshold {default:g} is a guess, not a measured one "
            "(edgecv gallery calibrate)",
        )
        return default

    # -- poisoning -------------------------------------------------------------------------------------

    def _suspicions(self, names: Sequence[str], rows: Floats) -> list[Suspicion]:
        """Those new samples that are nearer to somebody else than to the samples that their person has already.

        Whoever comes for the first time has none, and cannot be judged so.
        """
        metric = self._settings.metric
        roster = self._current()
        known = [True] * len(names) if roster is None else roster.known(names)
        found = []
        for name, row in (pair for pair, there in zip(zip(names, rows, strict=True), known, strict=True) if there):
            own_rows = self._store.samples_of(name).vectors if roster is None else roster.vectors_of(name)
            if not len(own_rows):
                continue
            own = float(np.max(metric.similarity(row, own_rows)))
            others = [match for match in self._nearest(row, 2) if match.name != name]
            if others and others[0].score > own:
                found.append(Suspicion(name, others[0].name, own, others[0].score))
        return found

    def _look_for_poison(self, names: Sequence[str], rows: Floats, *, refuse: bool) -> None:
        """Refuse, or warn of, samples that pull two people together."""
        found = self._suspicions(names, rows)
        if not found:
            return
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        if refuse:
            raise InputError(
                f"a sample must be nearer to its own person than to others; received {found[0].summary}{more}; is it "
                "the right name? poisoning='flag' (--poisoning flag) stores it nevertheless"
            )
        warnings.warn(f"suspicious sample of {found[0].summary}{more}; edgecv gallery check lists them", stacklevel=4)

    # -- searching -------------------------------------------------------------------------------------

    def _nearest(self, query: Floats, k: int) -> tuple[Match, ...]:
        """The k nearest people to a prepared query, best first."""
        roster = self._current()
        if roster is None:
            return self._ask_store(query, k)
        metric = self._settings.metric
        found = roster.search(query, k)
        return tuple(Match(one.name, one.score, metric.to_distance(one.score), one.sample) for one in found)

    def _ask_store(self, query: Floats, k: int) -> tuple[Match, ...]:
        """The k nearest people as the store finds them."""
        store = self._store
        if not isinstance(store, SearchingStore):
            return ()
        metric = self._settings.metric
        asked = 4 * k
        while True:
            hits = store.search(query, asked, metric.name)
            best: dict[str, int] = {}
            for row, name in enumerate(hits.names):
                best.setdefault(name, row)
            if len(best) >= k or len(hits.ids) < asked:
                break
            asked *= 4  # a few people with many samples fill the list
        matches = []
        for name, row in list(best.items())[:k]:
            distance = float(hits.distances[row])
            matches.append(Match(name, metric.to_score(distance), distance, int(hits.ids[row])))
        return tuple(matches)


def _numbers(values: Any) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise InputError("vectors must be numbers, as many in each; received rows of different lengths") from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"vectors must be numbers; received values of type {array.dtype}")
    return array
