from __future__ import annotations

import base64
import json
import stat
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

import edgecv_runtime as ert
from edgecv_runtime import signing
from edgecv_runtime.bundle import Bundle, pack, write_bundle
from edgecv_runtime.errors import BundleError, InputError, MissingFileError, NewerFormatError, OutputError
from edgecv_runtime.parity import verify
from edgecv_runtime.signing import Signature, check_signature, configured_key, sign, write_new_key


@dataclass(frozen=True)
class Signed:
    """A signed bundle, its keys, and keys that have nothing to do with it."""

    bundle: Path
    key: Path
    public: Path
    other: Path


@pytest.fixture
def signed(tiny: Any, tmp_path: Path) -> Signed:
    write_new_key(tmp_path / "key")
    write_new_key(tmp_path / "other")
    path = tiny.write(tmp_path / "signed.edgecv")
    sign(path, tmp_path / "key")
    return Signed(path, tmp_path / "key", tmp_path / "key.pub", tmp_path / "other.pub")


@pytest.fixture(autouse=True)
def no_system_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv(signing.ENVIRONMENT, raising=False)
    monkeypatch.setattr(signing, "SYSTEM_KEY", tmp_path / "etc" / "public.key")
    return tmp_path / "etc" / "public.key"


def repacked(path: Path, change: Callable[[dict[str, bytes]], Any]) -> Path:
    members = Bundle(path).members()
    change(members)
    path.write_bytes(pack(members))
    return path


# -- what a signature is -------------------------------------------------------------------------------------------


def test_the_signature_is_ed25519_over_the_stored_manifest(signed: Signed) -> None:
    """Checked with the library itself, from the file as any zip program gives it."""
    with zipfile.ZipFile(signed.bundle) as archive:
        assert archive.namelist()[:2] == ["manifest.json", "signature.json"]
        manifest, document = archive.read("manifest.json"), json.loads(archive.read("signature.json"))
    key = load_pem_public_key(signed.public.read_bytes())
    assert isinstance(key, ed25519.Ed25519PublicKey)
    key.verify(base64.b64decode(document["signature"]), b"edgecv bundle manifest, signature version 1\n" + manifest)
    assert document["signature_version"] == 1 and document["algorithm"] == "ed25519"
    assert "signature.json" not in json.loads(manifest)["members"]


def test_openssl_reads_the_keys(signed: Signed) -> None:
    try:
        derived = subprocess.run(["openssl", "pkey", "-in", signed.key, "-pubout"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    assert derived.stdout == signed.public.read_bytes()


def test_signing_changes_neither_manifest_nor_model_nor_identity(tiny: Any, signed: Signed) -> None:
    plain = tiny.write(signed.bundle.with_name("plain.edgecv"))
    before, after = Bundle(plain), Bundle(signed.bundle)
    assert after.manifest == before.manifest and after.fingerprint == before.fingerprint
    assert {**before.members(), "signature.json": after.member("signature.json")} == after.members()
    assert check_signature(before) is None  # no key is configured: nothing is asked for


def test_keys_are_private_and_never_overwritten(tmp_path: Path, signed: Signed, one_line: Any) -> None:
    assert stat.S_IMODE(signed.key.stat().st_mode) == 0o600
    before = signed.key.read_bytes()
    for name in ("key", "third"):
        (tmp_path / "third.pub").touch()
        with pytest.raises(OutputError) as caught:
            write_new_key(tmp_path / name)
        assert "is there already; a key is never overwritten" in one_line(caught)
    assert signed.key.read_bytes() == before and not (tmp_path / "third").exists()
    with pytest.raises(OutputError, match="cannot write .*No such file or directory"):
        write_new_key(tmp_path / "none" / "key")


def test_signing_again_replaces_and_a_release_is_written(tmp_path: Path, signed: Signed) -> None:
    output = tmp_path / "out.edgecv"
    before = signed.bundle.read_bytes()
    sign(signed.bundle, tmp_path / "other", output, release=12)
    assert signed.bundle.read_bytes() == before
    bundle = Bundle(output)
    assert bundle.manifest.release == 12 and Bundle(signed.bundle).manifest.release is None
    assert check_signature(bundle, signed.other) == bundle_key_id(bundle)
    with pytest.raises(BundleError, match="not trusted here"):
        check_signature(bundle, signed.public)
    assert verify(output, public_key=signed.other).passed  # the copy of the manifest in the artefact still agrees
    for release in (0, -1, 2**53 + 1):
        with pytest.raises(InputError, match="a release must be a whole number from 1 to 2\\*\\*53"):
            sign(output, signed.key, release=release)


def bundle_key_id(bundle: Bundle) -> str:
    return str(json.loads(bundle.member("signature.json") or b"")["key_id"])


def test_fields_that_this_version_does_not_know_are_kept(tmp_path: Path, signed: Signed) -> None:
    def add(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), "future": [1]}).encode()

    sign(repacked(signed.bundle, add), signed.key, release=3)
    document = json.loads(Bundle(signed.bundle).members()["manifest.json"])
    assert document["future"] == [1] and document["release"] == 3


