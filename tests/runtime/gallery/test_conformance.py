"""One suite for every store: what `edgecv_runtime.gallery.store.Store` promises."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import EdgecvError, InputError, OutputError
from edgecv_runtime.gallery.store import NewSample, Samples, Store

AWKWARD = ["O'Brien", 'Ada "the first"', "x'); DROP TABLE samples; --", "名前", "👩‍🔬 Zoë", "%_\\", "a" * 256, "é"]


def content(samples: Samples) -> list[tuple[int, str, list[float], float, float]]:
    """One tuple for each sample, with the name itself."""
    return [
        (
            int(samples.ids[row]),
            samples.names[int(samples.people[row])],
            samples.vectors[row].tolist(),
            round(float(samples.quality[row]), 6),
            float(samples.added[row]),
        )
        for row in range(len(samples))
    ]


def names_in(store: Store) -> list[str]:
    return list(store.people())


def test_a_new_store_is_empty(open_store: Any) -> None:
    store = open_store()
    assert store.revision() == 0 and store.people() == {}
    samples = store.load()
    assert len(samples) == 0 and samples.vectors.shape == (0, 4) and list(samples.names) == []


def test_what_was_added_is_there_after_opening_again(open_store: Any, sample: Any) -> None:
    store = open_store()
    added = store.add([sample("Ada", 1), sample("Bo", 2), sample("Ada", 3)])
    assert [name for _, name, *_ in content(added)] == ["Ada", "Bo", "Ada"]
    assert (np.diff(added.ids) > 0).all() and added.ids[0] > 0
    store.close()
    again = open_store()
    loaded = again.load()
    assert content(loaded) == content(added)
    assert content(loaded)[1][2:] == ([2.0, 2.25, 2.5, 2.75], 0.5, 1002.0)
    assert loaded.vectors.dtype == np.float32 and loaded.vectors.flags.c_contiguous
    assert again.people() == {"Ada": 2, "Bo": 1}
    assert content(again.samples_of("Ada")) == [content(added)[0], content(added)[2]]
    assert len(again.samples_of("Cy")) == 0


def test_quality_may_be_unknown(open_store: Any, sample: Any) -> None:
    store = open_store()
    store.add([sample("Ada", 1, quality=float("nan"))])
    assert np.isnan(store.load().quality).all()


def test_vectors_come_back_bit_for_bit(open_store: Any) -> None:
    vectors = np.random.default_rng(7).standard_normal((50, 4)).astype(np.float32)
    vectors[3] = [-0.0, 1e-38, 3e38, -3e38]
    store = open_store()
    store.add([NewSample(f"p{row}", vector, 1.0, 0.0) for row, vector in enumerate(vectors)])
    assert open_store().load().vectors.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names(open_store: Any, sample: Any, name: str) -> None:
    store = open_store()
    store.add([sample("Ada", 1), sample(name, 2)])
    assert names_in(open_store()) == ["Ada", name]
    assert len(store.samples_of(name)) == 1
    store.rename(name, name[:200] + "!")
    store.merge(name[:200] + "!", "Ada")
    assert store.people() == {"Ada": 2}
    store.rename("Ada", name)
    assert store.remove(name) == 2 and store.people() == {}


def test_remove(open_store: Any, sample: Any) -> None:
    store = open_store()
    added = store.add([sample("Ada", 1), sample("Bo", 2), sample("Ada", 3)])
    assert store.remove("Ada") == 2
    assert store.remove("Ada") == 0
    assert content(open_store().load()) == [content(added)[1]]
    assert names_in(store) == ["Bo"]


def test_remove_samples_and_with_the_last_the_person(open_store: Any, sample: Any) -> None:
    store = open_store()
    first, second, third = store.add([sample("Ada", 1), sample("Bo", 2), sample("Ada", 3)]).ids.tolist()
    assert store.remove_samples([first, 10**9]) == 1
    assert store.people() == {"Bo": 1, "Ada": 1}
    assert store.remove_samples([third, third]) == 1
    assert store.people() == {"Bo": 1}
    assert store.remove_samples([]) == 0
    assert open_store().load().ids.tolist() == [second]


def test_ids_are_never_used_twice(open_store: Any, sample: Any) -> None:
    store = open_store()
    seen = set(store.add([sample("Ada", 1), sample("Ada", 2)]).ids.tolist())
    store.remove("Ada")
    store.close()
    again = set(open_store().add([sample("Ada", 3)]).ids.tolist())
    assert not seen & again and min(again) > max(seen)


def test_rename(open_store: Any, sample: Any) -> None:
    store = open_store()
    added = store.add([sample("Ada", 1), sample("Bo", 2)])
    store.rename("Ada", "Cy")
    assert store.people() == {"Cy": 1, "Bo": 1}
    assert open_store().load().ids.tolist() == added.ids.tolist()
    for old, new in (("Ada", "Dee"), ("Cy", "Bo")):  # nobody of that name; the name is taken
        revision = store.revision()
        with pytest.raises(InputError):
            store.rename(old, new)
        assert store.people() == {"Cy": 1, "Bo": 1} and store.revision() == revision


def test_merge(open_store: Any, sample: Any) -> None:
    store = open_store()
    added = store.add([sample("Ada", 1), sample("Bo", 2), sample("Ada", 3)])
    assert store.merge("Ada", "Bo") == 2
    assert open_store().people() == {"Bo": 3}
    assert store.load().ids.tolist() == added.ids.tolist()
    assert store.load().vectors.tolist() == added.vectors.tolist()
    for one, other in (("Ada", "Bo"), ("Bo", "Ada"), ("Bo", "Bo")):
        with pytest.raises(InputError):
            store.merge(one, other)
    assert store.people() == {"Bo": 3}


def test_revision_grows_with_every_change(open_store: Any, sample: Any) -> None:
    store = open_store()
    other = open_store()
    seen = [store.revision()]
    for change in (
        lambda: store.add([sample("Ada", 1)]),
        lambda: store.add([sample("Ada", 2), sample("Bo", 3)]),
        lambda: store.rename("Ada", "Cy"),
        lambda: store.merge("Bo", "Cy"),
        lambda: store.remove("Cy"),
    ):
        change()
        seen.append(other.revision())
    assert seen == sorted(set(seen))


def follow(known: dict[int, tuple[str, list[float]]], store: Store, since: int) -> int:
    """Apply what `changes` says, as a reader would."""
    changes = store.changes(since)
    if changes is None:
        samples = store.load()
        known.clear()
    else:
        samples = changes.changed
        for gone in changes.removed.tolist():
            known.pop(gone, None)
    for number, name, vector, *_ in content(samples):
        known[number] = (name, vector)
    return samples.revision


def test_another_reader_follows_the_changes(open_store: Any, sample: Any) -> None:
    store, reader = open_store(), open_store()
    known: dict[int, tuple[str, list[float]]] = {}
    since = follow(known, reader, reader.revision())
    steps = (
        lambda: store.add([sample("Ada", 1), sample("Bo", 2)]),
        lambda: store.add([sample("Ada", 3)]),
        lambda: store.rename("Ada", "Cy"),
        lambda: store.remove_samples(store.samples_of("Cy").ids[:1].tolist()),
        lambda: store.add([sample("Dee", 4)]),
        lambda: store.merge("Dee", "Bo"),
        lambda: store.remove("Cy"),
    )
    for step in steps:
        step()
        since = follow(known, reader, since)
        assert since == store.revision()
        assert known == {number: (name, vector) for number, name, vector, *_ in content(store.load())}
    # And all at once, for one who slept.
    asleep: dict[int, tuple[str, list[float]]] = {}
    follow(asleep, reader, 0)
    assert asleep == known and len(known) == 2


def test_changes_from_nowhere_are_unknown(open_store: Any, sample: Any) -> None:
    store = open_store()
    store.add([sample("Ada", 1)])
    assert store.changes(store.revision() + 1) is None
    unchanged = store.changes(store.revision())
    assert unchanged is not None and len(unchanged.changed) == 0 and len(unchanged.removed) == 0


def test_metadata(open_store: Any) -> None:
    store = open_store()
    assert store.initialise({"fingerprint": "abc", "dimension": "9"})["dimension"] == "4"
    store.set_metadata({"calibration": '{"é": 1}', "fingerprint": "def"})
    other = open_store()
    metadata = other.metadata()
    assert metadata["calibration"] == '{"é": 1}' and metadata["fingerprint"] == "def"
    assert other.initialise({"fingerprint": "xyz"})["fingerprint"] == "def"
    other.set_metadata({"calibration": None, "never": None})
    assert "calibration" not in store.metadata() and store.metadata()["fingerprint"] == "def"


def test_a_batch_is_all_or_nothing(open_store: Any, sample: Any) -> None:
    store = open_store()
    store.add([sample("Ada", 1)])
    revision = store.revision()
    wrong = NewSample("Cy", np.zeros(5, np.float32), 1.0, 0.0)
    with pytest.raises(InputError, match="4"):
        store.add([sample("Bo", 2), wrong])
    assert store.people() == {"Ada": 1} and store.revision() == revision


def test_nothing_to_add(open_store: Any) -> None:
    store = open_store()
    added = store.add([])
    assert len(added) == 0 and added.vectors.shape == (0, 4) and store.revision() == 0


def test_read_only(open_store: Any, sample: Any) -> None:
    store = open_store()
    store.add([sample("Ada", 1)])
    reader = open_store(read_only=True)
    assert reader.read_only and not store.read_only
    assert reader.people() == {"Ada": 1} and len(reader.load()) == 1
    for change in (
        lambda: reader.add([sample("Bo", 2)]),
        lambda: reader.remove("Ada"),
        lambda: reader.rename("Ada", "Bo"),
        lambda: reader.set_metadata({"calibration": "1"}),
    ):
        with pytest.raises(OutputError, match="read"):
            change()
    assert store.people() == {"Ada": 1}
    store.add([sample("Bo", 2)])
    assert reader.people() == {"Ada": 1, "Bo": 1}


def test_two_writers_at_once_both_succeed(open_store: Any, sample: Any) -> None:
    stores = [open_store(), open_store()]
    failed: list[BaseException] = []

    def work(which: int) -> None:
        try:
            for number in range(15):
                stores[which].add([sample(f"writer {which}", number), sample("both", number)])
        except EdgecvError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert stores[0].people() == {"writer 0": 15, "writer 1": 15, "both": 30}
    assert len(set(stores[1].load().ids.tolist())) == 60


def test_close_twice_and_location(open_store: Any) -> None:
    store = open_store()
    assert store.location
    store.close()
    store.close()
    with pytest.raises(EdgecvError):
        store.people()
