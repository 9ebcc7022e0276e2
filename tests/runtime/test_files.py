"""Files that are there or not, and those of a kind in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecv_runtime.errors import InputError, MissingFileError
from edgecv_runtime.files import existing_file, existing_folder, files_below, list_files

SUFFIXES = frozenset({".a", ".b"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep.a").mkdir()  # a folder, whatever it is called
    for name in ("z.a", "m.B", "deep.a/k.b", "deep.a/l.c", "note.txt"):
        (tmp_path / name).write_text("")
    return tmp_path


def test_those_of_a_kind_are_sorted(folder: Path) -> None:
    wanted = [folder / "deep.a" / "k.b", folder / "m.B", folder / "z.a"]
    assert files_below(folder, SUFFIXES) == list_files(str(folder), SUFFIXES, "letter") == wanted
    assert files_below(folder, {".d"}) == []


def test_what_is_not_there(folder: Path) -> None:
    assert existing_file(str(folder / "z.a"), "letter") == folder / "z.a"
    assert existing_folder(str(folder)) == folder
    for path, hint in ((folder / "none.a", ""), (folder / "deep.a", " (it is a folder)")):
        with pytest.raises(MissingFileError) as caught:
            existing_file(path, "letter")
        assert str(caught.value) == f"no letter at {path}{hint}"
    for path in (folder / "none", folder / "z.a"):
        with pytest.raises(MissingFileError) as caught:
            list_files(path, SUFFIXES, "letter")
        assert str(caught.value) == f"no folder at {path}"
    with pytest.raises(InputError) as refused:
        list_files(folder, {".y", ".x"}, "letter")
    assert str(refused.value) == f"{folder} holds no letter (.x, .y)"