def test_what_is_damaged_is_not_signed(signed: Signed) -> None:
    content = bytearray(signed.bundle.read_bytes())
    content[len(content) // 2] ^= 1
    signed.bundle.write_bytes(content)
    with pytest.raises(BundleError):
        sign(signed.bundle, signed.key)
    assert signed.bundle.read_bytes() == content


# -- what is refused -----------------------------------------------------------------------------------------------


def test_good(signed: Signed, tiny: Any) -> None:
    model = ert.load(signed.bundle, public_key=signed.public)
    assert len(model(tiny.image(0))) == 4
    model.close()
    checks = verify(signed.bundle, public_key=signed.public).checks
    assert [check.name for check in checks] == ["integrity", "signature", "manifest", "load", "parity"]
    assert all(check.passed for check in checks)


def test_unsigned(tiny: Any, tmp_path: Path, signed: Signed, one_line: Any) -> None:
    path = tiny.write(tmp_path / "plain.edgecv")
    with pytest.raises(BundleError) as caught:
        ert.load(path, public_key=signed.public)
    assert one_line(caught) == (
        f"{path} is not signed, and this machine takes bundles only that are signed with a key of {signed.public}: "
        "edgecv sign BUNDLE --key KEY"
    )
    checks = verify(path, public_key=signed.public).checks
    assert [(check.name, check.passed) for check in checks] == [("integrity", True), ("signature", False)]


def test_wrong_key(signed: Signed, one_line: Any) -> None:
    with pytest.raises(BundleError) as caught:
        ert.load(signed.bundle, public_key=signed.other)
    message = one_line(caught)
    assert "which is not trusted here" in message and bundle_key_id(Bundle(signed.bundle)) in message


def test_another_key_s_signature_under_the_trusted_key_s_name(tmp_path: Path, signed: Signed) -> None:
    """The name of a key is not a proof."""

    def forge(members: dict[str, bytes]) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        own = Signature.from_json(members["signature.json"], origin="")
        value = key.sign(b"edgecv bundle manifest, signature version 1\n" + members["manifest.json"])
        members["signature.json"] = Signature(own.key_id, value).to_json().encode()

    with pytest.raises(BundleError, match="the signature is not that of its manifest"):
        ert.load(repacked(signed.bundle, forge), public_key=signed.public)


def test_every_byte_of_manifest_and_signature(tiny: Any, signed: Signed) -> None:
    """One bit of each byte in turn, with the zip's own checksums made to fit."""
    whole = Bundle(signed.bundle).members()
    for name in ("manifest.json", "signature.json"):
        for position in range(0, len(whole[name]), 3):
            content = bytearray(whole[name])
            content[position] ^= 0x04
            signed.bundle.write_bytes(pack({**whole, name: bytes(content)}))
            try:
                check_signature(Bundle(signed.bundle), signed.public)
            except BundleError:
                continue
            # What is left are spaces between the fields of signature.json: the same signature.
            assert name == "signature.json"
            assert json.loads(bytes(content)) | {"signature_version": 1} == json.loads(whole[name])


def test_a_tampered_byte_with_fitting_digest_breaks_the_signature(signed: Signed) -> None:
    def tamper(members: dict[str, bytes]) -> None:
        import hashlib

        members["model.onnx"] = members["model.onnx"][:-1] + bytes([members["model.onnx"][-1] ^ 1])
        manifest = json.loads(members["manifest.json"])
        manifest["members"]["model.onnx"] = hashlib.sha256(members["model.onnx"]).hexdigest()
        members["manifest.json"] = json.dumps(manifest, indent=2).encode()

    with pytest.raises(BundleError, match="it was altered after it was signed, do not use it"):
        ert.load(repacked(signed.bundle, tamper), public_key=signed.public)


def test_a_signature_of_another_bundle(tiny: Any, tmp_path: Path, signed: Signed) -> None:
    other = tiny.write(tmp_path / "other.edgecv", labels=("a", "b", "c", "d"))
    content = Bundle(signed.bundle).members()["signature.json"]
    with pytest.raises(BundleError, match="the signature is not that of its manifest"):
        ert.load(repacked(other, lambda members: members.update({"signature.json": content})), public_key=signed.public)


def test_a_member_more_less_or_in_another_order(tmp_path: Path, signed: Signed) -> None:
    """The order alone is nothing that is read; everything else is refused before the signature is looked at."""
    members = Bundle(signed.bundle).members()
    signed.bundle.write_bytes(pack(dict(reversed(list(members.items())))))
    assert check_signature(Bundle(signed.bundle), signed.public) is not None
    signed.bundle.write_bytes(pack({**members, "plugin.so": b"\x7fELF"}))
    with pytest.raises(BundleError, match="'plugin.so' is not named in the manifest"):
        Bundle(signed.bundle)
    signed.bundle.write_bytes(pack({name: content for name, content in members.items() if name != "golden.npz"}))
    with pytest.raises(BundleError, match="member golden.npz is missing"):
        Bundle(signed.bundle)


def test_a_bare_model_file_is_refused_where_a_key_is_configured(tiny: Any, tmp_path: Path, signed: Signed) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(Bundle(signed.bundle).artefact().model)
    ert.load(path).close()
    with pytest.raises(BundleError, match="is a bare model file, which cannot be signed"):
        ert.load(path, public_key=signed.public)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"algorithm": "none"}, "algorithm 'ed25519' are required"),
        ({"signature_version": 0}, "version 1 and algorithm"),
        ({"signature_version": 2}, "the signature has version 2; this runtime reads up to 1"),
        ({"signature": ""}, "64 bytes are required"),
        ({"signature": "%%%%"}, "signature.json is not valid"),
        ({"key_id": 7}, "a key_id and 64 bytes are required"),
        ({"key_id": "\ud800"}, "signature.json is not valid"),
    ],
)
def test_signature_documents(signed: Signed, document: dict[str, Any], error: str, one_line: Any) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["signature.json"] = json.dumps({**json.loads(members["signature.json"]), **document}).encode()

    with pytest.raises(BundleError, match=error) as caught:
        ert.load(repacked(signed.bundle, change), public_key=signed.public)
    one_line(caught).encode()
    assert isinstance(caught.value, NewerFormatError) == (document.get("signature_version") == 2)


