"""The upkeep of a gallery: figures, calibration, suspicious samples, export, import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy.typing as npt

from edgecv_runtime.errors import InputError, UnsupportedError
from edgecv_runtime.gallery.answers import GalleryStats
from edgecv_runtime.gallery.live import LiveGallery
from edgecv_runtime.gallery.store import CALIBRATION, CREATED, Store

if TYPE_CHECKING:
    from edgecv_runtime.gallery.calibration import Calibration
    from edgecv_runtime.gallery.poisoning import Suspicion


class MaintainedGallery(LiveGallery):
    """The part of `Gallery` that whoever looks after it uses, and what it says of itself."""

    @property
    def location(self) -> str:
        """Path or URL, without a password."""
        return self._store.location

    @property
    def store(self) -> Store:
        """Where the samples are kept."""
        return self._store

    @property
    def read_only(self) -> bool:
        return self._store.read_only

    @property
    def fingerprint(self) -> str | None:
        """Identity of the embedder; None where the gallery never learned it."""
        return self._settings.fingerprint

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None before the first."""
        return self._settings.dimension

    @property
    def distance(self) -> str:
        return self._settings.metric.name

    @property
    def template(self) -> str:
        return self._settings.template

    @property
    def calibration(self) -> Calibration | None:
        """As `calibrate` stored it; None where there is none for this distance and template."""
        return self._settings.calibration

    @property
    def threshold(self) -> float:
        """Least score at which somebody is recognised."""
        if self._given_threshold is not None:
            return self._given_threshold
        calibration = self._settings.calibration
        return self._settings.metric.default_threshold if calibration is None else calibration.threshold

    def stats(self) -> GalleryStats:
        """The gallery in figures."""
        with self._lock:
            people = self._store.people()
            counts = list(people.values()) or [0]
            metadata = self._store.metadata()
            roster = self._current()
            file = Path(self.location)
            sizes = [Path(f"{file}{suffix}") for suffix in ("", "-wal")] if file.is_file() else []
            return GalleryStats(
                location=self.location,
                people=len(people),
                samples=sum(people.values()),
                samples_per_person=(min(counts), sum(counts) / len(counts), max(counts)),
                dimension=self.dimension,
                distance=self.distance,
                template=self.template,
                fingerprint=self.fingerprint,
                encrypted=bool(getattr(self._store, "encrypted", False)),
                calibrated=self.calibration is not None,
                threshold=self.threshold,
                revision=self._store.revision(),
                memory=0 if roster is None else roster.nbytes,
                file=sum(part.stat().st_size for part in sizes if part.is_file()) if sizes else None,
                created=metadata.get(CREATED),
            )

    def check(self) -> list[Suspicion]:
        """Stored samples that are nearer to another person than to the rest of their own, the plainest first.

        A person's only sample is listed where it would be recognised as somebody else. The work grows with the square
        of the number of samples: 10,000 take seconds, 100,000 minutes.
        """
        from edgecv_runtime.gallery.poisoning import suspicious_samples

        with self._lock:
            return suspicious_samples(self._store.load(), self._settings.metric, self.threshold)

    def calibrate(
        self,
        vectors: npt.ArrayLike | None = None,
        people: Sequence[str] | None = None,
        *,
        far: float = 1e-3,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> Calibration:
        """Find the threshold for a wished false-accept rate, and keep it in the gallery.

        Parameters
        ----------
        vectors : (N, D) array_like, optional
            Labelled vectors of the same embedder, best of many people who are not in the gallery. Default: the
            gallery's own samples, each compared with the others.
        people : sequence of str, optional
            Whose each is.
        far : float
            Wished share of strangers' comparisons that are accepted.
        confidence, seed
            Of the intervals, and of the draws behind them; see `edgecv_runtime.gallery.calibration.calibrate`.

        Raises
        ------
        InputError
            Too few people or samples for so small a rate.
        OutputError
            The gallery cannot be written.
        """
        from edgecv_runtime.gallery.calibration import calibrate

        if (vectors is None) != (people is None):
            raise InputError("vectors and people belong together; received one of them")
        with self._lock:
            if vectors is None or people is None:
                samples = self._store.load()
                rows, labels = samples.vectors, [samples.names[owner] for owner in samples.people.tolist()]
            else:
                rows, labels = self._prepared_rows(vectors), list(people)
            metric = self._settings.metric
            found = calibrate(
                rows,
                labels,
                far=far,
                distance=metric.name,
                template=self.template,
                score=metric.score,
                unit=metric.unit,
                confidence=confidence,
                seed=seed,
            )
            self._store.set_metadata({CALIBRATION: found.to_json()})
            self._settings = replace(self._settings, calibration=found)
        return found

    def export(self, path: str | Path, *, decrypted: bool = False) -> int:
        """Write everything into an ``.npz`` (see `edgecv_runtime.gallery.exchange`); returns how many samples.

        Parameters
        ----------
        path : str or Path
        decrypted : bool
            An encrypted gallery is only exported if this is said: the file that is written is not encrypted.

        Raises
        ------
        InputError, OutputError, UnsupportedError
        """
        from edgecv_runtime.gallery.exchange import write_exchange

        with self._lock:
            if getattr(self._store, "encrypted", False) and not decrypted:
                raise UnsupportedError(
                    f"{self.location} is encrypted, what is exported is not; decrypted=True (--decrypted) does it"
                )
            samples = self._store.load()
            write_exchange(path, samples, self._store.metadata())
        return len(samples)

    def import_from(self, path: str | Path) -> int:
        """Add everything from an exported file in one durable step; returns how many samples were new.

        Samples that are there already, with the same name and the same vector, are left out.

        Raises
        ------
        GalleryError
            The file is damaged, or of another embedder, dimension or distance.
        MissingFileError, NewerFormatError, InputError, OutputError
        """
        from edgecv_runtime.gallery.exchange import read_exchange
        from edgecv_runtime.gallery.settings import adopt

        exchange = read_exchange(path)
        with self._lock:
            self._settings = adopt(self._store, self._settings, exchange.settings, str(path))
            present = self._store.load()
            known = {
                (present.names[owner], vector.tobytes())
                for owner, vector in zip(present.people.tolist(), present.vectors, strict=True)
            }
            new = [one for one in exchange.samples if (one.person, one.vector.tobytes()) not in known]
            self._store.add(new)
            self._follow_own()
        return len(new)

    def compact(self) -> None:
        """Make the file as small as it can be; only for files."""
        from edgecv_runtime.gallery.sqlite_store import SQLiteStore

        with self._lock:
            if not isinstance(self._store, SQLiteStore):
                raise UnsupportedError(f"only a file can be compacted; {self.location} is on a server")
            self._store.compact()
