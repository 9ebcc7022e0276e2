"""``edgecv info``."""

from __future__ import annotations

import argparse
import json

import pytest

from edgecv.commands import info
from edgecv.commands.info import INFO
from edgecv_runtime.errors import InputError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    INFO.configure(parser)
    return INFO.run(parser.parse_args(words))


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("mobilenet_v1", "--alpha", "0.25", "--input-size", "128") == 0
    out = capsys.readouterr().out
    for text in (
        "mobilenet_v1 (alpha 0.25, dropout 0.001): classification, Howard",
        "128×128×3 RGB, output 1000",
        "475,544 (470,072 trainable)",
        "13,570,048",
        "fp32 1,902 kB, fp16 951 kB, int8 476 kB",
        "315×315 pixels, stride 32×32",
    ):
        assert text in out
    assert "conv_pw_13 " in out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lenet5", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "lenet5"
    assert facts["parameters"] == 61_706
    assert facts["macs"] == 416_520
    assert facts["weight_bytes"] == {"fp32": 246_824, "fp16": 123_412, "int8": 61_706}
    assert facts["input_shape"] == [32, 32, 1]
    assert facts["layers"][1]["receptive_field"]["size"] == [5.0, 5.0]


def test_other_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lenet5", "--classes", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["output_shape"] == [2]


def test_bundles_go_to_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(info, "print_bundle_info", lambda path, as_json: asked.append((path, as_json)) or 0)
    assert run("some.edgecv", "--json") == 0
    assert asked == [("some.edgecv", True)]
    with pytest.raises(InputError, match=r"some\.edgecv is built already: --alpha cannot change it"):
        run("some.edgecv", "--alpha", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mobilenet",), "there is no model 'mobilenet': did you mean"),
        (("mobilenet_v2", "--phi", "1"), "mobilenet_v2 has no option 'phi'"),
    ],
)
def test_errors(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*words)


def test_sums_without_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--separable", "6x6x3,3,5", "--transposed", "2,3,2,1", "--bottleneck", "28x28x192,5,32,16") == 0
    out = capsys.readouterr().out
    for figure in ("2,160", "672", "0.3111", "output size                3", "120,422,400", "12,443,648"):
        assert figure in out
    assert run("--separable", "6x6x3,3,5", "--json") == 0
    answer = json.loads(capsys.readouterr().out)["separable"]
    assert answer == {"normal": 2160, "depthwise separable": 672, "ratio 1/N + 1/F²": pytest.approx(14 / 45)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "edgecv info needs a model, a bundle or one of --separable"),
        (("--separable", "6x6,3,5"), "--separable must be HxWxC,F,N in whole numbers; received '6x6,3,5'"),
        (("lenet5", "--transposed", "2,3,2,1"), "--transposed is a sum without a model; received lenet5 too"),
    ],
)
def test_sums_that_cannot_be_done(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(*words)
