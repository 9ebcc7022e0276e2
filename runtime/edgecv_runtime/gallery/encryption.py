"""Encryption of what a gallery keeps of people: AES-256-GCM of the package ``cryptography``.

Vectors and names are sealed one by one, each with its own random nonce (NIST SP 800-38D, section 8.2.2) and bound to
its place, so that a sealed vector that is moved to another person's row is refused. Names must still be found: beside
the sealed name stands a keyed hash of it (HMAC-SHA256), which says nothing to those without the key.

What is not hidden: how many people and samples there are, which samples belong to one person, when the file was
written, the embedder's fingerprint and the calibration.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Any

from edgecv_runtime._require import require
from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.gallery.store import GalleryError
from edgecv_runtime.key_files import write_once

KEY_BYTES = 32
ENVIRONMENT = "EDGECV_GALLERY_KEY"

_NONCE_BYTES, _TAG_BYTES = 12, 16
OVERHEAD = _NONCE_BYTES + _TAG_BYTES

_HINT = "make one with: edgecv gallery new-key FILE"


class Cipher:
    """Seals and opens with one key.

    Parameters
    ----------
    key : bytes
        32 random bytes. Keys for sealing and for hashing names are derived from it, so that no key serves two ends.

    Raises
    ------
    InputError
        The key has another length.
    MissingPackageError
    """

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            received = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
            raise InputError(f"a gallery's key must be {KEY_BYTES} bytes; received {received}; {_HINT}")
        aead = require(
            "cryptography.hazmat.primitives.ciphers.aead",
            install="edgecv-runtime[gallery]",
            purpose="an encrypted gallery",
        )
        self._invalid: type[Exception] = require(
            "cryptography.exceptions", install="edgecv-runtime[gallery]", purpose="an encrypted gallery"
        ).InvalidTag
        self._aead: Any = aead.AESGCM(_derive(key, b"edgecv gallery: seal"))
        self._names = _derive(key, b"edgecv gallery: names")
        self.check = _derive(key, b"edgecv gallery: check").hex()[:32]

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Nonce, ciphertext and tag: `OVERHEAD` bytes longer than `content`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + bytes(self._aead.encrypt(nonce, content, place))

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """What was sealed for this place.

        Raises
        ------
        GalleryError
            It was altered, or sealed with another key or for another place.
        """
        try:
            return bytes(self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place))
        except (self._invalid, ValueError):
            raise GalleryError("what is sealed there was altered, or belongs to another place") from None

    def label(self, name: str) -> bytes:
        """What stands for a name where it has to be found."""
        return hmac.new(self._names, name.encode(), hashlib.sha256).digest()


def _derive(key: bytes, purpose: bytes) -> bytes:
    # One block of HKDF-Expand (RFC 5869, section 2.3); the key is uniformly random, so Extract is not needed.
    return hmac.new(key, purpose + b"\x01", hashlib.sha256).digest()


def read_key(file: str | Path | None = None) -> bytes | None:
    """The key from a file or, without one, from the environment variable ``EDGECV_GALLERY_KEY``.

    Parameters
    ----------
    file : str, Path or None
        Holds 32 raw bytes, or those as 64 hexadecimal digits or in base64.

    Returns
    -------
    bytes or None
        None: no file is named and the variable is not set.

    Raises
    ------
    MissingFileError, InputError
    """
    if file is None:
        text = os.environ.get(ENVIRONMENT)
        return parse_key(text.encode(), f"the environment variable {ENVIRONMENT}") if text else None
    path = Path(file)
    if not path.is_file():
        raise MissingFileError(f"no key file at {path}; {_HINT}")
    if path.stat().st_size > 1024:
        raise InputError(f"a key file must hold {KEY_BYTES} bytes; {path} has {path.stat().st_size:,}; {_HINT}")
    return parse_key(path.read_bytes(), str(path))


def parse_key(content: bytes, origin: str) -> bytes:
    """A key as 32 raw bytes, 64 hexadecimal digits or base64. `origin` is for the message."""
    if len(content) == KEY_BYTES:
        return content
    text = content.strip()
    try:
        key = bytes.fromhex(text.decode("ascii")) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, None, True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:  # the content itself is not shown: it may be a secret
        raise InputError(
            f"a gallery's key must be {KEY_BYTES} bytes, 64 hex digits or base64; {origin} is not; {_HINT}"
        )
    return key


def write_new_key(path: str | Path) -> None:
    """Write a new random key, as hexadecimal digits, into a file that only its owner can read.

    Raises
    ------
    OutputError
        The file exists (a key that is overwritten cannot be had back) or cannot be written.
    """
    write_once(Path(path), f"{secrets.token_bytes(KEY_BYTES).hex()}\n".encode())
