"""The reader of bundles against files that were made to break it: only our own errors, and bounded memory.

    python benchmarks/fuzz_bundle.py [--files N] [--seed S] [--memory MIB] [--keep DIR] [--json FILE]

Seeds are good bundles (signed and not, of the three formats). Each file is one of them after one to three mutations:
bytes flipped, cut off, spliced with another seed, filled; headers of the zip changed where they stand (sizes, offsets,
counts, flags, names, attributes, checksums), its members put together anew in other ways (compressed, twice, links,
paths, extra fields, comments, members inside members), and manifest, signature, report, model and parity contract
mutated with all digests made to fit again, so that what lies behind the digests is reached too.

Each file is read as a device reads it: the bundle, its report, the artefact and the metadata in it, the parity
contract, the signature, and the model around a back end. Whatever comes out must be a bundle or an `EdgecvError` of one
line. The process may take `--memory` MiB of address space more than it has at the start, and no allocation of Python
may exceed that: a MemoryError is a failure.
"""

from __future__ import annotations

import collections
import hashlib
import io
import json
import os
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common
import _tiny_bundle

from edgecv_runtime.bundle import Bundle, pack
from edgecv_runtime.errors import EdgecvError
from edgecv_runtime.golden import Golden
from edgecv_runtime.model import Model
from edgecv_runtime.signing import check_signature, sign, write_new_key

Members = dict[str, bytes]


# -- seeds ---------------------------------------------------------------------------------------------------------


def seeds(folder: Path) -> list[bytes]:
    """Good bundles, as bytes."""
    write_new_key(folder / "key")
    made = []
    plain = folder / "plain.edgecv"
    members = _tiny_bundle.make(7)
    _tiny_bundle.write_bundle(plain, _tiny_bundle.manifest(7), members)
    made.append(plain.read_bytes())
    sign(plain, folder / "key")
    made.append(plain.read_bytes())
    manifest = json.loads(Bundle(plain).members()["manifest.json"])
    text = json.dumps({**manifest, "members": {}})
    escaped = text.replace("&", "&amp;").replace('"', "&quot;")
    graph = f'<net><edges></edges><rt_info><edgecv value="{escaped}"/></rt_info></net>'.encode()
    for format, files in (
        ("openvino", {"model.xml": graph, "model.bin": b"weights"}),
        ("tflite", {"model.tflite": tflite(text.encode())}),
    ):
        others = {name: content for name, content in members.items() if not name.startswith("model")}
        manifest["format"] = format
        made.append(pack(sealed({"manifest.json": json.dumps(manifest).encode(), **files, **others})))
    return made


def tflite(metadata: bytes) -> bytes:
    """A flatbuffer with the identifier, one entry of metadata and its buffer, laid out by hand."""
    content = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def table(fields: dict[int, int], count: int) -> tuple[int, dict[int, int]]:
        """Write a table whose fields are offsets, to be filled in; its place, and where each field stands."""
        vtable = len(content)
        slots = [4 + 4 * sorted(fields).index(i) if i in fields else 0 for i in range(count)]
        content.extend(struct.pack(f"<HH{count}H", 4 + 2 * count, 4 + 4 * len(fields), *slots))
        content.extend(bytes(-len(content) % 4))
        start = len(content)
        content.extend(struct.pack("<i", start - vtable))
        places = {}
        for number, value in sorted(fields.items()):
            places[number] = len(content)
            content.extend(struct.pack("<I", value))
        return start, places

    def here(place: int) -> None:
        content.extend(bytes(-len(content) % 4))
        struct.pack_into("<I", content, place, len(content) - place)

    def byte_vector(value: bytes) -> None:
        content.extend(struct.pack("<I", len(value)) + value)

    root, places = table({4: 0, 6: 0}, 7)
    struct.pack_into("<I", content, 0, root)
    for field, inner in ((4, {0: 0}), (6, {0: 0, 1: 0})):
        here(places[field])
        content.extend(struct.pack("<II", 1, 0))
        element = len(content) - 4
        start, fields = table(inner, len(inner))
        struct.pack_into("<I", content, element, start - element)
        here(fields[0])
        byte_vector(metadata if field == 4 else b"edgecv")
    return bytes(content)


