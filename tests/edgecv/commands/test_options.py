"""Model options on the command line."""

from __future__ import annotations

import argparse

import pytest

from edgecv.commands.options import add_model_options, collect_model_options, refuse_model_options
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("model", "words", "expected"),
    [
        ("mobilenet_v1", (), {}),
        ("mobilenet_v1", ("--alpha", "0.25"), {"alpha": 0.25}),
        ("mobilenet_v1", ("--input-size", "160", "--classes", "5"), {"input_shape": (160, 160, 3), "classes": 5}),
        ("mobilenet_v2", ("--input-size", "96x128"), {"input_shape": (96, 128, 3)}),
        ("efficientnet", ("--phi", "2"), {"phi": 2.0}),
        ("lenet5", ("--input-size", "28"), {"input_shape": (28, 28, 1)}),
        ("signal_fcn", ("--input-size", "200", "--input-channels", "3"), {"input_shape": (200, 3)}),
        ("signal_fcn", ("--input-channels", "6"), {"input_shape": (128, 6)}),
        ("voxnet", ("--input-size", "24x20"), {"input_shape": (32, 24, 20, 1)}),
        ("voxnet", ("--input-depth", "16", "--input-channels", "2"), {"input_shape": (16, 32, 32, 2)}),
    ],
)
def test_collects_what_was_given(model: str, words: tuple[str, ...], expected: dict) -> None:
    assert collect_model_options(parse(*words), get_record(model)) == expected


@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        ("mobilenet_v2", ("--phi", "2"), "mobilenet_v2 has no option 'phi': it has alpha"),
        ("efficientnet_b0", ("--alpha", "0.5"), "efficientnet_b0 has no option 'alpha': it has none"),
        ("mobilenet_v1", ("--alpha", "40"), r"mobilenet_v1: alpha must be a number in \[0.1, 4\]; received 40.0"),
        ("mobilenet_v1", ("--alpha", "nan"), "alpha must be a number"),
        ("mobilenet_v1", ("--input-size", "16"), "the input must be at least 32x32 pixels; received 16x16"),
        ("mobilenet_v1", ("--classes", "0"), "classes must be at least 1; received 0"),
        (
            "mobilenet_v1",
            ("--input-channels", "1"),
            "--input-channels is of signals and volumes; mobilenet_v1 takes RGB",
        ),
        ("signal_fcn", ("--input-depth", "4"), "--input-depth is of volumes and clips; signal_fcn takes none"),
        ("signal_fcn", ("--input-channels", "0"), "signal_fcn: channels must be at least 1; received 0"),
        ("mobilefacenet", ("--classes", "5"), r"ends in no classes \(task embedding\); received --classes 5"),
    ],
)
def test_refuses_what_does_not_apply(model: str, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        collect_model_options(parse(*words), get_record(model))


@pytest.mark.parametrize("text", ["0", "-3", "abc", "1x2x3", "12.5", "x", "²"])
def test_sizes_that_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(f"--input-size={text}")
    assert caught.value.code == 2
    assert "must be N or HEIGHTxWIDTH in pixels" in capsys.readouterr().err


def test_built_models_take_no_options() -> None:
    refuse_model_options(parse(), "a.edgecv")
    with pytest.raises(InputError, match=r"a\.edgecv is built already: --alpha, --input-size cannot change it"):
        refuse_model_options(parse("--alpha", "1", "--input-size", "96"), "a.edgecv")
