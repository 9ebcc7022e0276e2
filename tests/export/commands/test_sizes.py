"""``edgecv export --sizes``: one network at several input sizes in one bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime.bundle import Bundle
from edgecv_runtime.cli.main import main
from edgecv_runtime.sizes import sizes_of


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sizes", "64"), "--sizes takes two or more, each once; received 64x64"),
        (("--sizes", "64", "48x64", "64x64"), "each once; received 64x64 48x64 64x64"),
        (("--sizes", "64", "48", "--input-size", "32"), "--input-size is for one size"),
        (("--sizes", "64", "48", "--report", "page.html"), "--report is for one size"),
        (("--sizes", "64", "48"), "--sizes needs --weights"),
    ],
)
def test_refused(words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "m.edgecv"
    assert main(["export", "mobilenet_v1", "-o", str(output), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_each_size_is_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same weights at three sizes: the first layer's filters are equal, and every contract is kept."""
    import edgecv

    model = edgecv.create_model("mobilenet_v1", input_shape=(64, 64, 3), classes=10, alpha=0.25)
    model.save_weights(tmp_path / "w.weights.h5")
    output = tmp_path / "m.edgecv"
    words = ["--alpha", "0.25", "--classes", "10", "--weights", str(tmp_path / "w.weights.h5"), "--json"]
    assert main(["export", "mobilenet_v1", "--sizes", "48", "64", "32x64", *words, "-o", str(output)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["sizes"] == ["48x48", "64x64", "32x64"] and answer["bundle"] == str(output)
    assert tuple(sizes_of(Bundle(output))) == ((64, 64), (48, 48), (32, 64))
    verification = ert.verify(output)
    assert verification.passed and sum(check.name.endswith("parity") for check in verification.checks) == 3
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with ert.load(output) as largest, ert.load(output, size=48) as smaller:
        # What the float network says, prepared as it was trained: pixels from -1 to 1.
        expected = np.asarray(model(image[None] / np.float32(127.5) - 1))[0]
        found = largest.outputs(image)[0][0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert smaller.outputs(image)[0][0].shape == found.shape
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.edgecv", "w.weights.h5"]
