from __future__ import annotations

import inspect

import pytest

from edgecv_runtime import errors

BUILTIN = {
    "InputError": ValueError,
    "MissingFileError": FileNotFoundError,
    "OutputError": OSError,
    "MissingPackageError": ImportError,
    "UnsupportedError": ValueError,
    "AcceleratorError": ValueError,
    "BundleError": ValueError,
    "NewerFormatError": ValueError,
    "BackendError": RuntimeError,
    "CheckFailedError": RuntimeError,
}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    classes = {
        name for name, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__
    }
    assert classes == {"EdgecvError", *BUILTIN}
    for name, builtin in BUILTIN.items():
        error = getattr(errors, name)
        assert issubclass(error, errors.EdgecvError) and issubclass(error, builtin)
        assert f"─ {name} " in (errors.__doc__ or "")
    assert issubclass(errors.NewerFormatError, errors.BundleError)
    assert issubclass(errors.AcceleratorError, errors.UnsupportedError)


@pytest.mark.parametrize("name", BUILTIN)
def test_the_message_is_what_str_gives(name: str) -> None:
    assert str(getattr(errors, name)("what is required")) == "what is required"
