from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime.errors import InputError, MissingFileError, MissingPackageError, OutputError
from edgecv_runtime.gallery.encryption import OVERHEAD, Cipher, read_key, write_new_key
from edgecv_runtime.gallery.store import GalleryError

KEY = bytes(range(32))


def test_seal_and_open() -> None:
    cipher = Cipher(KEY)
    sealed = cipher.seal(b"vector", b"sample 1")
    assert len(sealed) == 6 + OVERHEAD and cipher.open(sealed, b"sample 1") == b"vector"
    assert cipher.seal(b"vector", b"sample 1") != sealed  # a nonce is never used twice
    wrong = bytearray(sealed)
    wrong[-1] ^= 1
    for other, content, place in (
        (cipher, sealed, b"sample 2"),
        (cipher, bytes(wrong), b"sample 1"),
        (Cipher(bytes(32)), sealed, b"sample 1"),
        (cipher, b"short", b"sample 1"),
    ):
        with pytest.raises(GalleryError):
            other.open(content, place)


def test_it_is_aes_gcm_with_a_key_derived_by_hkdf() -> None:
    """Opened with the library's own HKDF-Expand and AES-GCM."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    sealed = Cipher(KEY).seal(b"vector", b"sample 1")
    derived = HKDFExpand(SHA256(), 32, b"edgecv gallery: seal").derive(KEY)
    assert AESGCM(derived).decrypt(sealed[:12], sealed[12:], b"sample 1") == b"vector"


def test_labels_are_stable_and_keyed() -> None:
    assert Cipher(KEY).label("Ada") == Cipher(KEY).label("Ada") != Cipher(KEY).label("Bo")
    assert Cipher(KEY).label("Ada") != Cipher(bytes(32)).label("Ada")


def test_key_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    monkeypatch.delenv("EDGECV_GALLERY_KEY", raising=False)
    assert read_key() is None
    for content in (KEY, KEY.hex().encode(), KEY.hex().encode() + b"\n", base64.b64encode(KEY) + b"\n"):
        path.write_bytes(content)
        assert read_key(path) == KEY
    monkeypatch.setenv("EDGECV_GALLERY_KEY", KEY.hex())
    assert read_key() == KEY
    write_new_key(tmp_path / "new")
    assert len(read_key(tmp_path / "new") or b"") == 32 and (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    assert read_key(tmp_path / "new") != KEY


def test_bad_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_line: Any) -> None:
    path = tmp_path / "key"
    for content in (b"", b"secret passphrase", KEY[:-1], b"z" * 64, b"\xff" * 40, b"x" * 2000):
        path.write_bytes(content)
        with pytest.raises(InputError, match="32 bytes") as caught:
            read_key(path)
        assert "secret" not in one_line(caught)
    with pytest.raises(MissingFileError, match="no key file"):
        read_key(tmp_path / "none")
    monkeypatch.setenv("EDGECV_GALLERY_KEY", "hunter2")
    with pytest.raises(InputError, match="EDGECV_GALLERY_KEY") as caught:
        read_key()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(OutputError, match="never overwritten"):
        write_new_key(path)
    with pytest.raises(OutputError, match="cannot write"):
        write_new_key(tmp_path / "none" / "key")
    with pytest.raises(InputError, match="received str"):
        Cipher("0" * 32)  # type: ignore[arg-type]


def test_missing_package(block_import: Any) -> None:
    block_import("cryptography")
    with pytest.raises(MissingPackageError, match=r"edgecv-runtime\[gallery\]"):
        Cipher(KEY)
