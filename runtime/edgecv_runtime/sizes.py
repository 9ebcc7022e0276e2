"""One network at several input sizes in one bundle: each a whole bundle of its own, with its own parity contract.

The bundle is that of the largest size, and runs as if it were alone. The others lie in it as members
``sizes/HxW.edgecv``, whose digests its manifest gives, as it gives those of all members: one file to copy, to sign and
to update.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv_runtime.artefact import MODEL_SUFFIXES
from edgecv_runtime.bundle import MANIFEST_MEMBER, SIGNATURE_MEMBER, SUFFIX, Bundle, write_bundle
from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.manifest import Manifest

if TYPE_CHECKING:
    from edgecv_runtime.model import Model

FOLDER = "sizes/"

Size = tuple[int, int]


def size_of(manifest: Manifest) -> Size:
    """Height and width of a model's input."""
    return manifest.inputs[0].size


def sizes_of(bundle: Bundle) -> dict[Size, Bundle]:
    """The bundle of each input size, the largest first; itself alone where it holds one.

    Raises
    ------
    BundleError
        What lies in it is no bundle, or not of the size that its name says.
    """
    if not any(name.startswith(FOLDER) for name in bundle.manifest.members):
        return {} if not bundle.manifest.inputs[0].is_image else {size_of(bundle.manifest): bundle}
    found = {size_of(bundle.manifest): bundle}
    for name in bundle.manifest.members:
        if name.startswith(FOLDER):
            inner = Bundle(bundle.path / name, bundle.member(name))
            size = size_of(inner.manifest)
            if name != _member(size) or size in found:
                raise BundleError(f"{bundle.path}: member {name} must be another input size than {_text(size)}")
            found[size] = inner
    return dict(sorted(found.items(), key=lambda item: -item[0][0] * item[0][1]))


def at_size(bundle: Bundle, size: int | Size) -> Bundle:
    """The bundle of one input size.

    Parameters
    ----------
    bundle : Bundle
    size : int or (height, width)

    Raises
    ------
    InputError
        It does not hold that size.
    """
    wanted = (size, size) if isinstance(size, int) else tuple(size)
    there = sizes_of(bundle)
    if wanted not in there:
        raise InputError(
            f"size must be one of {', '.join(map(_text, there))}, which {bundle.path} holds; received {size}"
        )
    return there[wanted]


def load_smaller(path: str | Path, **how: Any) -> list[Model]:
    """The models of all input sizes of a bundle but the largest, in falling order; each is to be closed.

    Parameters
    ----------
    path : str or Path
        Of a bundle, or of a bare model, which has no others.
    how
        As in `edgecv_runtime.load`, which says what is raised, too.
    """
    from edgecv_runtime.model import load

    if Path(path).suffix.lower() in MODEL_SUFFIXES:
        return []
    with ExitStack() as opened:  # where one is refused, the others must not stay open
        _, *smaller = sizes_of(Bundle(path)) or (None,)
        models = [opened.enter_context(load(path, size=size, **how)) for size in smaller]
        opened.pop_all()
    return models


def join(path: str | Path, bundles: Sequence[str | Path]) -> Manifest:
    """Make one bundle of those of several input sizes.

    Parameters
    ----------
    path : str or Path
        Ends in ``.edgecv``.
    bundles : sequence of str or Path
        Two or more, of one network: what they answer, and how that is read, must be the same.

    Returns
    -------
    Manifest
        Of the whole: the largest size's.

    Raises
    ------
    InputError
        Fewer than two, two of one size, or they do not belong together.
    MissingFileError, BundleError, OutputError
    """
    opened = sorted(map(Bundle, bundles), key=lambda one: -size_of(one.manifest)[0] * size_of(one.manifest)[1])
    if len(opened) < 2:
        raise InputError(f"bundles of two input sizes or more are required; received {len(opened)}")
    main, *smaller = opened
    members = {name: content for name, content in main.members().items() if name not in _OWN}
    seen = {size_of(main.manifest)}
    for one in opened:
        if any(name.startswith(FOLDER) for name in one.manifest.members):
            raise InputError(f"{one.path} holds several sizes already: join those that it was made of")
    for one in smaller:
        size, different = size_of(one.manifest), _different(main.manifest, one.manifest)
        if different:
            raise InputError(f"{main.path} and {one.path} must be one network; they differ in {different}")
        if size in seen:
            raise InputError(f"every input size may come once; {one.path} is of {_text(size)}, too")
        seen.add(size)
        members[_member(size)] = one.path.read_bytes()
    return write_bundle(path, main.manifest, members)


_OWN = (MANIFEST_MEMBER, SIGNATURE_MEMBER)


def _different(one: Manifest, other: Manifest) -> str:
    """What tells two networks apart, beside the size of their input; empty where nothing does."""
    return ", ".join(name for name, values in _identities(one, other).items() if values[0] != values[1])


def _identities(one: Manifest, other: Manifest) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in ("task", "labels")}
    pairs["architecture"] = (one.architecture.get("name"), other.architecture.get("name"))
    pairs["decoder"] = (one.decoder.name, other.decoder.name)
    return pairs


def _member(size: Size) -> str:
    return f"{FOLDER}{_text(size)}{SUFFIX}"


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
