"""What the actions of ``edgecv gallery`` share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecv_runtime.gallery.gallery import Gallery


@dataclass(frozen=True)
class Action:
    """One action of ``edgecv gallery``.

    Attributes
    ----------
    name, help : str
    configure : callable
        Adds what the action takes beside the gallery.
    run : callable
        As in `Command`.
    metavar : str
        What stands first on the command line.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    metavar: str = "GALLERY"


def add_gallery_options(parser: argparse._ActionsContainer) -> None:
    """``--key-file`` and ``--cache``."""
    parser.add_argument(
        "--key-file", metavar="FILE", help="key of an encrypted gallery (default: EDGECV_GALLERY_KEY, if it is set)"
    )
    parser.add_argument("--cache", metavar="FILE", help="of a server's gallery: a local copy, for when it is away")


def opened(options: argparse.Namespace, *, read_only: bool = False, create: bool = False, **more: Any) -> Gallery:
    """The gallery that was named.

    Parameters
    ----------
    options : Namespace
    read_only : bool
    create : bool
        Make it where there is none; only those actions do so that enrol or import.
    **more
        Further arguments of `Gallery`.

    Raises
    ------
    MissingFileError
        No such file.
    """
    from pathlib import Path

    from edgecv_runtime.errors import MissingFileError
    from edgecv_runtime.gallery.encryption import read_key
    from edgecv_runtime.gallery.gallery import Gallery
    from edgecv_runtime.gallery.location import is_server

    if not create and not is_server(options.gallery) and not Path(options.gallery).exists():
        raise MissingFileError(f"no gallery at {options.gallery}; edgecv gallery enroll makes one")
    key = read_key(options.key_file)
    return Gallery(options.gallery, key=key, cache=options.cache, read_only=read_only, **more)