def test_a_signature_that_is_too_large(signed: Signed) -> None:
    with pytest.raises(BundleError, match="the signature claims 5,000 bytes; at most 4,096 are read"):
        Bundle(repacked(signed.bundle, lambda members: members.update({"signature.json": bytes(5000)})))


def test_a_signature_is_no_member_of_the_manifest(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="signature.json is made of the written bundle"):
        write_bundle(tmp_path / "a.edgecv", tiny.manifest("onnx"), {"model.onnx": b"", "signature.json": b""})


# -- which key is configured ---------------------------------------------------------------------------------------


def test_argument_then_environment_then_system(
    tmp_path: Path, signed: Signed, no_system_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert configured_key() is None
    no_system_key.parent.mkdir()
    assert configured_key() is None
    no_system_key.write_bytes(signed.other.read_bytes())
    assert configured_key() == no_system_key
    with pytest.raises(BundleError, match="not trusted here"):
        ert.load(signed.bundle)
    monkeypatch.setenv(signing.ENVIRONMENT, "")  # as not set
    assert configured_key() == no_system_key
    monkeypatch.setenv(signing.ENVIRONMENT, str(signed.public))
    assert configured_key() == signed.public
    ert.load(signed.bundle).close()
    assert configured_key(signed.other) == signed.other
    with pytest.raises(BundleError, match="not trusted here"):
        ert.load(signed.bundle, public_key=signed.other)


def test_a_configured_key_that_cannot_be_read_refuses_everything(
    tmp_path: Path, signed: Signed, no_system_key: Path, monkeypatch: pytest.MonkeyPatch, one_line: Any
) -> None:
    no_system_key.parent.mkdir()
    no_system_key.symlink_to(tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match="no public key at"):
        ert.load(signed.bundle)
    monkeypatch.setenv(signing.ENVIRONMENT, str(tmp_path))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        ert.load(signed.bundle)
    bad = tmp_path / "bad.pub"
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    for content, message in (
        (b"", "must hold PEM public keys"),
        (signed.key.read_bytes(), "must hold PEM public keys"),
        (signed.public.read_bytes() + signed.key.read_bytes(), "must hold PEM public keys"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "that cannot be read"),
        (bytes(70_000), "too large for a key"),
        (other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "must hold Ed25519 keys"),
    ):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            ert.load(signed.bundle, public_key=bad)
        assert str(bad) in one_line(caught)


def test_one_of_several_keys_is_enough(tmp_path: Path, signed: Signed) -> None:
    both = tmp_path / "both.pub"
    both.write_bytes(signed.other.read_bytes() + b"\n" + signed.public.read_bytes())
    assert check_signature(Bundle(signed.bundle), both) == bundle_key_id(Bundle(signed.bundle))


def test_private_keys_that_are_refused(tmp_path: Path, signed: Signed, one_line: Any) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, message in (
        (locked, "is locked with a password"),
        (other, "must hold an Ed25519 key; received a ECPrivateKey|must hold an Ed25519 key"),
        (signed.public.read_bytes(), "must hold a private key in PEM"),
        (b"hello", "must hold a private key in PEM"),
    ):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            sign(signed.bundle, tmp_path / "bad")
        one_line(caught)
    with pytest.raises(MissingFileError, match="no private key at .*; make a pair with: edgecv sign --new-key FILE"):
        sign(signed.bundle, tmp_path / "none")


def test_without_the_package(signed: Signed, block_import: Any) -> None:
    """Unsigned work needs it not; where a key is configured nothing is loaded unchecked."""
    block_import("cryptography")
    ert.load(signed.bundle).close()
    with pytest.raises(ert.MissingPackageError, match=r"checking a signature needs .*edgecv-runtime\[sign\]"):
        ert.load(signed.bundle, public_key=signed.public)
