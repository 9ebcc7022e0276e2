"""A gallery on PostgreSQL with pgvector: for several devices that share one.

``postgresql://user:password@host/database?gallery=NAME`` keeps a gallery in the schema ``edgecv_NAME`` (``edgecv``
without a name). The server must have the extension ``vector`` (pgvector 0.5 or later). Everything else of the URL is
the driver's: ``sslmode``, ``sslrootcert`` and so on.

Every change is one transaction that begins by taking the row of ``state``, so changes come one after the other and
revisions say in which order. A server that was away is tried again by the next call. Rows that were removed are
vacuumed at once; the server's write-ahead log and backups are for its keeper to let expire.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np

from edgecv_runtime._require import require
from edgecv_runtime.errors import InputError, MissingFileError, NewerFormatError, OutputError
from edgecv_runtime.gallery.columns import check_batch, samples_from_rows
from edgecv_runtime.gallery.store import (
    DIMENSION,
    Changes,
    Floats,
    GalleryError,
    Hits,
    NewSample,
    Samples,
    StoreUnavailableError,
)

SCHEMA_VERSION = 1

_LOG_ROWS = 100_000  # removals remembered for other readers
_LOG_CHECK = 1_000  # revisions between two looks at how many there are
_OPERATORS = {"cosine": "<=>", "euclidean": "<->"}
_TIMEOUT = 5  # seconds to wait for a connection, unless the URL says otherwise
_COLUMNS = "s.id, p.name, vector_send(s.vector), s.quality, s.added"

_TABLES = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA {schema};
CREATE TABLE {schema}.metadata (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE {schema}.state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL,
    revision bigint NOT NULL DEFAULT 0, next_sample bigint NOT NULL DEFAULT 1, log_floor bigint NOT NULL DEFAULT 0);
CREATE TABLE {schema}.people (
    person bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE {schema}.samples (
    id bigint PRIMARY KEY, person bigint NOT NULL REFERENCES {schema}.people, vector vector NOT NULL,
    quality real NOT NULL, added double precision NOT NULL, revision bigint NOT NULL);
CREATE INDEX ON {schema}.samples (person);
CREATE INDEX ON {schema}.samples (revision);
CREATE TABLE {schema}.removed (revision bigint NOT NULL, id bigint NOT NULL);
CREATE INDEX ON {schema}.removed (revision);
INSERT INTO {schema}.state (version) VALUES ({version});
"""


