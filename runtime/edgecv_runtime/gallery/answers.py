"""What a gallery answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Match:
    """A person that a probe was compared with.

    Attributes
    ----------
    name : str
    score : float
        Similarity, higher is nearer.
    distance : float
        The same in the gallery's distance, lower is nearer.
    sample : int or None
        Id of the nearest sample; None where templates are compared.
    """

    name: str
    score: float
    distance: float
    sample: int | None = None


@dataclass(frozen=True)
class Identification:
    """Who a probe may be: the nearest people, best first, and whether the first is near enough.

    Attributes
    ----------
    matches : tuple of Match
        Also those beyond the threshold; empty where the gallery is.
    threshold : float
        Least score at which somebody is recognised.
    """

    matches: tuple[Match, ...]
    threshold: float

    @property
    def recognised(self) -> bool:
        """Whether the best match reaches the threshold. If not, the answer is: nobody of this gallery."""
        return bool(self.matches) and self.matches[0].score >= self.threshold

    @property
    def name(self) -> str | None:
        """Name of the best match where it is recognised, else None."""
        return self.matches[0].name if self.recognised else None

    def __len__(self) -> int:
        return len(self.matches)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    def __getitem__(self, index: int) -> Match:
        return self.matches[index]

    @property
    def summary(self) -> str:
        """One line for people."""
        if not self.matches:
            return "not recognised: the gallery is empty"
        best = self.matches[0]
        near = f"{best.name} ({best.score:.3f}, threshold {self.threshold:.3f})"
        return near if self.recognised else f"not recognised; nearest {near}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "recognised": self.recognised,
            "name": self.name,
            "threshold": self.threshold,
            "matches": [asdict(match) for match in self.matches],
        }


@dataclass(frozen=True)
class Verification:
    """Whether a probe is who they claim to be.

    Attributes
    ----------
    name : str
        Whom they claim to be.
    score : float
        Similarity to that person, higher is nearer.
    distance : float
    threshold : float
        Least score that is accepted.
    """

    name: str
    score: float
    distance: float
    threshold: float

    @property
    def accepted(self) -> bool:
        return self.score >= self.threshold

    @property
    def summary(self) -> str:
        """One line for people."""
        answer = "accepted" if self.accepted else "rejected"
        return f"{answer}: {self.name} ({self.score:.3f}, threshold {self.threshold:.3f})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"accepted": self.accepted, **asdict(self)}


@dataclass(frozen=True)
class GalleryStats:
    """A gallery in figures.

    Attributes
    ----------
    location : str
    people, samples : int
    samples_per_person : tuple of float
        Least, mean and most.
    dimension : int or None
    distance, template : str
    fingerprint : str or None
    encrypted : bool
    calibrated : bool
    threshold : float
        The one that is used.
    revision : int
    memory : int
        Bytes for vectors and all beside them; 0 where the store searches.
    file : int or None
        Bytes of the file and its log; None for a server.
    created : str or None
    """

    location: str
    people: int
    samples: int
    samples_per_person: tuple[float, float, float]
    dimension: int | None
    distance: str
    template: str
    fingerprint: str | None
    encrypted: bool
    calibrated: bool
    threshold: float
    revision: int
    memory: int
    file: int | None
    created: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
