"""``edgecv gallery ACTION GALLERY ...``: people, their samples, and the questions one asks of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.gallery_faces import FACE_ACTIONS
from edgecv_runtime.cli.gallery_options import Action, add_gallery_options, opened
from edgecv_runtime.cli.output import kilobytes, say, say_json, table

if TYPE_CHECKING:
    from edgecv_runtime.gallery.repair import Repair


_SHOWN = 20  # suspicious samples in the terminal


def _configure_nothing(parser: argparse.ArgumentParser) -> None:
    """An action that takes only the gallery."""


# -- who is there --------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as gallery:
        people = gallery.people()
    if options.json:
        say_json([{"name": name, "samples": count} for name, count in people.items()])
    elif people:
        say(table(["name", "samples"], [[name, str(count)] for name, count in people.items()]))
    else:
        say("nobody is enrolled")
    return 0


def _stats(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as gallery:
        stats = gallery.stats()
    if options.json:
        say_json(stats.to_dict())
        return 0
    least, mean, most = stats.samples_per_person
    say(f"gallery      {stats.location}{', encrypted' if stats.encrypted else ''}, made {stats.created or 'long ago'}")
    say(f"people       {stats.people:,}, {stats.samples:,} samples ({least:g} to {most:g} each, {mean:.1f} on average)")
    say(f"vectors      {stats.dimension or 'none yet'}{'-d' if stats.dimension else ''}, {stats.distance} distance")
    say(f"template     {stats.template}")
    say(f"embedder     {stats.fingerprint or 'not known'}")
    say(f"threshold    {stats.threshold:.4f}, {'calibrated' if stats.calibrated else 'NOT calibrated'}")
    if stats.file is not None:
        each = f", {stats.file / stats.samples:,.0f} bytes a sample" if stats.samples else ""
        say(f"file         {kilobytes(stats.file)}{each}")
    say(f"memory       {kilobytes(stats.memory)}")
    return 0


# -- changes -------------------------------------------------------------------------------------------


def _configure_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--sample", type=int, action="append", default=[], metavar="ID", help="a single sample")


def _remove(options: argparse.Namespace) -> int:
    from edgecv_runtime.errors import InputError

    if not options.names and not options.sample:
        raise InputError("remove needs at least one NAME, or --sample ID")
    with opened(options) as gallery:
        unknown = [name for name in options.names if name not in gallery]
        if unknown:  # before the first is removed
            raise InputError(f"nobody in {gallery.location} is called {unknown[0]!r}; nothing was removed")
        count = sum(gallery.remove(name) for name in options.names)
        count += gallery.remove_samples(options.sample) if options.sample else 0
    return _tell(options, f"removed {count} samples, from the file itself", {"removed_samples": count})


def _configure_rename(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("new_name", metavar="NEW_NAME")


def _rename(options: argparse.Namespace) -> int:
    with opened(options) as gallery:
        gallery.rename(options.name, options.new_name)
    return _tell(options, f"{options.name} is now {options.new_name}", {"name": options.new_name})


def _configure_merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="whose samples move")
    parser.add_argument("into", metavar="INTO", help="who gets them")


def _merge(options: argparse.Namespace) -> int:
    with opened(options) as gallery:
        count = gallery.merge(options.name, options.into)
    return _tell(options, f"{count} samples of {options.name} are now of {options.into}", {"moved_samples": count})


# -- elsewhere -----------------------------------------------------------------------------------------


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUT.npz")
    parser.add_argument("--decrypted", action="store_true", help="export an encrypted gallery: OUT is not encrypted")


def _export(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as gallery:
        count = gallery.export(options.output, decrypted=options.decrypted)
    return _tell(options, f"exported {count} samples to {options.output}", {"exported_samples": count})


def _configure_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.npz", help="as edgecv gallery export writes it")


def _import(options: argparse.Namespace) -> int:
    with opened(options, create=True) as gallery:
        count = gallery.import_from(options.file)
    return _tell(options, f"imported {count} new samples from {options.file}", {"imported_samples": count})


# -- health --------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as gallery:
        found = gallery.check()
        count = len(gallery)
    if options.json:
        say_json({"suspicious": [one.to_dict() for one in found]})
    elif found:
        for one in found[:_SHOWN]:
            say(f"sample {one.sample} of {one.summary}")
        if len(found) > _SHOWN:
            say(f"… and {len(found) - _SHOWN} more (--json lists all)")
    else:
        say(f"no suspicious sample; {count} people, every checksum fits")
    return 1 if found else 0


def _configure_repair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="NEW.db", help="the new gallery; the old one stays")


def _repair(options: argparse.Namespace) -> int:
    from edgecv_runtime.gallery.encryption import read_key
    from edgecv_runtime.gallery.repair import repair_file

    found = repair_file(options.gallery, options.output, key=read_key(options.key_file))
    if options.json:
        say_json(found.to_dict())
    else:
        _say_repair(found, options.output)
    return 0 if found.complete else 1


def _say_repair(found: Repair, output: str) -> None:
    say(f"saved {found.samples} samples of {found.people} people to {output}")
    if found.complete:
        say("nothing was lost")
    if found.lost_samples is None:
        say("lost: not known; the counters are damaged")
    elif found.lost_samples:
        say(f"lost: {found.lost_samples} samples")
    for name, count in found.incomplete.items():
        say(f"  {count} of {name}")
    for name, count in found.nameless.items():
        say(f"  the name of {count} samples, now {name!r}")
    for name in found.settings_lost:
        say(f"  the setting {name!r}")


def _compact(options: argparse.Namespace) -> int:
    with opened(options) as gallery:
        before = gallery.stats().file or 0
        gallery.compact()
        after = gallery.stats().file or 0
    return _tell(options, f"{kilobytes(before)} before, {kilobytes(after)} now", {"before": before, "after": after})


def _new_key(options: argparse.Namespace) -> int:
    from edgecv_runtime.gallery.encryption import write_new_key

    write_new_key(options.gallery)
    return _tell(
        options,
        f"a new key is in {options.gallery}: keep a copy in a safe place, without it the gallery is lost",
        {"key_file": options.gallery},
    )


def _tell(options: argparse.Namespace, text: str, document: dict[str, Any]) -> int:
    if options.json:
        say_json(document)
    else:
        say(text)
    return 0


_ACTIONS = (
    *FACE_ACTIONS,
    Action("list", "who is enrolled", _configure_nothing, _list),
    Action("stats", "the gallery in figures", _configure_nothing, _stats),
    Action("remove", "erase people or samples from the file itself", _configure_names, _remove),
    Action("rename", "give a person another name", _configure_rename, _rename),
    Action("merge", "make two people one", _configure_merge, _merge),
    Action("export", "write everything into an .npz", _configure_export, _export),
    Action("import", "add everything from an exported .npz", _configure_import, _import),
    Action("check", "find samples that are nearer to another person than to their own", _configure_nothing, _check),
    Action("repair", "save what can be read of a damaged gallery into a new one", _configure_repair, _repair),
    Action("compact", "make the file as small as it can be", _configure_nothing, _compact),
    Action("new-key", "write a new random key into a file", _configure_nothing, _new_key, metavar="KEY_FILE"),
)


def _configure(parser: argparse.ArgumentParser) -> None:
    # The parser's own class: bad usage of an action is one line too.
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=type(parser))
    for action in _ACTIONS:
        made = actions.add_parser(action.name, help=action.help, description=action.help)
        made.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        made.add_argument("gallery", metavar=action.metavar, help=_HELP.get(action.metavar))
        action.configure(made)
        if action.metavar == "GALLERY":
            add_gallery_options(made)
        add_json_option(made)
        made.set_defaults(act=action.run)


_HELP = {"GALLERY": "a file, or the URL of a server: postgresql://… or milvus://…"}


def _run(options: argparse.Namespace) -> int:
    act: Callable[[argparse.Namespace], int] = options.act
    return act(options)


GALLERY = Command("gallery", "enrol people, and ask who somebody is", _configure, _run)
