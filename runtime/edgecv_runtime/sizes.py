"""One network at several input sizes in one bundle: each a whole bundle of its own, with its own parity contract.

The bundle is that of the largest size, and runs as if it were alone. The others lie in it as members
``sizes/HxW.edgecv``, whose digests its manifest gives, as it gives those of all members: one file to copy, to sign and
to update.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecv_runtime.bundle import MANIFEST_MEMBER, SIGNATURE_MEMBER, SUFFIX, Bundle, write_bundle
from edgecv_runtime.errors import BundleError, InputError
from edgecv_runtime.manifest import Manifest

_FOLDER = "sizes/"
_OWN = (MANIFEST_MEMBER, SIGNATURE_MEMBER)  # of each bundle

Size = tuple[int, int]


def size_of(manifest: Manifest) -> Size:
    """Height and width of a model's input."""
    return manifest.inputs[0].size


def size_text(size: Size) -> str:
    """Height and width as in ``"480x640"``."""
    return f"{size[0]}x{size[1]}"


def holds_several(bundle: Bundle) -> bool:
    """Whether other input sizes than its own lie in it; nothing of them is read."""
    return any(name.startswith(_FOLDER) for name in bundle.manifest.members)


def sizes_of(bundle: Bundle) -> dict[Size, Bundle]:
    """The bundle of each input size, the largest first; itself alone where it holds one. None of signals and volumes.

    Raises
    ------
    BundleError
        What lies in it is no bundle, or not of the size that its name says.
    """
    if not bundle.manifest.inputs[0].is_image and not holds_several(bundle):
        return {}
    found = {size_of(bundle.manifest): bundle}
    for name in bundle.manifest.members:
        if name.startswith(_FOLDER):
            inner = Bundle(bundle.path / name, bundle.member(name))
            size = size_of(inner.manifest)
            if name != _member(size) or size in found:
                raise BundleError(f"{bundle.path}: member {name} must be another input size than {size_text(size)}")
            found[size] = inner
    return dict(sorted(found.items(), key=lambda item: _area(item[0]), reverse=True))


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
            f"size must be one of {', '.join(map(size_text, there))}, which {bundle.path} holds; received {size}"
        )
    return there[wanted]


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
    opened = sorted(map(Bundle, bundles), key=lambda one: _area(size_of(one.manifest)), reverse=True)
    if len(opened) < 2:
        raise InputError(f"bundles of two input sizes or more are required; received {len(opened)}")
    main, *smaller = opened
    members = {name: content for name, content in main.members().items() if name not in _OWN}
    seen = {size_of(main.manifest)}
    for one in opened:
        if holds_several(one):
            raise InputError(f"{one.path} holds several sizes already: join those that it was made of")
    for one in smaller:
        size, different = size_of(one.manifest), _different(main.manifest, one.manifest)
        if different:
            raise InputError(f"{main.path} and {one.path} must be one network; they differ in {different}")
        if size in seen:
            raise InputError(f"every input size may come once; {one.path} is of {size_text(size)}, too")
        seen.add(size)
        members[_member(size)] = one.path.read_bytes()
    return write_bundle(path, main.manifest, members)


def _different(one: Manifest, other: Manifest) -> str:
    """What tells two networks apart, beside the size of their input; empty where nothing does."""
    pairs = {
        "task": (one.task, other.task),
        "labels": (one.labels, other.labels),
        "architecture": (one.architecture.get("name"), other.architecture.get("name")),
        "decoder": (one.decoder.name, other.decoder.name),
    }
    return ", ".join(name for name, (ours, theirs) in pairs.items() if ours != theirs)


def _member(size: Size) -> str:
    return f"{_FOLDER}{size_text(size)}{SUFFIX}"


def _area(size: Size) -> int:
    return size[0] * size[1]
