"""What a gallery was made with, agreed between its store and whoever opens it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.calibration import Calibration
from edgecv_runtime.gallery.distances import Distance, get_distance
from edgecv_runtime.gallery.store import (
    CALIBRATION,
    CREATED,
    DIMENSION,
    DISTANCE,
    FINGERPRINT,
    TEMPLATE,
    WEIGHTS,
    GalleryError,
    Store,
)
from edgecv_runtime.gallery.templates import check_template

_DEFAULTS = {FINGERPRINT: "", DISTANCE: "cosine", TEMPLATE: "all", WEIGHTS: ""}  # an empty fingerprint: not known


@dataclass(frozen=True)
class Settings:
    """What decides how a gallery's vectors are compared.

    Attributes
    ----------
    fingerprint : str or None
        Identity of the embedder.
    dimension : int or None
        Length of the vectors; None before the first.
    metric : Distance
        With its weights.
    template : str
    calibration : Calibration or None
        Only one that was made with this distance and this template.
    """

    fingerprint: str | None
    dimension: int | None
    metric: Distance
    template: str
    calibration: Calibration | None

    def with_dimension(self, store: Store, dimension: int) -> Settings:
        """With the length of the first vector, which is settled in the store before that vector is added."""
        if self.dimension is None:
            settled = int(store.initialise({DIMENSION: str(dimension)})[DIMENSION])
            if settled != dimension:  # another process was faster
                raise InputError(f"vectors of {store.location} have {settled} values; received {dimension}")
        return replace(self, dimension=dimension)


def settle(
    store: Store,
    *,
    fingerprint: str | None,
    dimension: int | None,
    distance: str | None,
    weights: npt.ArrayLike | None,
    template: str | None,
) -> Settings:
    """Compare what is asked for with what the gallery is; a new gallery becomes what is asked for.

    Raises
    ------
    GalleryError
        The gallery was made with another embedder, dimension or distance.
    """
    if dimension is not None and dimension < 1:
        raise InputError(f"dimension must be at least 1; received {dimension}")
    wanted = {FINGERPRINT: fingerprint, DISTANCE: distance, TEMPLATE: template}
    asked = {key: value for key, value in wanted.items() if value is not None}
    if template is not None:
        check_template(template)
    metadata = store.metadata()
    metric = get_distance(distance or metadata.get(DISTANCE, _DEFAULTS[DISTANCE])).with_weights(weights)
    if metric.weights is not None:
        asked[WEIGHTS] = _weights_text(metric.weights)
        dimension = len(metric.weights) if dimension is None else dimension
    if dimension is not None:
        asked[DIMENSION] = str(dimension)
    if not store.read_only:
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        metadata = store.initialise({**_DEFAULTS, **asked, CREATED: created})
        if fingerprint and not metadata[FINGERPRINT] and not store.people():
            store.set_metadata({FINGERPRINT: fingerprint})
            metadata = store.metadata()
    _refuse_others(store.location, metadata, asked)
    settled = {**_DEFAULTS, **metadata} | ({TEMPLATE: template} if template else {})
    return Settings(
        fingerprint=settled[FINGERPRINT] or None,
        dimension=int(settled[DIMENSION]) if DIMENSION in settled else None,
        metric=get_distance(settled[DISTANCE]).with_weights(json.loads(settled[WEIGHTS] or "null")),
        template=settled[TEMPLATE],
        calibration=stored_calibration(settled, settled[DISTANCE], settled[TEMPLATE]),
    )


def _weights_text(weights: npt.NDArray[np.float32]) -> str:
    """As a store keeps them: the shortest decimals that give the same float32."""
    return json.dumps([float(str(value)) for value in weights])


def stored_calibration(metadata: dict[str, str], distance: str, template: str) -> Calibration | None:
    """The calibration in a store's metadata, where it is of this distance and template."""
    text = metadata.get(CALIBRATION)
    calibration = None if text is None else Calibration.from_json(text)
    if calibration is None or (calibration.distance, calibration.template) != (distance, template):
        return None
    return calibration


def adopt(store: Store, settings: Settings, imported: Mapping[str, str], origin: str) -> Settings:
    """Make sure that vectors from elsewhere belong into this gallery; one that is empty takes over what they are of.

    Raises
    ------
    GalleryError
    """
    theirs, ours = imported.get(FINGERPRINT, ""), settings.fingerprint or ""
    empty = not store.people()
    if theirs != ours and not (empty and not ours):
        raise GalleryError(
            f"{origin} is of {_maker(theirs)}, the gallery {store.location} of {_maker(ours)}: their vectors cannot be "
            "compared; enrol from pictures instead"
        )
    distance, weights = imported.get(DISTANCE, settings.metric.name), imported.get(WEIGHTS, "")
    if (distance, weights) != (settings.metric.name, store.metadata().get(WEIGHTS, "")):
        raise GalleryError(
            f"{origin} is of distance {distance}, the gallery {store.location} of {settings.metric.name}, or their "
            "weights differ"
        )
    dimension = int(imported[DIMENSION])
    if settings.dimension not in (None, dimension):
        raise GalleryError(
            f"{origin} has vectors of length {dimension}, the gallery {store.location} of length {settings.dimension}"
        )
    taken = {key: imported[key] for key in (FINGERPRINT, CALIBRATION) if empty and imported.get(key)}
    if taken:
        store.set_metadata(taken)
    calibration = stored_calibration(store.metadata(), distance, settings.template)
    settled = replace(settings, fingerprint=(theirs if empty else ours) or None, calibration=calibration)
    return settled.with_dimension(store, dimension)


def _maker(fingerprint: str) -> str:
    return f"embedder {fingerprint[:12]}" if fingerprint else "an embedder that is not known"


def _refuse_others(location: str, metadata: dict[str, str], asked: dict[str, str]) -> None:
    made_with = metadata.get(FINGERPRINT, "")
    fingerprint = asked.get(FINGERPRINT)
    if fingerprint and made_with != fingerprint:
        raise GalleryError(
            f"the gallery {location} was made with {_maker(made_with)}, this one is {fingerprint[:12]}: their vectors "
            "cannot be compared; enrol everybody anew from pictures into a new file (edgecv gallery enroll NEW.db ...)"
        )
    for key, what in ((DISTANCE, "distance"), (DIMENSION, "vectors of length"), (WEIGHTS, "weights")):
        if key in asked and metadata.get(key, asked[key]) != asked[key]:
            raise GalleryError(f"the gallery {location} was made with {what} {metadata[key]}; received {asked[key]}")
