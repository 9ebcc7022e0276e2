"""A gallery on Milvus: for tens of millions of vectors on a cluster, or Milvus Lite in a folder.

=============================================  ===============================================================
``milvus://user:password@host:19530/database``  a server; ``milvus+https://…`` with TLS
``milvus+file:///path/to/gallery.db``           Milvus Lite, in this process (the package ``milvus-lite``)
``…?gallery=NAME&index=HNSW``                   several galleries at one place; the index of a new one
=============================================  ===============================================================

Milvus has no transactions, so the order of requests does their work. A batch is one insert, which Milvus keeps whole.
The revision moves last, and readers go by it. What is removed is noted first: a removal that breaks off between the two
is a removal for every reader. Ids come from the clock and never fall behind the revision. Within a process changes
wait for each other; from several machines let one at a time enrol, as many as you like may search.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from edgecv_runtime._require import require
from edgecv_runtime.errors import InputError, MissingFileError, NewerFormatError, OutputError, UnsupportedError
from edgecv_runtime.gallery.columns import check_batch, samples_from_rows
from edgecv_runtime.gallery.store import (
    DIMENSION,
    DISTANCE,
    Changes,
    Floats,
    GalleryError,
    Hits,
    NewSample,
    Samples,
    StoreUnavailableError,
)

SCHEMA_VERSION = 1

_METRICS = {"cosine": "COSINE", "euclidean": "L2"}
_LONGEST_BATCH = 32 << 20  # bytes of vectors in one insert: a server takes 64 MiB, and one insert is all or nothing
_MOST_HITS = 16_384  # Milvus's own limit
_PAGE = 4_096
_TIMEOUT = 10  # seconds for one request
_UNKNOWN = -1.0  # quality: a server refuses NaN
_FIELDS = ["id", "name", "quality", "added", "vector"]
_REVISION, _VERSION = "#revision", "#version"  # rows of the metadata that are not the gallery's
_SPARE = [0.0, 1.0]  # every collection must have a vector

_locks: dict[str, threading.RLock] = {}
_guard = threading.Lock()

Answer = TypeVar("Answer")


class MilvusStore:
    """A gallery's samples in Milvus (see `SearchingStore` for the methods); needs ``pymilvus``.

    Parameters
    ----------
    url : str
        See the top of this module.
    read_only : bool
        Never write, also not to make the collections.

    Raises
    ------
    MissingPackageError
    StoreUnavailableError
        The server cannot be reached.
    NewerFormatError
        The collections were made by a newer edgecv.
    """

    def __init__(self, url: str, read_only: bool = False) -> None:
        self._library: Any = require("pymilvus", install="edgecv-runtime[milvus]", purpose="a gallery on Milvus")
        self._place = _Place(url)
        self._read_only = read_only
        self._client: Any = None
        self._closed = False
        with _guard:
            self._lock = _locks.setdefault(f"{self._place.uri} {self._place.prefix}", threading.RLock())
        self._loaded: set[str] = set()
        try:
            with self._lock:
                self._prepare()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<MilvusStore {self.location}>"

    @property
    def location(self) -> str:
        return f"{self._place.shown}?gallery={self._place.prefix}"

    @property
    def read_only(self) -> bool:
        return self._read_only

    # -- reading ---------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, str]:
        return {key: value for key, value in self._values().items() if not key.startswith("#")}

    def revision(self) -> int:
        found = self._query("metadata", f'key == "{_REVISION}"', ["value"], limit=1)
        return int(found[0]["value"]) if found else 0

    def load(self) -> Samples:
        revision = self.revision()
        return self._samples(self._all("samples", "id >= 0", _FIELDS), revision)

    def changes(self, since: int) -> Changes | None:
        revision = self.revision()
        if not 0 <= since <= revision:
            return None
        changed = self._samples(self._all("samples", f"revision > {since}", _FIELDS), revision)
        gone = sorted(int(row["id"]) for row in self._all("removed", f"revision > {since}", ["id"]))
        return Changes(changed, np.array(gone, np.int64))

    def people(self) -> dict[str, int]:
        rows = self._all("samples", "id >= 0", ["id", "name"])
        counts: dict[str, int] = {}
        for row in sorted(rows, key=lambda row: int(row["id"])):
            counts[row["name"]] = counts.get(row["name"], 0) + 1
        return counts

    def samples_of(self, name: str) -> Samples:
        return self._samples(self._rows_of(name), self.revision())

    def searches(self, distance: str) -> bool:
        """Only the distance that the gallery was made with: the index is of that one."""
        return distance in _METRICS and distance == self.metadata().get(DISTANCE, "cosine")

    def search(self, query: Floats, k: int, distance: str) -> Hits:
        if not self.searches(distance):
            raise InputError(f"the gallery {self.location} has no index for the distance {distance!r}")
        if not self._there("samples"):
            return Hits(np.zeros(0, np.int64), [], np.zeros(0, np.float32))
        found = self._call(
            lambda client: client.search(
                self._name("samples"),
                [query.astype(np.float32)],
                limit=min(k, _MOST_HITS),
                output_fields=["name"],
                timeout=_TIMEOUT,
            )
        )[0]
        scores = np.array([hit["distance"] for hit in found], np.float64)
        # COSINE answers with the similarity, L2 with the squared distance.
        apart = 1 - scores if distance == "cosine" else np.sqrt(np.maximum(scores, 0))
        names = [hit["entity"]["name"] for hit in found]
        return Hits(np.array([hit["id"] for hit in found], np.int64), names, apart.astype(np.float32))

    # -- changing --------------------------------------------------------------------------------------

    def initialise(self, values: Mapping[str, str]) -> dict[str, str]:
        """Set those keys that have no value yet; return the metadata as it is afterwards."""
        with self._lock:
            known = self.metadata()
            new = {key: value for key, value in values.items() if key not in known}
            if new:
                self._refuse_if_read_only()
                self._put(new)
                known |= new
            if DIMENSION in known and not self._read_only:
                self._make_samples(int(known[DIMENSION]), known.get(DISTANCE, "cosine"))
        return self.metadata()

    def set_metadata(self, values: Mapping[str, str | None]) -> None:
        """Set or, with None, delete these keys."""
        self._refuse_if_read_only()
        with self._lock:
            self._put({key: value for key, value in values.items() if value is not None})
            gone = [key for key, value in values.items() if value is None]
            if gone:
                self._call(lambda client: client.delete(self._name("metadata"), ids=gone, timeout=_TIMEOUT))

    def add(self, samples: Sequence[NewSample]) -> Samples:
        """Keep these in one insert."""
        self._refuse_if_read_only()
        columns = check_batch(samples, self.metadata().get(DIMENSION))
        if columns.vectors.nbytes > _LONGEST_BATCH:
            most = _LONGEST_BATCH // (4 * columns.vectors.shape[1])
            raise InputError(f"Milvus takes {most:,} samples in one piece; received {len(samples):,}: add fewer")
        with self._lock:
            revision = self.revision()
            if not len(samples):
                return columns.numbered(np.zeros(0, np.int64), revision)
            first = self._next(revision)
            ids = np.arange(first, first + len(samples), dtype=np.int64)
            reached = int(ids[-1])
            rows = [
                _row(number, sample.person, sample.vector, sample.quality, sample.added, reached)
                for number, sample in zip(ids.tolist(), samples, strict=True)
            ]
            try:
                self._call(lambda client: client.insert(self._name("samples"), rows, timeout=_TIMEOUT))
                self._put({_REVISION: str(reached)})
            except StoreUnavailableError:
                self._take_back(ids.tolist())
                raise
        return columns.numbered(ids, reached)

    def remove(self, name: str) -> int:
        """Erase a person and every sample of theirs; return how many samples."""
        self._refuse_if_read_only()
        with self._lock:
            return self._delete([int(row["id"]) for row in self._rows_of(name, ["id", "name"])])

    def remove_samples(self, ids: Sequence[int]) -> int:
        """Erase single samples; return how many were there."""
        self._refuse_if_read_only()
        with self._lock:
            asked = sorted({int(number) for number in ids})
            found = self._all("samples", f"id in {asked}", ["id"]) if asked else []
            return self._delete([int(row["id"]) for row in found])

    def rename(self, name: str, new_name: str) -> None:
        """Give a person another name."""
        self._refuse_if_read_only()
        with self._lock:
            rows = self._known(name)
            if self._rows_of(new_name, ["id", "name"]):
                raise InputError(f"{new_name!r} is in the gallery already; merge the two, or choose another name")
            self._give(rows, new_name)

    def merge(self, name: str, into: str) -> int:
        """Give every sample of `name` to `into`; return how many."""
        self._refuse_if_read_only()
        with self._lock:
            rows = self._known(name)
            self._known(into)
            if name == into:
                raise InputError(f"two different people can be merged; received {name!r} twice")
            self._give(rows, into)
        return len(rows)

    def close(self) -> None:
        """Let go of the client; calling it again does nothing."""
        self._closed = True
        self._drop()

    # -- parts of a change -----------------------------------------------------------------------------

    def _next(self, revision: int) -> int:
        return max(revision + 1, time.time_ns() // 1000)

    def _give(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        """Write these samples again under another name, in one request."""
        revision = self._next(self.revision())
        written = [
            _row(int(row["id"]), name, np.array(row["vector"], np.float32), row["quality"], row["added"], revision)
            for row in rows
        ]
        self._call(lambda client: client.upsert(self._name("samples"), written, timeout=_TIMEOUT))
        self._put({_REVISION: str(revision)})

    def _delete(self, ids: list[int]) -> int:
        if not ids:
            return 0
        revision = self._next(self.revision())
        noted = [{"id": number, "revision": revision, "spare": _SPARE} for number in ids]
        self._call(lambda client: client.upsert(self._name("removed"), noted, timeout=_TIMEOUT))
        self._call(lambda client: client.delete(self._name("samples"), ids=ids, timeout=_TIMEOUT))
        self._put({_REVISION: str(revision)})
        return len(ids)

    def _take_back(self, ids: list[int]) -> None:
        """Whether the insert arrived is not known; if the server answers again, it goes."""
        try:
            self._call(lambda client: client.delete(self._name("samples"), ids=ids, timeout=_TIMEOUT))
        except StoreUnavailableError:
            return  # readers do not go by what is beyond the revision

    def _known(self, name: str) -> list[Any]:
        rows = self._rows_of(name)
        if not rows:
            raise InputError(f"nobody in {self.location} is called {name!r}; edgecv gallery list shows who is there")
        return rows

    def _rows_of(self, name: str, fields: Sequence[str] = _FIELDS) -> list[Any]:
        # A name is looked for by a number made of it, so that nothing in it can be taken for a condition.
        rows = self._all("samples", f"label == {_label(name)}", fields)
        return [row for row in rows if row["name"] == name]

    def _samples(self, rows: Sequence[Mapping[str, Any]], revision: int) -> Samples:
        ordered = sorted(rows, key=lambda row: int(row["id"]))
        dimension = int(self.metadata().get(DIMENSION, 0))
        vectors = np.array([row["vector"] for row in ordered], np.float32).reshape(len(ordered), dimension)
        table = [
            (int(row["id"]), row["name"], np.nan if row["quality"] < 0 else row["quality"], row["added"])
            for row in ordered
        ]
        return samples_from_rows(table, vectors, revision)

    # -- collections -----------------------------------------------------------------------------------

    def _name(self, collection: str) -> str:
        return f"{self._place.prefix}_{collection}"

    def _values(self) -> dict[str, str]:
        return {row["key"]: row["value"] for row in self._all("metadata", 'key != ""', ["key", "value"])}

    def _put(self, values: Mapping[str, str]) -> None:
        if values:
            rows = [{"key": key, "value": value, "spare": _SPARE} for key, value in values.items()]
            self._call(lambda client: client.upsert(self._name("metadata"), rows, timeout=_TIMEOUT))

    def _there(self, collection: str) -> bool:
        """Whether a collection exists; it is loaded, so that it can be asked."""
        name = self._name(collection)
        if name not in self._loaded:
            if not self._call(lambda client: client.has_collection(name, timeout=_TIMEOUT)):
                return False
            self._call(lambda client: client.load_collection(name, timeout=6 * _TIMEOUT))
            self._loaded.add(name)
        return True

    def _query(self, collection: str, condition: str, fields: Sequence[str], limit: int) -> list[Any]:
        if not self._there(collection):
            return []
        return list(
            self._call(
                lambda client: client.query(
                    self._name(collection), filter=condition, output_fields=list(fields), limit=limit, timeout=_TIMEOUT
                )
            )
        )

    def _all(self, collection: str, condition: str, fields: Sequence[str]) -> list[Any]:
        """Every row that meets a condition, page by page."""
        rows = self._query(collection, condition, fields, limit=_PAGE)
        if len(rows) < _PAGE:
            return rows

        def read(client: Any) -> list[Any]:
            pages = client.query_iterator(
                self._name(collection), filter=condition, output_fields=list(fields), batch_size=_PAGE, timeout=_TIMEOUT
            )
            collected: list[Any] = []
            while page := pages.next():
                collected += page
            pages.close()
            return collected

        return self._call(read)

    def _prepare(self) -> None:
        if not self._there("metadata"):
            if self._read_only:
                raise MissingFileError(f"there is no gallery at {self.location}; open it for writing once")
            types = self._library.DataType
            self._make("removed", {"id": {"datatype": types.INT64}, "revision": {"datatype": types.INT64}}, "spare", 2)
            text = {"datatype": types.VARCHAR}
            keys = {"key": {**text, "max_length": 256}, "value": {**text, "max_length": 65_535}}
            self._make("metadata", keys, "spare", 2)
            self._put({_VERSION: str(SCHEMA_VERSION)})
        version = int(self._values().get(_VERSION, SCHEMA_VERSION))
        if version > SCHEMA_VERSION:
            raise NewerFormatError(
                f"the gallery {self.location} has collections of version {version}, this edgecv knows "
                f"{SCHEMA_VERSION}; upgrade edgecv-runtime"
            )

    def _make_samples(self, dimension: int, distance: str) -> None:
        if self._there("samples"):
            return
        types = self._library.DataType
        fields = {
            "id": {"datatype": types.INT64},
            "label": {"datatype": types.INT64},
            "name": {"datatype": types.VARCHAR, "max_length": 1_100},  # 256 characters of at most 4 bytes
            "quality": {"datatype": types.FLOAT},
            "added": {"datatype": types.DOUBLE},
            "revision": {"datatype": types.INT64},
        }
        self._make("samples", fields, "vector", dimension, self._place.index, _METRICS.get(distance, "L2"))

    def _make(
        self,
        collection: str,
        fields: Mapping[str, Mapping[str, Any]],
        vector: str,
        dimension: int,
        index: str = "FLAT",
        metric: str = "L2",
    ) -> None:
        """A collection whose first field is the key."""

        def make(client: Any) -> None:
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            for place, (name, about) in enumerate(fields.items()):
                schema.add_field(name, is_primary=place == 0, **about)
            schema.add_field(vector, datatype=self._library.DataType.FLOAT_VECTOR, dim=dimension)
            indexes = client.prepare_index_params()
            indexes.add_index(vector, index_type=index, metric_type=metric)
            client.create_collection(
                self._name(collection),
                schema=schema,
                index_params=indexes,
                consistency_level="Strong",
                timeout=6 * _TIMEOUT,
            )

        self._call(make)

    # -- the client ------------------------------------------------------------------------------------

    def _call(self, ask: Callable[[Any], Answer]) -> Answer:
        """Ask, once more with a new client where the one before was cut off before anything was asked."""
        with self._translated():
            return ask(self._connected())

    def _connected(self) -> Any:
        if self._closed:
            raise GalleryError(f"the gallery {self.location} is closed; open it again")
        if self._client is not None and not self._alive():
            self._drop()
        if self._client is None:
            self._client = self._place.connect(self._library)
        return self._client

    def _alive(self) -> bool:
        # A restarted server answers on a new connection only; Milvus Lite gets a new port.
        now = time.monotonic()
        if now < self._checked + 1:
            return True
        try:
            self._client.list_collections(timeout=_TIMEOUT)
        except Exception:  # noqa: BLE001  whatever it is, a new connection is tried
            return False
        self._checked = now
        return True

    _checked = 0.0

    @contextmanager
    def _translated(self) -> Iterator[None]:
        grpc: Any = require("grpc", install="edgecv-runtime[milvus]", purpose="a gallery on Milvus")
        try:
            yield
        except (self._library.MilvusException, grpc.RpcError, OSError, ValueError) as error:
            if isinstance(error, InputError | MissingFileError | OutputError | GalleryError | StoreUnavailableError):
                raise
            said = " ".join(str(error).split())[:300]
            self._checked = 0.0
            if self._client is not None and self._alive():
                raise GalleryError(f"the gallery {self.location} refused: {said}") from error
            self._drop()
            raise StoreUnavailableError(f"the gallery {self.location} cannot be reached: {said}") from error

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._loaded.clear()
        if client is not None:
            client.close()

    def _refuse_if_read_only(self) -> None:
        if self._read_only:
            raise OutputError(f"{self.location} is open for reading only; open it without read_only to change it")


class _Place:
    """What a URL says: where Milvus is, whose account, which gallery."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        self.prefix = f"edgecv_{options['gallery']}" if "gallery" in options else "edgecv"
        if not (self.prefix.isascii() and self.prefix.replace("_", "a").isalnum()) or len(self.prefix) > 60:
            raise InputError(f"a gallery's name in a URL must be of a-z, 0-9 and _; received {options['gallery']!r}")
        self.token = f"{parts.username}:{parts.password or ''}" if parts.username else ""
        self.database = ""
        if parts.scheme == "milvus+file":
            path = Path(parts.path)
            if path.suffix != ".db":
                raise UnsupportedError(f"Milvus Lite keeps a gallery in a folder called NAME.db; received {path}")
            self.uri, self.shown = str(path), f"milvus+file://{path}"
        else:
            secure = parts.scheme == "milvus+https"
            host = f"{parts.hostname}:{parts.port or 19530}"
            self.uri = f"{'https' if secure else 'http'}://{host}"
            self.database = parts.path.strip("/")
            self.shown = f"{parts.scheme}://{host}/{self.database}"
        self.lite = parts.scheme == "milvus+file"
        self.index = options.get("index", "FLAT" if self.lite else "AUTOINDEX").upper()

    def connect(self, library: Any) -> Any:
        if self.lite:
            require("milvus_lite", install="milvus-lite", purpose="a gallery in a Milvus Lite folder")
            return library.MilvusClient(self.uri)
        account = {key: value for key, value in (("token", self.token), ("db_name", self.database)) if value}
        return library.MilvusClient(self.uri, timeout=_TIMEOUT, **account)


def _row(number: int, name: str, vector: Floats, quality: float, added: float, revision: int) -> dict[str, Any]:
    return {
        "id": number,
        "label": _label(name),
        "name": name,
        "quality": _UNKNOWN if np.isnan(quality) or quality < 0 else float(quality),
        "added": float(added),
        "revision": revision,
        "vector": vector.astype(np.float32, copy=False),
    }


def _label(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
