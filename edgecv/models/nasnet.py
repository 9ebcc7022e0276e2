"""NASNet-A: cells found by a search (Zoph et al. 2018, arXiv:1707.07012). Built by Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecv.models.imagenet import SYMMETRIC
from edgecv.models.registry import Builder, ModelRecord, Paper, register
from edgecv.models.wrapped import official_files, wrapper_of

PAPER = Paper(
    "Zoph, Vasudevan, Shlens, Le",
    2018,
    "Learning Transferable Architectures for Scalable Image Recognition",
    "1707.07012",
)


def _named(variant: str, cells: str, size: int, costs: tuple[int, int], md5: tuple[str, str]) -> Builder:
    record = ModelRecord(
        name=f"nasnet_{variant}",
        task="classification",
        summary=f"NASNet-A ({cells}): cells of separable convolutions and poolings found by a search",
        paper=PAPER,
        input_shape=(size, size, 3),
        classes=1000,
        parameters=costs[0],
        macs=costs[1],
        preprocessing=SYMMETRIC,
        weights=official_files("nasnet", (f"NASNet-{variant}.h5", f"NASNet-{variant}-no-top.h5"), md5, size),
    )

    def constructor() -> Callable[..., Any]:
        import keras

        found: Callable[..., Any] = getattr(keras.applications, f"NASNet{variant.title()}")
        return found

    return register(record)(wrapper_of(record, constructor))


nasnet_mobile = _named(
    "mobile",
    "4 @ 1056",
    224,
    (5_326_716, 563_638_816),
    ("020fb642bf7360b370c678b08e0adf61", "1ed92395b5b598bdda52abe5c0dbfd63"),
)
nasnet_large = _named(
    "large",
    "6 @ 4032",
    331,
    (88_949_818, 23_783_414_658),
    ("11577c9a518f0070763c2b964a382f17", "d81d89dc07e6e56530c4e77faddd61b5"),
)
