"""Signatures: a bundle that a key's owner made, and nobody has changed since.

``signature.json`` holds an Ed25519 signature (RFC 8032) over the bytes of ``manifest.json`` exactly as they are stored,
after a line that says what they are, so that the key can sign other things too. The manifest holds the sha256 of every
other member, and a bundle with a member more, less or twice is refused: one signature stands for all that is read. What
it does not cover (the order of members, dates and attributes in the zip) is never used.

A machine on which a public key is configured takes signed bundles only. The key is, in this order, what the caller
names, the file that the environment variable ``EDGECV_PUBLIC_KEY`` names, or ``/etc/edgecv/public.key``. A key that is
configured and cannot be read is an error: nothing is loaded unchecked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv_runtime._require import require
from edgecv_runtime.bundle import MANIFEST_MEMBER, SIGNATURE_MEMBER, Bundle, check_output_path, pack, write_atomically
from edgecv_runtime.errors import BundleError, InputError, MissingFileError, NewerFormatError, OutputError
from edgecv_runtime.key_files import write_once
from edgecv_runtime.manifest import check_release

ENVIRONMENT = "EDGECV_PUBLIC_KEY"
SYSTEM_KEY = Path("/etc/edgecv/public.key")

SIGNATURE_VERSION = 1
_ALGORITHM = "ed25519"
_CONTEXT = b"edgecv bundle manifest, signature version 1\n"
_KEY_FILE_LIMIT = 64 * 2**10  # bytes: some hundred public keys
_HINT = "make a pair with: edgecv sign --new-key FILE"


@dataclass(frozen=True)
class Signature:
    """What ``signature.json`` says. It proves nothing before `check_signature`.

    Attributes
    ----------
    key_id : str
        Names the key (see `key_id`), for people and for the message: which key is trusted never depends on it.
    value : bytes
        64 bytes.
    """

    key_id: str
    value: bytes

    def to_json(self) -> str:
        document = {
            "signature_version": SIGNATURE_VERSION,
            "algorithm": _ALGORITHM,
            "key_id": self.key_id,
            "signature": base64.b64encode(self.value).decode(),
        }
        return json.dumps(document, indent=2)

    @classmethod
    def from_json(cls, text: bytes, *, origin: str) -> Signature:
        """Read ``signature.json``.

        Raises
        ------
        NewerFormatError
            Its version is newer than this runtime knows.
        BundleError
            It is not valid.
        """
        try:
            document = json.loads(text)
            version = document["signature_version"]
            if isinstance(version, int) and version > SIGNATURE_VERSION:
                raise NewerFormatError(
                    f"{origin}: the signature has version {version:.0f}; this runtime reads up to "
                    f"{SIGNATURE_VERSION}: pip install --upgrade edgecv-runtime"
                )
            if version != SIGNATURE_VERSION or document["algorithm"] != _ALGORITHM:
                raise ValueError(f"version {SIGNATURE_VERSION} and algorithm {_ALGORITHM!r} are required")
            key, value = document["key_id"], base64.b64decode(document["signature"], validate=True)
            if not isinstance(key, str) or len(value) != 64:
                raise ValueError("a key_id and 64 bytes are required")
            key.encode()  # half of a surrogate pair cannot be printed
        except NewerFormatError:
            raise
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"{origin}: {SIGNATURE_MEMBER} is not valid ({reason:.80})") from None
        return cls(key, value)


@dataclass(frozen=True)
class PublicKeys:
    """The keys of one file, any of which may have signed: with two, one can take over from the other.

    Attributes
    ----------
    origin : str
        Where they come from, for the message.
    keys : Mapping of str to key
        By `key_id`.
    """

    origin: str
    keys: Mapping[str, Any]


# -- keys ----------------------------------------------------------------------------------------------------------


def key_id(raw: bytes) -> str:
    """16 hexadecimal digits that name a public key of 32 bytes: the first of its sha256."""
    return hashlib.sha256(raw).hexdigest()[:16]


def write_new_key(path: str | Path) -> str:
    """Write a new private key, in a file that only its owner can read, and the public one beside it as ``NAME.pub``.

    Both are PEM (PKCS #8 and SubjectPublicKeyInfo), as OpenSSL writes them.

    Returns
    -------
    str
        The key's id.

    Raises
    ------
    OutputError
        One of the files exists (a key that is overwritten cannot be had back) or cannot be written.
    MissingPackageError
        The package cryptography is not installed.
    """
    ed25519, serialization = _ed25519("making a key"), _serialization("making a key")
    path = Path(path)
    public = path.with_name(f"{path.name}.pub")
    key = ed25519.Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    private_text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public_text = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    if public.exists():
        raise OutputError(f"{public} is there already; a key is never overwritten, choose another name")
    write_once(path, private_text)
    write_once(public, public_text, 0o644)
    return key_id(_raw(key.public_key()))


def configured_key(public_key: str | Path | None = None) -> Path | None:
    """The file of public keys that bundles must be signed with here; None where none is configured.

    Parameters
    ----------
    public_key : str, Path or None
        Comes first; then the environment variable ``EDGECV_PUBLIC_KEY``, then ``/etc/edgecv/public.key``.
    """
    named = public_key if public_key is not None else os.environ.get(ENVIRONMENT) or None
    if named is not None:
        return Path(named)
    # A link that leads nowhere was meant to be a key: it is read, and the error says so. Only a file or a folder
    # that is not there at all says that no key is configured; anything else (no permission) is not taken for that.
    try:
        SYSTEM_KEY.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"whether {SYSTEM_KEY} is there cannot be told: {error.strerror or error}") from None
    return SYSTEM_KEY


def read_public_keys(path: Path) -> PublicKeys:
    """Read one or more PEM public keys from one file.

    Raises
    ------
    MissingFileError, InputError, MissingPackageError
    """
    purpose = "checking a signature"
    ed25519, serialization = _ed25519(purpose), _serialization(purpose)
    end = b"-----END PUBLIC KEY-----"
    *blocks, rest = _read_key_file(path, "public").split(end)
    if not blocks or b"-----BEGIN" in rest:
        raise InputError(f"{path} must hold PEM public keys (FILE.pub) and nothing else; {_HINT}")
    keys = {}
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block + end + b"\n")
        except Exception:  # noqa: BLE001  # the library's own classes of errors, which differ between its versions
            raise InputError(f"{path} holds a public key that cannot be read; {_HINT}") from None
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise InputError(f"{path} must hold Ed25519 keys; received a {type(key).__name__}; {_HINT}")
        keys[key_id(_raw(key))] = key
    return PublicKeys(str(path), keys)


def _read_private_key(path: Path) -> Any:
    ed25519, serialization = _ed25519("signing"), _serialization("signing")
    content = _read_key_file(path, "private")
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError:
        raise InputError(
            f"{path} is locked with a password, which is not asked for: give a key that is not (openssl pkey)"
        ) from None
    except Exception:  # noqa: BLE001  # as above; the content is not shown: it may be a secret
        raise InputError(f"{path} must hold a private key in PEM; it does not; {_HINT}") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError(f"{path} must hold an Ed25519 key; received a {type(key).__name__}; {_HINT}")
    return key


def _read_key_file(path: Path, kind: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_KEY_FILE_LIMIT + 1)
    except FileNotFoundError:
        raise MissingFileError(f"no {kind} key at {path}; {_HINT}") from None
    except OSError as error:
        raise InputError(f"the {kind} key {path} cannot be read: {error.strerror or error}") from None
    if len(content) > _KEY_FILE_LIMIT:
        raise InputError(f"{path} is too large for a key: at most {_KEY_FILE_LIMIT:,} bytes are read")
    return content


def _ed25519(purpose: str) -> Any:
    name = "cryptography.hazmat.primitives.asymmetric.ed25519"
    return require(name, install="edgecv-runtime[sign]", purpose=purpose)


def _serialization(purpose: str) -> Any:
    return require("cryptography.hazmat.primitives.serialization", install="edgecv-runtime[sign]", purpose=purpose)


def _raw(key: Any) -> bytes:
    raw: bytes = key.public_bytes_raw()
    return raw


# -- signing and checking ------------------------------------------------------------------------------------------


def sign(
    path: str | Path, key: str | Path, output: str | Path | None = None, *, release: int | None = None
) -> Signature:
    """Sign a bundle; a signature that it has is replaced.

    Parameters
    ----------
    path : str or Path
        A bundle that is whole: it is opened and checked first.
    key : str or Path
        The private key, in PEM.
    output : str, Path or None
        Where the signed bundle goes. None: in the place of the other, at once or not at all.
    release : int in [1, 2**53], or None
        Written into the manifest before it is signed: `edgecv update` takes higher ones only. None: as it is.

    Raises
    ------
    MissingFileError, BundleError, InputError, OutputError, MissingPackageError
    """
    path = Path(path)
    output = path if output is None else Path(output)
    check_output_path(output)
    private = _read_private_key(Path(key))
    members = Bundle(path).members()
    manifest = members.pop(MANIFEST_MEMBER)
    members.pop(SIGNATURE_MEMBER, None)
    if release is not None:
        check_release(release)
        # The document, not the `Manifest`: what a newer exporter wrote and this runtime does not know stays.
        document = {**json.loads(manifest), "release": release}
        manifest = json.dumps(document, indent=2, ensure_ascii=False).encode()
    signature = Signature(key_id(_raw(private.public_key())), private.sign(_CONTEXT + manifest))
    write_atomically(
        output, pack({MANIFEST_MEMBER: manifest, SIGNATURE_MEMBER: signature.to_json().encode(), **members})
    )
    return signature


def check_signature(bundle: Bundle, public_key: str | Path | None = None) -> str | None:
    """Refuse a bundle that no configured key has signed.

    Parameters
    ----------
    bundle : Bundle
        Opened, so every member is the one of which the manifest speaks.
    public_key : str, Path or None
        See `configured_key`.

    Returns
    -------
    str or None
        The id of the key that signed it; None where no key is configured, and nothing was checked.

    Raises
    ------
    BundleError
        It is not signed, signed with another key, or was altered since.
    MissingFileError, InputError, MissingPackageError
        The key cannot be read.
    """
    where = configured_key(public_key)
    if where is None:
        return None
    trusted = read_public_keys(where)
    content = bundle.member(SIGNATURE_MEMBER)
    if content is None:
        raise BundleError(
            f"{bundle.path} is not signed, and this machine takes bundles only that are signed with a key of "
            f"{trusted.origin}: edgecv sign BUNDLE --key KEY"
        )
    signature = Signature.from_json(content, origin=str(bundle.path))
    key = trusted.keys.get(signature.key_id)
    if key is None:
        raise BundleError(
            f"{bundle.path} is signed with the key {signature.key_id!r:.40}, which is not trusted here: "
            f"{trusted.origin} holds {', '.join(trusted.keys)}"
        )
    invalid = require(
        "cryptography.exceptions", install="edgecv-runtime[sign]", purpose="checking a signature"
    ).InvalidSignature
    try:
        key.verify(signature.value, _CONTEXT + (bundle.member(MANIFEST_MEMBER) or b""))
    except invalid:
        raise BundleError(
            f"{bundle.path}: the signature is not that of its manifest; it was altered after it was signed, "
            "do not use it"
        ) from None
    return signature.key_id


def refuse_bare_model(path: Path, public_key: str | Path | None = None) -> None:
    """Where a key is configured, a model file without a bundle around it is refused: it carries no signature.

    Raises
    ------
    BundleError
    """
    where = configured_key(public_key)
    if where is not None:
        raise BundleError(
            f"{path} is a bare model file, which cannot be signed; this machine takes bundles only that are signed "
            f"with a key of {where}"
        )