def unpacked(content: bytes) -> Members:
    """The members of a seed; of a file that is broken already, none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # noqa: BLE001  # zipfile's many: this is the fuzzer, not what is tested
        return {}


def sealed(members: Members) -> Members:
    """With the digests in the manifest made to fit."""
    try:
        manifest = json.loads(members["manifest.json"])
        manifest["members"] = {
            name: hashlib.sha256(content).hexdigest()
            for name, content in members.items()
            if name not in ("manifest.json", "signature.json")
        }
        return {**members, "manifest.json": json.dumps(manifest).encode()}
    except (ValueError, KeyError, TypeError, RecursionError):
        return members


def raw_zip(entries: list[tuple[str, bytes, Callable[[zipfile.ZipInfo], None]]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, content, change in entries:
            entry = zipfile.ZipInfo(name)
            change(entry)
            archive.writestr(entry, content, compress_type=entry.compress_type)
    return buffer.getvalue()


# -- mutations -----------------------------------------------------------------------------------------------------

_NUMBERS = (0, 1, 2, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 2**63, 2**64 - 1)
_HEADERS = {b"PK\x03\x04": 30, b"PK\x01\x02": 46, b"PK\x05\x06": 22}
_NAMES = (
    "../evil.so", "/etc/passwd", "a/../../b", "..\\evil", "C:evil", "model.onnx", "manifest.json", "signature.json", "",
    "a\x00b", "\u202egpj", "x" * 300, "folder/", "./manifest.json", "MANIFEST.JSON", "con", "a\nb", "-rf",
)  # fmt: skip


def flip(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    start = dice.choice((0, 0, dice.randint(0, len(content))))
    return content[start : dice.randint(start, len(content))]


def splice(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    other = dice.choice(pool)
    return content[: dice.randint(0, len(content))] + other[dice.randint(0, len(other)) :]


def fill(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    start = dice.randint(0, len(content))
    filling = dice.choice((b"\0", b"\xff", b"PK\x05\x06", b"PK\x01\x02", dice.randbytes(16))) * dice.choice((1, 8, 200))
    end = dice.choice((start, min(len(content), start + len(filling))))
    return content[:start] + filling + content[end:]


def header(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    """A field of a header of the zip set to a telling number."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4))):
        kind = dice.choice(list(_HEADERS))
        places = [i for i in range(len(changed)) if changed[i] == 80 and changed[i : i + 4] == kind]
        if not places:
            continue
        place = dice.choice(places) + dice.randrange(4, _HEADERS[kind])
        width = dice.choice((1, 2, 4))
        old = int.from_bytes(changed[place : place + width], "little")
        new = dice.choice((dice.choice(_NUMBERS), old + 1, old - 1, old * 2, old ^ (1 << dice.randrange(8 * width))))
        changed[place : place + width] = (new % 2 ** (8 * width)).to_bytes(width, "little")
    return bytes(changed)


