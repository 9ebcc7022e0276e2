from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgecv_runtime as ert
from edgecv_runtime.bundle import Bundle, check_output_path, write_atomically, write_bundle
from edgecv_runtime.errors import BundleError, InputError, MissingFileError, NewerFormatError, OutputError

Content = bytes | Callable[[zipfile.ZipFile], None]


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zip_of(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def altered(path: Path, to: Path, **changes: bytes | None) -> Path:
    """The bundle with members replaced, added, or taken out (None), and the manifest as it was."""
    members: dict[str, bytes | None] = {
        **members_of(path),
        **{name.replace("__", "."): c for name, c in changes.items()},
    }
    to.write_bytes(zip_of([(name, content) for name, content in members.items() if content is not None]))
    return to


def with_manifest(path: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    manifest = json.loads(members_of(path)["manifest.json"])
    change(manifest)
    return altered(path, to, manifest__json=json.dumps(manifest).encode())


# -- round trip ----------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(tiny: Any, any_bundle: Path) -> None:
    bundle = Bundle(str(any_bundle))
    format = bundle.manifest.format
    assert bundle.manifest.embedded() == tiny.manifest(format)
    artefact = tiny.artefact(format, tiny.manifest(format).to_json())
    assert bundle.artefact() == artefact
    assert bundle.report() == {"parameters": 580, "macs": 576}
    assert bundle.member("golden.npz") is not None and bundle.member("nothing") is None
    assert bundle.size == sum(map(len, members_of(any_bundle).values()))
    assert repr(bundle) == f"<Bundle tiny: {format} fp32, {any_bundle.name}>"


def test_the_file_is_a_plain_zip_with_digests(any_bundle: Path) -> None:
    """Stored, but for OpenVINO's text."""
    with zipfile.ZipFile(any_bundle) as archive:
        assert archive.testzip() is None
        for entry in archive.infolist():
            text = entry.filename == "model.xml"
            assert entry.compress_type == (zipfile.ZIP_DEFLATED if text else zipfile.ZIP_STORED)
        assert archive.namelist()[0] == "manifest.json"
    members = members_of(any_bundle)
    digests = json.loads(members.pop("manifest.json"))["members"]
    assert digests == {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}


def test_the_same_content_gives_the_same_file(tiny: Any, tmp_path: Path) -> None:
    members = {"model.onnx": b"model"}
    for name in ("a.edgecv", "b.edgecv"):
        written = write_bundle(tmp_path / name, tiny.manifest("onnx"), members)
    assert (tmp_path / "a.edgecv").read_bytes() == (tmp_path / "b.edgecv").read_bytes()
    assert written.members == {"model.onnx": hashlib.sha256(b"model").hexdigest()}
    assert Bundle(tmp_path / "a.edgecv").manifest == written


def test_without_a_report(tiny: Any, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.edgecv", tiny.manifest("onnx"), {"model.onnx": b""})
    assert Bundle(tmp_path / "a.edgecv").report() == {}
    for content, message in ((b"{", "report.json is not valid JSON"), (b"[]", "must hold an object; received list")):
        write_bundle(tmp_path / "a.edgecv", tiny.manifest("onnx"), {"model.onnx": b"", "report.json": content})
        with pytest.raises(BundleError, match=message):
            Bundle(tmp_path / "a.edgecv").report()


# -- files that are no bundle --------------------------------------------------------------------------------------


def test_missing_file_and_folder(tmp_path: Path, one_line: Any) -> None:
    with pytest.raises(MissingFileError) as caught:
        Bundle(tmp_path / "none.edgecv")
    assert one_line(caught) == f"no bundle at {tmp_path / 'none.edgecv'}"
    with pytest.raises(MissingFileError) as caught:
        Bundle(tmp_path)
    assert one_line(caught) == f"no bundle at {tmp_path} (it is a folder)"


@pytest.mark.parametrize(
    "content", [b"", b"x", b"PK\x05\x06" + bytes(18), b"hello\n" * 1000, b"\x1f\x8b\x08" + bytes(90)]
)
def test_something_else(tmp_path: Path, one_line: Any, content: bytes) -> None:
    (tmp_path / "a.edgecv").write_bytes(content)
    with pytest.raises(BundleError) as caught:
        Bundle(tmp_path / "a.edgecv")
    assert str(tmp_path) in one_line(caught) and "not a" in one_line(caught)


def test_truncated_at_every_64th_byte(bundle: Path, tmp_path: Path, one_line: Any) -> None:
    content, path = bundle.read_bytes(), tmp_path / "cut.edgecv"
    for length in range(0, len(content), 64):
        path.write_bytes(content[:length])
        with pytest.raises(BundleError) as caught:
            Bundle(path)
        assert "truncated" in one_line(caught)
        assert "copy or export it again" in one_line(caught)
    path.write_bytes(content[:-1])
    with pytest.raises(BundleError, match="truncated"):
        Bundle(path)


def test_every_byte_flipped_is_detected_or_harmless(tiny: Any, tmp_path: Path) -> None:
    """Three bits of each byte in turn; a clean open must give the same manifest and the same members."""
    original = tmp_path / "small.edgecv"
    write_bundle(
        original, tiny.manifest("onnx", labels=None), {"model.onnx": b"the model's bytes", "golden.npz": b"g" * 40}
    )
    content, expected = original.read_bytes(), members_of(original)
    with zipfile.ZipFile(original) as archive:
        starts = {entry.header_offset + 30 + len(entry.filename): entry.file_size for entry in archive.infolist()}
    payload = {start + offset for start, size in starts.items() for offset in range(size)}
    path = tmp_path / "flipped.edgecv"
    for position in range(len(content)):
        for bit in (0x01, 0x10, 0x80):
            changed = bytearray(content)
            changed[position] ^= bit
            path.write_bytes(changed)
            try:
                bundle = Bundle(path)
            except BundleError as error:
                assert "\n" not in str(error)
            else:
                assert position not in payload
                assert {name: bundle.member(name) for name in expected} == expected


def test_rubbish_in_front(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.edgecv"
    path.write_bytes(b"#!/bin/sh\n" + bundle.read_bytes())
    with pytest.raises(BundleError, match="it does not begin with its first member"):
        Bundle(path)


# -- members that do not belong together ---------------------------------------------------------------------------


def test_member_exchanged(bundle: Path, tmp_path: Path, one_line: Any) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle(altered(bundle, tmp_path / "a.edgecv", model__onnx=b"another model"))
    assert one_line(caught) == (
        f"{tmp_path / 'a.edgecv'}: member model.onnx is not the one this bundle was made with (its sha256 differs); "
        "do not use it, copy or export the bundle again"
    )


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "report.json"])
def test_member_missing(bundle: Path, tmp_path: Path, name: str) -> None:
    changes = {name.replace(".", "__"): None}
    with pytest.raises(BundleError, match=f"is incomplete: member {name} is missing; copy or export it again"):
        Bundle(altered(bundle, tmp_path / "a.edgecv", **changes))


def test_manifest_missing(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it has no manifest.json"):
        Bundle(altered(bundle, tmp_path / "a.edgecv", manifest__json=None))


def test_member_too_many(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"member 'evil.so' is not named in the manifest; the bundle was altered"):
        Bundle(altered(bundle, tmp_path / "a.edgecv", evil__so=b"\x7fELF"))


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_member_twice(bundle: Path, tmp_path: Path, name: str) -> None:
    members = members_of(bundle)
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zip_of([*members.items(), (name, members[name])])
    (tmp_path / "a.edgecv").write_bytes(content)
    with pytest.raises(BundleError, match=f"member '{name}' occurs twice; the bundle was altered"):
        Bundle(tmp_path / "a.edgecv")


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_compressed(bundle: Path, tmp_path: Path, compression: int) -> None:
    (tmp_path / "a.edgecv").write_bytes(zip_of(list(members_of(bundle).items()), compression))
    with pytest.raises(BundleError, match=r"member 'manifest.json' is compressed or encrypted; a bundle stores"):
        Bundle(tmp_path / "a.edgecv")


def test_members_that_overlap_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """Many directory entries for one stretch of the file (Fifield 2019): a small file that unpacks to a large one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.json", b"x" * 100_000)
        entry = archive.infolist()[0]
        for index in range(100):
            other = zipfile.ZipInfo(f"member{index}")
            for name in ("header_offset", "CRC", "file_size", "compress_size"):
                setattr(other, name, getattr(entry, name))
            archive.filelist.append(other)
    (tmp_path / "bomb.edgecv").write_bytes(buffer.getvalue())
    with pytest.raises(BundleError, match=r"its members claim 10,100,000 bytes, the file has 1\d\d,\d\d\d"):
        Bundle(tmp_path / "bomb.edgecv")


def test_newer_format(bundle: Path, tmp_path: Path, one_line: Any) -> None:
    path = with_manifest(bundle, tmp_path / "a.edgecv", lambda manifest: manifest.update(format_version=2))
    with pytest.raises(NewerFormatError) as caught:
        ert.load(path)
    assert one_line(caught) == (
        f"{path} has format version 2; this runtime reads up to 1: pip install --upgrade edgecv-runtime"
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"{}"])
def test_manifest_that_is_none(bundle: Path, tmp_path: Path, content: bytes, one_line: Any) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle(altered(bundle, tmp_path / "a.edgecv", manifest__json=content))
    assert one_line(caught).startswith(f"{tmp_path / 'a.edgecv'}: ")


def test_model_without_a_digest(bundle: Path, tmp_path: Path) -> None:
    path = with_manifest(bundle, tmp_path / "a.edgecv", lambda m: m["members"].pop("model.onnx"))
    with pytest.raises(BundleError, match=r"the manifest gives no digest for model.onnx"):
        Bundle(path)


def test_manifest_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.edgecv").write_bytes(zip_of([("manifest.json", b" " * (16 * 2**20 + 1))]))
    with pytest.raises(BundleError, match=r"the manifest claims 16,777,217 bytes; at most 16,777,216 are read"):
        Bundle(tmp_path / "a.edgecv")


def test_openvino_without_weights(tiny: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.edgecv"
    write_bundle(path, tiny.manifest("openvino"), {"model.xml": b"<net/>"})
    with pytest.raises(BundleError, match=r"needs its weights \(model.bin\)"):
        Bundle(path).artefact()


# -- writing -------------------------------------------------------------------------------------------------------


def test_names_that_are_refused(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a bundle's name must end in .edgecv; received 'a.zip'"):
        write_bundle(tmp_path / "a.zip", tiny.manifest("onnx"), {})
    with pytest.raises(InputError, match=r"manifest.json is written from the manifest"):
        write_bundle(tmp_path / "a.edgecv", tiny.manifest("onnx"), {"manifest.json": b"{}"})
    assert list(tmp_path.iterdir()) == []


def test_output_folder_missing_or_not_one(tmp_path: Path, one_line: Any) -> None:
    with pytest.raises(OutputError) as caught:
        check_output_path(tmp_path / "none" / "a.edgecv")
    assert one_line(caught) == f"cannot write {tmp_path}/none/a.edgecv: there is no folder {tmp_path}/none"
    (tmp_path / "a.edgecv").mkdir()
    with pytest.raises(OutputError, match="a folder of that name is there"):
        check_output_path(tmp_path / "a.edgecv")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="there is no folder"):
        check_output_path(tmp_path / "file" / "a.edgecv")


def test_output_folder_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=f"cannot write .*: the folder {tmp_path} is not writable"):
        check_output_path(tmp_path / "a.edgecv")


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_disk_full_leaves_nothing_behind_and_the_old_bundle_untouched(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: Any, step: str, existing: bool
) -> None:
    path = tmp_path / "a.edgecv"
    if existing:
        path.write_bytes(b"the old one")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = os if step == "fsync" else Path
    monkeypatch.setattr(owner, step, full)
    with pytest.raises(OutputError) as caught:
        write_bundle(path, tiny.manifest("onnx"), {"model.onnx": b"x"})
    assert one_line(caught) == f"cannot write {path}: No space left on device; nothing was left behind"
    assert isinstance(caught.value, OSError)
    assert list(tmp_path.iterdir()) == ([path] if existing else [])
    assert not existing or path.read_bytes() == b"the old one"


def test_disk_full_for_real(tiny: Any, tmp_path: Path) -> None:
    """The kernel refuses to let the file grow beyond 4 kB."""
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from edgecv_runtime.bundle import write_atomically\n"
        "from edgecv_runtime.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(100_000))\n"
        "except OutputError as error: print(error)\n"
    )
    assert resource.RLIMIT_FSIZE and signal.SIGXFSZ
    command = [sys.executable, "-c", program, str(tmp_path / "a.edgecv")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {tmp_path / 'a.edgecv'}: File too large; nothing was left behind\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.edgecv", b"content")
    assert list(tmp_path.iterdir()) == []


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.edgecv", b"content")
    finally:
        os.umask(before)
    assert (tmp_path / "a.edgecv").stat().st_mode & 0o777 == 0o640
    assert os.umask(before) == before


def test_a_bundle_may_be_replaced_while_it_is_open(tiny: Any, tmp_path: Path) -> None:
    path = tiny.write(tmp_path / "a.edgecv")
    model = ert.load(path)
    write_bundle(path, tiny.manifest("onnx"), {"model.onnx": b"other"})
    assert len(model(tiny.image(0))) == 4
    model.close()


# -- members that would do harm if they were unpacked --------------------------------------------------------------


def entry_of(name: str, **attributes: Any) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    for key, value in attributes.items():
        setattr(entry, key, value)
    return entry


def with_entry(bundle: Path, to: Path, entry: zipfile.ZipInfo, content: bytes) -> Path:
    """The bundle with one member more, which its manifest names."""
    members = members_of(bundle)
    manifest = json.loads(members["manifest.json"])
    manifest["members"][entry.filename] = hashlib.sha256(content).hexdigest()
    with zipfile.ZipFile(to, "w") as archive:
        for name, body in {**members, "manifest.json": json.dumps(manifest).encode()}.items():
            archive.writestr(name, body)
        archive.writestr(entry, content, compress_type=entry.compress_type)
    return to


@pytest.mark.parametrize(
    "name", ["../evil.so", "/etc/passwd", "a/../../evil", "..\\evil", "C:evil", "a//b", "a\nb", "./a", "-rf", "x" * 201]
)
def test_path_traversal(bundle: Path, tmp_path: Path, name: str, one_line: Any) -> None:
    path = with_entry(bundle, tmp_path / "a.edgecv", entry_of(name), b"x")
    with pytest.raises(BundleError, match="has a name that could lead out of a folder; a bundle's names are") as caught:
        Bundle(path)
    assert repr(name)[:80] in one_line(caught)


def test_names_in_the_manifest_alone(bundle: Path, tmp_path: Path) -> None:
    path = with_manifest(bundle, tmp_path / "a.edgecv", lambda m: m["members"].update({"../x": "0"}))
    with pytest.raises(BundleError, match="the manifest names a member '../x', which no bundle may have"):
        Bundle(path)
    for name in ("manifest.json", "signature.json"):
        path = with_manifest(bundle, tmp_path / "a.edgecv", lambda m, name=name: m["members"].update({name: "0"}))
        with pytest.raises(BundleError, match=f"the manifest gives a digest for {name}, which cannot have one"):
            Bundle(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [(0o120777, "a symbolic link"), (0o040755, "no plain file"), (0o010644, "no plain file"), (0o020666, "no plain")],
)
def test_symlink_and_other_kinds_of_members(bundle: Path, tmp_path: Path, kind: int, message: str) -> None:
    entry = entry_of("link", external_attr=kind << 16, create_system=3)
    with pytest.raises(BundleError, match=f"member 'link' is {message}.*; a bundle holds plain files only"):
        Bundle(with_entry(bundle, tmp_path / "a.edgecv", entry, b"/etc/passwd"))


def test_folders_of_members_are_fine(bundle: Path, tmp_path: Path) -> None:
    path = with_entry(bundle, tmp_path / "a.edgecv", entry_of("micro/model_data.cc"), b"x")
    assert Bundle(path).member("micro/model_data.cc") == b"x"


def test_zip_bomb(bundle: Path, tmp_path: Path) -> None:
    bomb = entry_of("bomb.bin", compress_type=zipfile.ZIP_DEFLATED)
    path = with_entry(bundle, tmp_path / "a.edgecv", bomb, bytes(10**7))
    assert path.stat().st_size < 10**5
    with pytest.raises(BundleError, match=r"it would unpack to 10,000,000 bytes: a zip bomb\?"):
        Bundle(path)


def test_bomb_in_the_parity_contract(bundle: Path, tmp_path: Path) -> None:
    """The contract is compressed, alone of all members: what it claims is looked at first."""
    import numpy as np

    from edgecv_runtime.golden import Golden

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image_0.npy", bytes(2**20))
    content = bytearray(buffer.getvalue())
    place = directory_of(content) + 24
    content[place : place + 4] = (2**29 + 1).to_bytes(4, "little")
    with pytest.raises(BundleError, match=r"its arrays claim 536,870,913 bytes, at most 536,870,912 are read"):
        Golden.from_bytes(bytes(content), origin="it")
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image_0.npy", array.getvalue())
    with pytest.raises(BundleError, match=r"image_0.npy claims shape \(1099511627776,\) and has 128 bytes"):
        Golden.from_bytes(buffer.getvalue(), origin="it")


# -- sizes and places that are not so ------------------------------------------------------------------------------


def patched(bundle: Path, to: Path, place: int, value: int, width: int = 4) -> Path:
    content = bytearray(bundle.read_bytes())
    content[place : place + width] = value.to_bytes(width, "little")
    to.write_bytes(content)
    return to


def directory_of(content: bytes) -> int:
    """Where the directory begins, as the end record says, which is the last 22 bytes."""
    return int.from_bytes(content[-6:-2], "little")


@pytest.mark.parametrize("claimed", [0, 1, 100, 10**6, 2**32 - 2])
def test_lying_size(bundle: Path, tmp_path: Path, claimed: int, one_line: Any) -> None:
    """The manifest's sizes in the directory, in its own header, or in both (APPNOTE.TXT 4.3.7 and 4.3.12)."""
    directory = directory_of(bundle.read_bytes())
    for places in ((directory + 20, directory + 24), (18, 22), (22,), (directory + 24,)):
        path = bundle
        for place in places:
            path = patched(path, tmp_path / "a.edgecv", place, claimed)
        with pytest.raises(BundleError, match="claims? [\\d,]+ bytes") as caught:
            Bundle(path)
        assert one_line(caught)
    everywhere = bundle
    for place in (directory + 20, directory + 24, 18, 22):
        everywhere = patched(everywhere, tmp_path / "a.edgecv", place, claimed)
    with pytest.raises(BundleError, match="claims? [\\d,]+ bytes|should begin at byte"):
        Bundle(everywhere)


def test_lying_shape(bundle: Path, tmp_path: Path) -> None:
    """The manifest's picture size is held against the model's own before anything is allocated for it."""
    path = with_manifest(bundle, tmp_path / "a.edgecv", lambda m: m["inputs"][0].update(shape=[1, 10**6, 10**6, 3]))
    with pytest.raises(BundleError, match=r"uint8 \[1, 1000000, 1000000, 3\] in the manifest but uint8 \[1, 6, 8, 3\]"):
        ert.load(path)
    path = with_manifest(bundle, tmp_path / "a.edgecv", lambda m: m["outputs"][0].update(shape=[1] * 33))
    with pytest.raises(BundleError, match="shape must have at most 32 dimensions; received 33"):
        Bundle(path)


def test_nothing_stands_between_members_or_behind_them(bundle: Path, tmp_path: Path) -> None:
    content, path = bundle.read_bytes(), tmp_path / "a.edgecv"
    directory, end = directory_of(content), len(content) - 22
    hidden = content[:directory] + b"hidden" + content[directory:]
    moved = int.from_bytes(content[end + 16 : end + 20], "little") + 6
    path.write_bytes(hidden[: end + 6 + 16] + moved.to_bytes(4, "little") + hidden[end + 6 + 20 :])
    with pytest.raises(BundleError, match="its members end at byte .*, and the directory begins at"):
        Bundle(path)
    path.write_bytes(content + b"x")
    with pytest.raises(BundleError, match="it does not end as a bundle does"):
        Bundle(path)
    path.write_bytes(content[:-2] + b"\x05\x00" + b"hello")
    with pytest.raises(BundleError, match="it does not end as a bundle does"):
        Bundle(path)


def test_many_members_are_refused_before_the_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.edgecv").write_bytes(zip_of([(f"m{index}", b"") for index in range(257)]))
    with pytest.raises(BundleError, match=r"at most 256 members, named in 262,144 bytes; this one claims 257 in"):
        Bundle(tmp_path / "a.edgecv")


def test_what_would_not_be_read_is_not_written(tiny: Any, tmp_path: Path) -> None:
    for members, message in (({"../x": b""}, "received '../x'"), ({f"m{i}": b"" for i in range(256)}, "received 257")):
        with pytest.raises(InputError, match=message):
            write_bundle(tmp_path / "a.edgecv", tiny.manifest("onnx"), members)


def deflated_zip(text: bytes, claimed: int | None = None, packed: bytes | None = None) -> bytes:
    """A zip whose only member is a deflated model.xml, which may lie about its size or hold another stream."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("model.xml"), text, zipfile.ZIP_DEFLATED)
        (entry,) = archive.infolist()
        stream = buffer.getvalue()[entry.header_offset + 30 + len("model.xml") :][: entry.compress_size]
    header = struct.pack(
        "<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 33, zlib.crc32(text), len(packed or stream),
        len(text) if claimed is None else claimed, 9, 0,
    )  # fmt: skip
    local = header + b"model.xml" + (packed or stream)
    central = b"PK\x01\x02" + struct.pack("<H", 20) + header[4:] + struct.pack("<3H2L", 0, 0, 0, 0o644 << 16, 0)
    central += b"model.xml"
    return local + central + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)


def test_the_deflated_text_holds_what_it_claims(tmp_path: Path) -> None:
    """It is looked at before the manifest: each of these has nothing else, and only the first gets that far."""
    text = b"<net>" * 1000
    whole = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = whole.compress(text) + whole.flush()
    for content, message in (
        (deflated_zip(text), "it has no manifest.json"),
        (deflated_zip(text, claimed=4999), "member 'model.xml' claims 4,999 bytes but holds others"),
        (deflated_zip(text, claimed=5001), "member 'model.xml' claims 5,001 bytes but holds others"),
        (deflated_zip(text, packed=stream + b"hidden"), "member 'model.xml' claims 5,000 bytes but holds others"),
        (deflated_zip(text, packed=stream[:-3]), "member 'model.xml' claims 5,000 bytes but holds others"),
        (deflated_zip(text, packed=b"\xff" * 9), "is damaged: Error -3 while decompressing data"),
        (deflated_zip(text[:-1] + b"!", packed=stream), "Bad CRC-32 for file 'model.xml'"),
        (deflated_zip(text, claimed=2**25), "the model.xml claims 33,554,432 bytes; at most 16,777,216 are read"),
    ):
        (tmp_path / "a.edgecv").write_bytes(content)
        with pytest.raises(BundleError, match=message):
            Bundle(tmp_path / "a.edgecv")
