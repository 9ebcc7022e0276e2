from __future__ import annotations

import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.gallery.names import NameTable, check_name


@pytest.mark.parametrize(
    "name", ["A", "O'Brien", 'the "first"', "x'); DROP TABLE people; --", "👩‍🔬", "Zoë", "名前", "a/b\\c", "a" * 256]
)
def test_names_that_are_taken(name: str) -> None:
    assert check_name(name) == name


def test_composed_and_decomposed_letters_are_one_name() -> None:
    assert check_name("e\u0301") == "\u00e9" == check_name("\u00e9")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "1 to 256 characters; received 0"),
        ("a" * 257, "1 to 256 characters; received 257"),
        ("x" * 10_000, "received 10,000"),
        ("two\nlines", "U\\+000A"),
        ("nul\0", "U\\+0000"),
        ("tab\t", "U\\+0009"),
        ("escape\x1b[31m", "U\\+001B"),
        ("line\u2028separator", "U\\+2028"),
        ("turned\u202eadA", "U\\+202E"),
        ("half \ud83d", "U\\+D83D"),
        (" Ada", "begin or end with white space"),
        ("Ada ", "begin or end with white space"),
        (None, "must be a string; received NoneType"),
        (b"Ada", "must be a string; received bytes"),
        ("\ufb2c" * 100, "received 300"),  # a Hebrew letter whose normal form is three characters
    ],
)
def test_names_that_are_refused(name: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_name(name)
    assert "\n" not in str(caught.value)


def test_table_is_a_list_of_names() -> None:
    names = ["Ada", "名前", "", "Bo", "👩‍🔬"]
    table = NameTable(names)
    assert list(table) == names and table[1:3] == names[1:3] and table[-1] == "👩‍🔬" and len(table) == 5
    assert [table.find(name) for name in ("Ada", "Bo", "名前", "Cy", "")] == [0, 3, 1, -1, -1]
    table.extend(["Cy", "Dee"])
    table.set(0, "Adelaide")
    table.set(3, "")
    assert list(table) == ["Adelaide", "名前", "", "", "👩‍🔬", "Cy", "Dee"]
    assert table.find("Bo") == -1 and table.find("Dee") == 6
    with pytest.raises(IndexError):
        table[7]


def test_many_are_found_at_once() -> None:
    names = [f"person {index}" for index in range(1000)]
    table = NameTable(names)
    wanted = [*names[::10], "nobody"]
    assert table.find_all(wanted) == [*range(0, 1000, 10), -1]
    assert table.find_all(["nobody", "person 7"]) == [-1, 7]
    assert table.nbytes < 1000 * 25