def rebuilt(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    """The same members in a zip that is made differently."""
    members = list(unpacked(content).items())
    if not members:
        return content
    dice.shuffle(members)
    chosen = dice.randrange(len(members))
    how = dice.randrange(10)

    def change(entry: zipfile.ZipInfo) -> None:
        if how == 0:
            entry.compress_type = dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        elif how == 1:
            entry.external_attr = dice.choice((0o120777, 0o040755, 0o020666, 0o140000, 0o100644)) << 16
        elif how == 2:
            entry.extra = dice.choice((struct.pack("<HHQ", 1, 8, 2**62), dice.randbytes(9), b"\x01\0\xff\xff"))
        elif how == 3:
            entry.comment = dice.randbytes(dice.choice((1, 70, 1000)))
        elif how == 4:
            entry.flag_bits |= 1 << dice.randrange(16)
        elif how == 5:
            entry.create_version = dice.randrange(256)

    names = [name for name, _ in members]
    contents = [body for _, body in members]
    if how == 6:
        names[chosen] = dice.choice(_NAMES)
    elif how == 7:
        names.append(dice.choice((names[chosen], dice.choice(_NAMES))))
        contents.append(dice.choice((b"", contents[chosen], dice.randbytes(20))))
    elif how == 8:
        contents[chosen] = dice.choice(pool)  # a bundle inside a bundle
    elif how == 9:
        contents[chosen], names[chosen] = bytes(dice.choice((10, 10**6))), dice.choice(names)
        packing = zipfile.ZIP_DEFLATED
        return raw_zip(
            [
                (n, c, lambda entry: setattr(entry, "compress_type", packing))
                for n, c in zip(names, contents, strict=True)
            ]
        )
    try:
        pairs = enumerate(zip(names, contents, strict=True))
        return raw_zip([(n, c, change if i == chosen else _nothing) for i, (n, c) in pairs])
    except Exception:  # noqa: BLE001  # what zipfile refuses to write
        return content


def _nothing(entry: zipfile.ZipInfo) -> None:
    pass


def odd_value(dice: random.Random) -> Any:
    return dice.choice((
        None, True, False, 0, 1, -1, 3.5, 2**31, 2**63, 2**70, 10**400, 1e308, -1e308, float("nan"), float("inf"), "",
        "x", "int8", "\x00", "\ud800", "../x", "9" * 5000, "é" * 1000, [], {}, [None], [[]], {"name": 1}, [0] * 1000,
        {"": {}}, "NHWC", "NCHW", "float32", "in-graph", ["a"], [1, 2, 3, 4], [1, 10**6, 10**6, 3], "softmax",
        "nms", "yolov5",
    ))  # fmt: skip


def mutate_json(value: Any, dice: random.Random) -> Any:
    """One node of a document replaced, removed, renamed, repeated or nested."""
    path: list[tuple[Any, Any]] = []
    node = value
    while isinstance(node, dict | list) and node and (not path or dice.random() < 0.75):
        key = dice.choice(list(node)) if isinstance(node, dict) else dice.randrange(len(node))
        path.append((node, key))
        node = node[key]
    if not path:
        return odd_value(dice)
    parent, key = path[-1]
    how = dice.randrange(7)
    if how == 0:
        del parent[key]
    elif how == 1 and isinstance(parent, dict):
        parent[dice.choice((key + "x", "", "name", "members", "release", "\ud800"))] = parent.pop(key)
    elif how == 2 and isinstance(node, int | float) and not isinstance(node, bool):
        parent[key] = dice.choice((-node, node + 1, node * 10**6, float(node), str(node)))
    elif how == 3:
        other, place = dice.choice(path)
        parent[key] = json.loads(json.dumps(other[place]))
    elif how == 4 and isinstance(parent, list):
        parent.extend([node] * dice.choice((1, 3, 2000)))
    else:
        parent[key] = odd_value(dice)
    return value


def document(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    """One of the JSON members mutated as JSON or as text, with digests that fit or do not."""
    members = unpacked(content)
    names = [name for name in members if name.endswith(".json")]
    if not names:
        return content
    name = dice.choice(("manifest.json", "manifest.json", *names))
    text = members.get(name, b"{}")
    how = dice.randrange(12)
    if how == 0:
        text = flip(text, dice, pool)
    elif how == 1:
        text = dice.choice(
            (b"[" * 200_000, b"{}", b"null", b"", b"\xff\xfe{}", b'{"a":' * 100_000, b"[" + b"0," * 300_000 + b"0]")
        )
    elif how == 2:
        text = cut(text, dice, pool)
    else:
        try:
            value = json.loads(text)
            for _ in range(dice.choice((1, 1, 2, 5))):
                value = mutate_json(value, dice)
            text = json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError, OverflowError):
            text = flip(text, dice, pool)
    members[name] = text
    return raw_zip([(n, c, _nothing) for n, c in (sealed(members) if dice.random() < 0.7 else members).items()])


def inside(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    """The model file or the parity contract mutated, with digests that fit."""
    members = unpacked(content)
    names = [name for name in members if not name.endswith(".json")]
    if not names:
        return content
    name = dice.choice(names)
    if name == "golden.npz":
        members[name] = _contract(members[name], dice, pool)
    else:
        members[name] = dice.choice((flip, flip, cut, fill, splice))(members[name], dice, [members[name], *pool])
    return raw_zip([(n, c, _nothing) for n, c in sealed(members).items()])


def _contract(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    how = dice.randrange(4)
    if how == 0:
        return dice.choice((flip, cut, fill, header))(content, dice, pool)
    arrays = unpacked(content)
    if not arrays:
        return content
    name = dice.choice(list(arrays))
    if how == 1:  # the header of an array: its dtype, order and shape
        lies = (
            b"'<u8'",
            b"(9999999, 9999999)",
            b"'|O'",
            b"(-1, 3)",
            b"()",
            b"'<f8'",
            b"True",
            b"((((",
            b"'V999999999'",
        )
        start = arrays[name].find(b"{")
        place = dice.randint(start, start + 60)
        arrays[name] = arrays[name][:place] + dice.choice(lies) + arrays[name][place + dice.randrange(12) :]
    elif how == 2:
        arrays[name] = flip(arrays[name], dice, pool)
    else:
        arrays[dice.choice((name, "image_0.npy", "output_0.npy", "x"))] = arrays.pop(name) + bytes(
            dice.choice((0, 10**6))
        )
    return raw_zip([(n, c, lambda entry: setattr(entry, "compress_type", 8)) for n, c in arrays.items()])


def checksums(content: bytes, dice: random.Random, pool: list[bytes]) -> bytes:
    """A member's bytes changed and its CRC-32 made to fit: only the sha256 tells."""
    members = unpacked(content)
    if not members:
        return content
    name = dice.choice(list(members))
    changed = flip(members[name], dice, pool)
    old, new = members[name], changed
    crc = struct.pack("<I", zlib.crc32(old)), struct.pack("<I", zlib.crc32(new))
    return content.replace(old, new, 1).replace(*crc)


MUTATIONS = (
    flip,
    cut,
    splice,
    fill,
    header,
    header,
    rebuilt,
    rebuilt,
    document,
    document,
    document,
    inside,
    inside,
    checksums,
)


def mutant(number: int, seed: int, pool: list[bytes]) -> tuple[bytes, str]:
    """File `number`, and what was done to it: always the same for the same seed."""
    dice = random.Random(f"{seed}/{number}")
    content = dice.choice(pool)
    done = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        mutation = dice.choice(MUTATIONS)
        content = mutation(content, dice, pool)
        done.append(mutation.__name__)
    return content, "+".join(done)


# -- reading -------------------------------------------------------------------------------------------------------


def read(path: Path, key: Path) -> str:
    """Everything that a device reads of a bundle; how far it came.

    Raises
    ------
    EdgecvError
        As it should be, where the file is not good.
    """
    bundle = Bundle(path)
    trouble = []
    for question in (
        lambda: bundle.report(),
        lambda: bundle.artefact().manifest(),
        lambda: bundle.fingerprint,
        lambda: repr(bundle),
        lambda: check_signature(bundle, key),
        lambda: Golden.from_bytes(bundle.member("golden.npz") or b"", origin=str(path)),
        lambda: Model(bundle.artefact(), bundle.manifest, backend="mock").close(),
    ):
        try:
            question()
        except EdgecvError as error:
            one_line(error)
            trouble.append(error)
    return "read in part" if trouble else "read whole"


def one_line(error: EdgecvError) -> None:
    text = str(error)
    text.encode()  # half of a surrogate pair could not be printed
    if not text or "\n" in text or len(text) > 2000:
        raise _common.BenchmarkError(f"{type(error).__name__} with a message of {len(text)} characters: {text[:200]!r}")


def run(folder: Path, files: int, seed: int, keep: Path | None, limit: int) -> dict[str, Any]:
    """Read `files` mutants; failures are kept and counted, and the first of each kind is told."""
    pool = seeds(folder)
    for number, content in enumerate(pool):
        path = folder / f"seed{number}.edgecv"
        path.write_bytes(content)
        bundle = Bundle(path)
        whole = bundle.artefact().manifest() is not None and bundle.member("golden.npz") is not None
        signed = bundle.member("signature.json") is not None
        if not whole or (read(path, folder / "key.pub") == "read whole") != signed:
            raise _common.BenchmarkError(f"seed {number} is not read as a good bundle is")
    outcomes: collections.Counter[str] = collections.Counter()
    failures: dict[str, str] = {}
    path, key = folder / "fuzz.edgecv", folder / "key.pub"
    before, began = peak(), time.perf_counter()
    largest = 0
    previous = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + limit * 2**20, previous[1]))
    try:
        for number in range(files):
            content, done = mutant(number, seed, pool)
            largest = max(largest, len(content))
            path.write_bytes(content)
            try:
                outcomes[read(path, key)] += 1
            except EdgecvError as error:
                try:
                    one_line(error)
                    outcomes[f"refused: {type(error).__name__}"] += 1
                except Exception as further:  # noqa: BLE001
                    failures.setdefault(f"message: {further}", f"file {number}, {done}")
            except Exception as error:  # noqa: BLE001  # whatever it is: that is what is looked for
                frame = traceback.extract_tb(error.__traceback__)[-1]
                # Kinds are told apart by where they came from; what a message says differs from file to file.
                what = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
                outcomes["FAILED"] += 1
                if what not in failures:
                    failures[what] = f"{str(error)[:120]!r}, file {number}, {done}"
                    if keep is not None:
                        (keep / f"fuzz_{seed}_{number}.edgecv").write_bytes(content)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, previous)
    return {
        "files": files,
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
        "outcomes": dict(outcomes.most_common()),
        "failures": failures,
        "largest_file_bytes": largest,
        "peak_growth_mib": round((peak() - before) / 2**20, 1),
        "allowed_mib": limit,
    }


def peak() -> int:
    """Bytes of memory that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parser = _common.parser(__doc__ or "")
    parser.add_argument("--files", type=_common.positive, default=100_000, metavar="N", help="default: 100000")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    parser.add_argument("--memory", type=_common.positive, default=512, metavar="MIB", help="more (default: 512)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the files there that broke it")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # numpy's, of headers that Python 2 might have written
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        figures = run(Path(folder), options.files, options.seed, options.keep, options.memory)
    for outcome, count in figures["outcomes"].items():
        print(f"{count:8,}  {outcome}")
    print(
        f"{figures['files']:,} files in {figures['seconds']} s, the largest of {figures['largest_file_bytes']:,} bytes"
    )
    print(f"memory at most {figures['peak_growth_mib']} MiB more than at the start ({options.memory} allowed)")
    _common.write_json(options.json, figures)
    for what, where in figures["failures"].items():
        print(f"FAILED: {what} ({where})", file=sys.stderr)
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