class PostgresStore:
    """A gallery's samples in a PostgreSQL schema (see `SearchingStore` for the methods); needs ``psycopg``.

    Parameters
    ----------
    url : str
        See the top of this module.
    read_only : bool
        Never write, also not to make the tables.

    Raises
    ------
    MissingPackageError
    StoreUnavailableError
        The server cannot be reached.
    GalleryError
        It has no pgvector, or the account may not use it.
    NewerFormatError
        The tables were made by a newer edgecv.
    """

    def __init__(self, url: str, read_only: bool = False) -> None:
        self._driver: Any = require("psycopg", install="edgecv-runtime[postgres]", purpose="a gallery on PostgreSQL")
        self._url, name = _without_gallery(url)
        self._schema = f"edgecv_{name}" if name else "edgecv"
        self._read_only = read_only
        self._connection: Any = None
        self._closed = False
        self._prepare()

    def __repr__(self) -> str:
        return f"<PostgresStore {self.location}>"

    @property
    def location(self) -> str:
        parts = urlsplit(self._url)
        host = parts.netloc.rpartition("@")[2]
        user = f"{parts.username}@" if parts.username else ""
        return f"postgresql://{user}{host}{parts.path}?schema={self._schema}"

    @property
    def read_only(self) -> bool:
        return self._read_only

    # -- reading ---------------------------------------------------------------------------------------

    def metadata(self) -> dict[str, str]:
        with self._reading() as cursor:
            return dict(self._rows(cursor, "SELECT key, value FROM {}.metadata"))

    def revision(self) -> int:
        with self._reading() as cursor:
            return int(self._rows(cursor, "SELECT revision FROM {}.state")[0][0])

    def load(self) -> Samples:
        with self._reading() as cursor:
            revision = int(self._rows(cursor, "SELECT revision FROM {}.state")[0][0])
            return self._samples(cursor, revision, "")

    def changes(self, since: int) -> Changes | None:
        with self._reading() as cursor:
            revision, floor = self._rows(cursor, "SELECT revision, log_floor FROM {}.state")[0]
            if not floor <= since <= revision:
                return None
            changed = self._samples(cursor, revision, "WHERE s.revision > %s", (since,))
            gone = self._rows(cursor, "SELECT id FROM {}.removed WHERE revision > %s ORDER BY id", (since,))
        return Changes(changed, np.array([row[0] for row in gone], np.int64))

    def people(self) -> dict[str, int]:
        query = (
            "SELECT p.name, count(*) FROM {0}.samples s JOIN {0}.people p USING (person) GROUP BY p.name "
            "ORDER BY min(s.id)"
        )
        with self._reading() as cursor:
            return {name: int(count) for name, count in self._rows(cursor, query)}

    def samples_of(self, name: str) -> Samples:
        with self._reading() as cursor:
            revision = int(self._rows(cursor, "SELECT revision FROM {}.state")[0][0])
            return self._samples(cursor, revision, "WHERE p.name = %s", (name,))

    def searches(self, distance: str) -> bool:
        return distance in _OPERATORS

    def search(self, query: Floats, k: int, distance: str) -> Hits:
        if distance not in _OPERATORS:
            raise InputError(f"pgvector knows the distances {', '.join(_OPERATORS)}; received {distance!r}")
        statement = (
            f"SELECT s.id, p.name, s.vector {_OPERATORS[distance]} %s::vector AS apart "
            "FROM {0}.samples s JOIN {0}.people p USING (person) ORDER BY apart, s.id LIMIT %s"
        )
        with self._reading() as cursor:
            rows = self._rows(cursor, statement, (_text(query), k))
        ids, names, distances = zip(*rows, strict=True) if rows else ((), (), ())
        return Hits(np.array(ids, np.int64), list(names), np.array(distances, np.float32))

    # -- changing --------------------------------------------------------------------------------------

    def initialise(self, values: Mapping[str, str]) -> dict[str, str]:
        """Set those keys that have no value yet; return the metadata as it is afterwards."""
        if values.keys() - self.metadata().keys():
            with self._change() as cursor:
                insert = "INSERT INTO {}.metadata VALUES (%s, %s) ON CONFLICT DO NOTHING"
                self._many(cursor, insert, list(values.items()))
        return self.metadata()

    def set_metadata(self, values: Mapping[str, str | None]) -> None:
        """Set or, with None, delete these keys."""
        with self._change() as cursor:
            self._many(cursor, "DELETE FROM {}.metadata WHERE key = %s", [(key,) for key in values])
            kept = [(key, value) for key, value in values.items() if value is not None]
            self._many(cursor, "INSERT INTO {}.metadata VALUES (%s, %s)", kept)

    def add(self, samples: Sequence[NewSample]) -> Samples:
        """Keep these in one durable transaction."""
        columns = check_batch(samples, self.metadata().get(DIMENSION))
        if not len(samples):
            return columns.numbered(np.zeros(0, np.int64), self.revision())
        with self._change() as cursor:
            revision = self._advance(cursor)
            take = "UPDATE {}.state SET next_sample = next_sample + %s RETURNING next_sample"
            last = int(self._rows(cursor, take, (len(samples),))[0][0])
            ids = np.arange(last - len(samples), last, dtype=np.int64)
            people = self._people_for(cursor, list(columns.names))
            copy = f"COPY {self._schema}.samples (id, person, vector, quality, added, revision) FROM STDIN"
            with cursor.copy(copy) as target:
                for number, sample in zip(ids.tolist(), samples, strict=True):
                    row = (number, people[sample.person], _text(sample.vector), sample.quality, sample.added, revision)
                    target.write_row(row)
        return columns.numbered(ids, revision)

    def remove(self, name: str) -> int:
        """Erase a person and every sample of theirs; return how many samples."""
        with self._change() as cursor:
            found = self._rows(cursor, "SELECT person FROM {}.people WHERE name = %s", (name,))
            if not found:
                return 0
            gone = self._delete(cursor, "person = %s", (found[0][0],))
            self._rows(cursor, "DELETE FROM {}.people WHERE person = %s", (found[0][0],))
        self._vacuum()
        return gone

    def remove_samples(self, ids: Sequence[int]) -> int:
        """Erase single samples, and the people who are left without any; return how many were there."""
        with self._change() as cursor:
            gone = self._delete(cursor, "id = ANY(%s)", ([int(number) for number in ids],))
            if gone:
                self._rows(
                    cursor,
                    "DELETE FROM {0}.people p WHERE NOT EXISTS (SELECT FROM {0}.samples s WHERE s.person = p.person)",
                )
        if gone:
            self._vacuum()
        return gone

    def rename(self, name: str, new_name: str) -> None:
        """Give a person another name."""
        with self._change() as cursor:
            person = self._known(cursor, name)
            if self._rows(cursor, "SELECT person FROM {}.people WHERE name = %s", (new_name,)):
                raise InputError(f"{new_name!r} is in the gallery already; merge the two, or choose another name")
            self._rows(cursor, "UPDATE {}.people SET name = %s WHERE person = %s", (new_name, person))
            touch = "UPDATE {}.samples SET revision = %s WHERE person = %s"
            self._rows(cursor, touch, (self._advance(cursor), person))
        self._vacuum()

    def merge(self, name: str, into: str) -> int:
        """Give every sample of `name` to `into`; return how many."""
        with self._change() as cursor:
            person, target = self._known(cursor, name), self._known(cursor, into)
            if person == target:
                raise InputError(f"two different people can be merged; received {name!r} twice")
            move = "UPDATE {}.samples SET person = %s, revision = %s WHERE person = %s RETURNING id"
            moved = self._rows(cursor, move, (target, self._advance(cursor), person))
            self._rows(cursor, "DELETE FROM {}.people WHERE person = %s", (person,))
        self._vacuum()
        return len(moved)

    def compact(self) -> None:
        """Rewrite the tables, so that nothing of what was removed is left in their files."""
        self._refuse_if_read_only()
        self._vacuum("FULL")

    def close(self) -> None:
        """Let go of the connection; calling it again does nothing."""
        self._closed = True
        self._drop()

    # -- parts of a transaction ------------------------------------------------------------------------

    def _rows(self, cursor: Any, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run a statement, {} in it being the schema; the rows that it returns."""
        cursor.execute(statement.format(self._schema), values or None)
        return list(cursor.fetchall()) if cursor.description else []

    def _many(self, cursor: Any, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            cursor.executemany(statement.format(self._schema), rows)

    def _samples(self, cursor: Any, revision: int, condition: str, values: Sequence[Any] = ()) -> Samples:
        statement = (
            f"SELECT {_COLUMNS} FROM {{0}}.samples s JOIN {{0}}.people p USING (person) {condition} ORDER BY s.id"
        )
        rows = self._rows(cursor, statement, values)
        dimension = self._rows(cursor, "SELECT value FROM {}.metadata WHERE key = %s", (DIMENSION,))
        # pgvector's binary form: the dimension and a spare number of 16 bits each, then big-endian floats.
        vectors = np.frombuffer(b"".join(row[2][4:] for row in rows), ">f4").astype(np.float32)
        shape = (len(rows), len(vectors) // len(rows) if rows else int(dimension[0][0]) if dimension else 0)
        return samples_from_rows([(row[0], row[1], row[3], row[4]) for row in rows], vectors.reshape(shape), revision)

    def _advance(self, cursor: Any) -> int:
        return int(self._rows(cursor, "UPDATE {}.state SET revision = revision + 1 RETURNING revision")[0][0])

    def _known(self, cursor: Any, name: str) -> int:
        found = self._rows(cursor, "SELECT person FROM {}.people WHERE name = %s", (name,))
        if not found:
            raise InputError(f"nobody in {self.location} is called {name!r}; edgecv gallery list shows who is there")
        return int(found[0][0])

    def _people_for(self, cursor: Any, names: list[str]) -> dict[str, int]:
        self._many(
            cursor, "INSERT INTO {}.people (name) VALUES (%s) ON CONFLICT DO NOTHING", [(name,) for name in names]
        )
        found = self._rows(cursor, "SELECT name, person FROM {}.people WHERE name = ANY(%s)", (names,))
        return dict(found)

    def _delete(self, cursor: Any, condition: str, values: Sequence[Any]) -> int:
        """Delete samples and note it for other readers; how many."""
        gone = self._rows(cursor, f"DELETE FROM {{}}.samples WHERE {condition} RETURNING id", values)
        if gone:
            revision = self._advance(cursor)
            self._many(cursor, "INSERT INTO {}.removed VALUES (%s, %s)", [(revision, row[0]) for row in gone])
            self._trim_log(cursor, revision)
        return len(gone)

    def _trim_log(self, cursor: Any, revision: int) -> None:
        if revision % _LOG_CHECK:
            return
        floor = self._rows(
            cursor, "SELECT revision FROM {}.removed ORDER BY revision DESC OFFSET %s LIMIT 1", (_LOG_ROWS,)
        )
        if floor:
            self._rows(cursor, "DELETE FROM {}.removed WHERE revision <= %s", floor[0])
            self._rows(cursor, "UPDATE {}.state SET log_floor = %s", floor[0])

    # -- the connection --------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """A cursor on one unchanging view of everything."""
        with self._transaction("REPEATABLE READ, READ ONLY") as cursor:
            yield cursor

    @contextmanager
    def _change(self) -> Iterator[Any]:
        """A cursor in a transaction that no other change runs beside."""
        self._refuse_if_read_only()
        with self._transaction("READ COMMITTED, READ WRITE") as cursor:
            self._rows(cursor, "SELECT revision FROM {}.state FOR UPDATE")
            yield cursor

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[Any]:
        connection = self._connected()
        try:
            with connection.transaction(), connection.cursor(binary=True) as cursor:
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {kind}")
                yield cursor
        except self._driver.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        """As an error of ours."""
        said = " ".join(str(error).split())
        if self._connection is None or self._connection.broken or isinstance(error, self._driver.InterfaceError):
            self._drop()
            return StoreUnavailableError(f"the gallery {self.location} was cut off while it was asked: {said}")
        if isinstance(error, self._driver.errors.DiskFull | self._driver.errors.InsufficientPrivilege):
            return OutputError(f"the gallery {self.location} cannot be written, nothing was changed: {said}")
        if isinstance(error, self._driver.errors.OperationalError):
            return StoreUnavailableError(f"the gallery {self.location} cannot answer now: {said}")
        return GalleryError(f"the gallery {self.location} is not as it should be: {said}")

    def _connected(self) -> Any:
        """A connection that answers: a server that was restarted left the one before dead."""
        if self._closed:
            raise GalleryError(f"the gallery {self.location} is closed; open it again")
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
            except self._driver.Error:
                self._drop()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Any:
        chosen = {} if "connect_timeout" in self._url else {"connect_timeout": _TIMEOUT}
        try:
            connection = self._driver.connect(self._url, autocommit=True, **chosen)
            # Whatever the server's default: what was acknowledged has to outlive a power cut.
            connection.execute("SET synchronous_commit TO on")
        except self._driver.Error as error:
            said = " ".join(str(error).split())
            raise StoreUnavailableError(f"the gallery {self.location} cannot be reached: {said}") from None
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _prepare(self) -> None:
        """Make the tables where there are none, and see that they are ours."""
        connection = self._connected()
        try:
            with connection.transaction():
                # Two devices that start at once must not both make the tables.
                connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self._schema,))
                if not connection.execute("SELECT to_regclass(%s)", (f"{self._schema}.state",)).fetchone()[0]:
                    if self._read_only:
                        raise MissingFileError(f"there is no gallery at {self.location}; open it for writing once")
                    connection.execute(_TABLES.format(schema=self._schema, version=SCHEMA_VERSION))
                version = int(connection.execute(f"SELECT version FROM {self._schema}.state").fetchone()[0])
        except self._driver.Error as error:
            translated = self._translated(error)
            self._drop()
            if isinstance(translated, StoreUnavailableError):
                raise translated from error
            said = " ".join(str(error).split())
            raise GalleryError(f"no gallery can be kept at {self.location} (pgvector is needed): {said}") from error
        except BaseException:
            self._drop()
            raise
        if version > SCHEMA_VERSION:
            self._drop()
            raise NewerFormatError(
                f"the gallery {self.location} has tables of version {version}, this edgecv knows {SCHEMA_VERSION}; "
                "upgrade edgecv-runtime"
            )

    def _vacuum(self, how: str = "") -> None:
        tables = ", ".join(f"{self._schema}.{table}" for table in ("samples", "people"))
        connection = self._connected()
        try:
            connection.execute(f"VACUUM {f'({how})' if how else ''} {tables}")
        except self._driver.Error as error:
            # What was removed is committed; only its traces are left, and the server's own vacuum comes by.
            if connection.broken:
                self._drop()
            elif how:
                raise self._translated(error) from error

    def _refuse_if_read_only(self) -> None:
        if self._read_only:
            raise OutputError(f"{self.location} is open for reading only; open it without read_only to change it")


def _without_gallery(url: str) -> tuple[str, str]:
    """The driver's URL, and the gallery's name in it."""
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    names = [value for key, value in options if key == "gallery"]
    name = names[-1] if names else ""
    if name and not (name.isascii() and name.replace("_", "a").isalnum() and name == name.lower() and len(name) <= 40):
        raise InputError(f"a gallery's name in a URL must be up to 40 of a-z, 0-9 and _; received {name!r}")
    rest = urlencode([(key, value) for key, value in options if key != "gallery"])
    return urlunsplit(parts._replace(query=rest)), name


def _text(vector: Floats) -> str:
    """As pgvector reads it; the shortest decimals that give the same float32."""
    return "[" + ",".join(map(str, vector.astype(np.float32, copy=False))) + "]"
