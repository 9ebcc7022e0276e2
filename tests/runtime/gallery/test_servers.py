"""The conformance suite over PostgreSQL and Milvus Lite; a server that stops and comes back; the local copy."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError, MissingFileError, NewerFormatError, UnsupportedError
from edgecv_runtime.gallery.store import NewSample, SearchingStore, Store, StoreUnavailableError

# Python's own and grpc's talk while servers come and go in one process.
pytestmark = [
    pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR"),
    pytest.mark.filterwarnings("ignore:overflow encountered in multiply:RuntimeWarning"),
]


def suite(file: str, prefix: str) -> dict[str, Any]:
    """The tests of another file, to be run here over the places below."""
    spec = importlib.util.spec_from_file_location(file, Path(__file__).with_name(f"{file}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    return {name.replace("test_", prefix, 1): test for name, test in tests.items()}


globals().update(suite("test_conformance", "test_") | suite("test_gallery_conformance", "test_gallery_"))

_numbers = itertools.count()


class PostgresServer:
    """A real PostgreSQL in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._package = pytest.importorskip("pgserver", reason="a PostgreSQL of its own needs pgserver")
        self._folder = folder / "pg"
        self.start()

    def start(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server: Any = self._started()
        self.url = self._server.get_uri()
        self._wait()

    def _started(self) -> Any:
        """The server; the package gives it ten seconds, which may be too few where others write to the disk, too."""
        for _ in range(6):
            # The second kind, and the third: it is still starting when it is asked again.
            with contextlib.suppress(subprocess.TimeoutExpired, subprocess.CalledProcessError, AssertionError):
                server = self._package.get_server(self._folder, cleanup_mode=None)
                server.ensure_postgres_running()
                return server
            time.sleep(2)
        pytest.fail("PostgreSQL did not start")

    def _wait(self) -> None:
        """After a crash it replays its log before it lets anybody in."""
        import psycopg

        for _ in range(600):
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        pytest.fail("PostgreSQL did not start")

    def stop(self) -> None:
        self._package.pg_ctl(["-D", str(self._folder), "-m", "immediate", "stop"], pgdata=self._folder, user=self._user)

    @property
    def _user(self) -> Any:
        return getattr(self._server, "system_user", None)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    server = PostgresServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


class ServerPlace:
    key = None

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url

    @property
    def location(self) -> str:
        return self.url

    def open(self, read_only: bool = False) -> Store:
        from edgecv_runtime.gallery.location import open_store

        return open_store(self.url, read_only=read_only)


@pytest.fixture
def postgres_place(postgres: PostgresServer) -> ServerPlace:
    return ServerPlace("postgres", f"{postgres.url}&gallery=g{next(_numbers)}")


@pytest.fixture
def milvus_place(tmp_path: Path) -> Iterator[ServerPlace]:
    pytest.importorskip("pymilvus", reason="Milvus needs pymilvus")
    pytest.importorskip("milvus_lite", reason="a Milvus of its own needs milvus-lite")
    yield ServerPlace("milvus", f"milvus+file://{tmp_path}/faces.db")
    stop_milvus(tmp_path / "faces.db")


def stop_milvus(path: Path) -> None:
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(str(path))


class CachedPlace:
    """A PostgreSQL gallery, each opening with a copy of its own."""

    def __init__(self, url: str, folder: Path, key: bytes | None = None) -> None:
        self.url, self.folder, self.key = url, folder, key
        self.location = url

    def open(self, read_only: bool = False, copy: str = "") -> Store:
        from edgecv_runtime.gallery.cached_store import CachedStore
        from edgecv_runtime.gallery.postgres_store import PostgresStore

        path = self.folder / (copy or f"copy{next(_numbers)}.db")
        return CachedStore(
            lambda: PostgresStore(self.url, read_only=read_only),
            path, location="postgresql://server/faces", key=self.key, read_only=read_only, retry=0.0,
        )  # fmt: skip


@pytest.fixture
def cached_place(postgres: PostgresServer, tmp_path: Path) -> CachedPlace:
    return CachedPlace(f"{postgres.url}&gallery=g{next(_numbers)}", tmp_path)


# Milvus Lite takes a second for each gallery.
@pytest.fixture(params=["postgres", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cached", "milvus"))])
def place(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_place")


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def enrol(store: Store, person: str, *values: float) -> int:
    return int(store.add([NewSample(person, vector(*values), 0.5, 1.0)]).ids[0])


# -- a server that goes and comes back ---------------------------------------------------------------------


def test_postgres_stops_and_comes_back(postgres: PostgresServer, postgres_place: ServerPlace) -> None:
    store = postgres_place.open()
    store.initialise({"dimension": "2"})
    kept = [enrol(store, "Ada", 1, 2)]
    postgres.stop()  # as a crash: what was not on the disk is gone
    with pytest.raises(StoreUnavailableError, match="cannot be reached|cut off"):
        enrol(store, "Bo", 3, 4)
    with pytest.raises(StoreUnavailableError):
        postgres_place.open()
    postgres.start()
    kept.append(enrol(store, "Cy", 5, 6))  # the same object
    assert store.people() == {"Ada": 1, "Cy": 1} and store.load().ids.tolist() == kept
    store.close()


@pytest.mark.slow
def test_postgres_restarts_between_two_questions(postgres: PostgresServer, postgres_place: ServerPlace) -> None:
    store = postgres_place.open()
    store.initialise({"dimension": "2"})
    enrol(store, "Ada", 1, 2)
    postgres.stop()
    postgres.start()
    assert store.people() == {"Ada": 1}
    store.close()


def test_postgres_takes_back_what_was_cut_off(postgres: PostgresServer, postgres_place: ServerPlace) -> None:
    """The server dies within the transaction of a batch."""
    store: Any = postgres_place.open()
    store.initialise({"dimension": "2"})
    enrol(store, "Ada", 1, 2)
    number_people, store._people_for = store._people_for, None

    def dies(cursor: Any, names: list[str]) -> Any:
        found = number_people(cursor, names)
        postgres.stop()
        return found

    store._people_for = dies
    with pytest.raises(StoreUnavailableError):
        store.add([NewSample(name, vector(1, 1), 0.5, 1.0) for name in ("Bo", "Cy")])
    postgres.start()
    assert store.people() == {"Ada": 1} and store.revision() == 1
    store.close()


@pytest.mark.slow
def test_milvus_stops_and_comes_back(milvus_place: ServerPlace, tmp_path: Path) -> None:
    store = milvus_place.open()
    store.initialise({"dimension": "2"})
    enrol(store, "Ada", 1, 2)
    stop_milvus(tmp_path / "faces.db")
    with pytest.raises(StoreUnavailableError):
        store.people()
    assert store.people() == {"Ada": 1}  # the next question starts it again
    enrol(store, "Bo", 3, 4)
    assert store.people() == {"Ada": 1, "Bo": 1}
    store.close()


def test_a_door_goes_on_without_its_server(postgres: PostgresServer, cached_place: CachedPlace) -> None:
    door = cached_place.open(copy="door.db")
    door.initialise({"dimension": "2"})
    number = enrol(door, "Ada", 1, 2)
    postgres.stop()
    with pytest.warns(UserWarning, match="going on with the copy"):
        assert door.people() == {"Ada": 1}
    assert door.load().vectors.tolist() == [[1, 2]] and door.revision() == 1
    unchanged = door.changes(1)
    assert unchanged is not None and len(unchanged.changed) == 0 and door.changes(0) is None
    with pytest.raises(StoreUnavailableError, match="not changed"):
        enrol(door, "Bo", 3, 4)
    door.close()
    with pytest.warns(UserWarning, match="going on with the copy"):  # the door itself restarts
        again = cached_place.open(copy="door.db")
    assert again.samples_of("Ada").ids.tolist() == [number] and again.metadata()["dimension"] == "2"
    with pytest.raises(StoreUnavailableError, match="no copy of it yet"):
        cached_place.open(copy="new.db")
    postgres.start()
    enrol(again, "Cy", 5, 6)
    assert again.people() == {"Ada": 1, "Cy": 1}
    again.close()


def test_a_copy_follows_what_others_do(cached_place: CachedPlace) -> None:
    office, door = cached_place.open(), cached_place.open(copy="door.db")
    office.initialise({"dimension": "2", "created": "today"})
    enrol(office, "Ada", 1, 2)
    enrol(office, "Bo", 3, 4)
    assert door.people() == {"Ada": 1, "Bo": 1}
    office.remove("Ada")
    office.rename("Bo", "Bob")
    assert door.people() == {"Bob": 1} and door.metadata()["created"] == "today"
    for store in (office, door):
        store.close()
    content = (cached_place.folder / "door.db").read_bytes()
    assert vector(3, 4).tobytes() in content and vector(1, 2).tobytes() not in content


def test_an_encrypted_copy(cached_place: CachedPlace) -> None:
    pytest.importorskip("cryptography", reason="encryption needs cryptography")
    cached_place.key = bytes(range(32))
    door = cached_place.open(copy="door.db")
    door.initialise({"dimension": "2"})
    enrol(door, "Ada Lovelace", 1, 2)
    assert door.samples_of("Ada Lovelace").vectors.tolist() == [[1, 2]]
    door.close()
    content = (cached_place.folder / "door.db").read_bytes()
    assert b"Lovelace" not in content and vector(1, 2).tobytes() not in content
    cached_place.key = bytes(32)
    with pytest.raises(InputError, match="another key"):
        cached_place.open(copy="door.db")
    cached_place.key = None
    with pytest.raises(InputError, match="encrypted"):
        cached_place.open(copy="door.db")


def test_a_copy_of_something_else(cached_place: CachedPlace, tmp_path: Path) -> None:
    from edgecv_runtime.gallery.cached_store import CachedStore
    from edgecv_runtime.gallery.sqlite_store import SQLiteStore

    cached_place.open(copy="door.db").close()
    with pytest.raises(InputError, match="a copy of postgresql://server/faces"):
        CachedStore(cached_place.open, tmp_path / "door.db", location="postgresql://other/faces")
    SQLiteStore(tmp_path / "faces.db").close()
    with pytest.raises(InputError, match="not the copy"):
        cached_place.open(copy="faces.db")


# -- what is each server's own -----------------------------------------------------------------------------


def searches_like_numpy(place: ServerPlace) -> None:
    rows = np.random.default_rng(3).standard_normal((40, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store = place.open()
    store.initialise({"dimension": "8", "distance": "cosine"})
    ids = store.add([NewSample(f"p{row % 7}", one, 1.0, 0.0) for row, one in enumerate(rows)]).ids
    assert isinstance(store, SearchingStore)
    assert store.searches("cosine") and not store.searches("chi-squared")
    query = rows[5] + np.float32(0.1)
    query /= np.linalg.norm(query)
    expected = 1 - rows @ query
    order = np.argsort(expected)[:9]
    hits = store.search(query, 9, "cosine")
    assert hits.ids.tolist() == ids[order].tolist()
    assert list(hits.names) == [f"p{row % 7}" for row in order]
    np.testing.assert_allclose(hits.distances, expected[order], atol=2e-6)
    with pytest.raises(InputError):
        store.search(query, 1, "chi-squared")
    store.close()


def test_postgres_searches(postgres_place: ServerPlace) -> None:
    searches_like_numpy(postgres_place)


@pytest.mark.slow
def test_milvus_searches(milvus_place: ServerPlace) -> None:
    searches_like_numpy(milvus_place)


def test_postgres_with_the_gallery_itself(postgres_place: ServerPlace) -> None:
    from edgecv_runtime.gallery.gallery import Gallery

    with Gallery(postgres_place.url, threshold=0.8) as gallery:
        gallery.enroll_many(["Ada", "Bo"], np.eye(2))
        answer = gallery.identify([0.6, 0.8], k=2)
        assert [match.name for match in answer] == ["Bo", "Ada"] and answer.name == "Bo"
        assert answer.matches[0].score == pytest.approx(0.8, abs=1e-6)
        assert gallery.identify([0.7, 0.72]).name is None
        assert gallery.verify("Ada", [1, 0.01]).accepted


def test_postgres_names_of_galleries(postgres: PostgresServer, postgres_place: ServerPlace) -> None:
    with pytest.raises(InputError, match="gallery's name"):
        ServerPlace("postgres", f"{postgres.url}&gallery=a;drop").open()
    with pytest.raises(MissingFileError, match="no gallery"):
        postgres_place.open(read_only=True)
    secret = ServerPlace("postgres", "postgresql://door:secret@127.0.0.1:1/faces")
    with pytest.raises(StoreUnavailableError) as raised:
        secret.open()
    assert "secret" not in str(raised.value)


def test_postgres_of_a_newer_edgecv(postgres: PostgresServer, postgres_place: ServerPlace) -> None:
    store: Any = postgres_place.open()
    store._connection.execute(f"UPDATE {store._schema}.state SET version = 99")
    store.close()
    with pytest.raises(NewerFormatError, match="99"):
        postgres_place.open()


def test_milvus_urls() -> None:
    from edgecv_runtime.gallery.milvus_store import _Place

    place = _Place("milvus+https://ada:secret@host:1234/faces?gallery=door&index=hnsw")
    assert (place.uri, place.database, place.token) == ("https://host:1234", "faces", "ada:secret")
    assert (place.prefix, place.index, place.shown) == ("edgecv_door", "HNSW", "milvus+https://host:1234/faces")
    assert _Place("milvus://host").uri == "http://host:19530"
    with pytest.raises(InputError, match="gallery's name"):
        _Place("milvus://host?gallery=a-b")
    with pytest.raises(UnsupportedError, match="NAME.db"):
        _Place("milvus+file:///tmp/faces")
