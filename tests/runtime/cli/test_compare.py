from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgecv_runtime.images import read_image


@pytest.fixture
def other(tiny: Any, tmp_path: Path) -> Path:
    """It answers with made-up numbers only where the back end is the mock; here it is the same model in TFLite."""
    path: Path = tiny.write(tmp_path / "other.edgecv", "tflite")
    return path


def test_two_that_agree(edgecv: Any, bundle: Path, other: Path, pictures: Path, tmp_path: Path) -> None:
    outcome = edgecv("compare", bundle, other, "--data", pictures, "--runs", 2, "--pictures", tmp_path / "sheets")
    assert outcome.status == 0 and outcome.err == ""
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"A  {bundle}: <Model tiny") and lines[1].startswith(f"B  {other}: <Model tiny")
    assert lines[2:6] == [
        "agreement  100.00 % (3 of 3 images)",
        "scores     mean |Δ| 0, max |Δ| 0",
        # (½ + ½) / 5 under the root: ± 1.96 / 5
        "top-1      A 33.33 %, B 33.33 %: +0.00 points (95 % interval -39.20 to +39.20)",
        "           B alone is right on 0, A alone on 0: p = 1 (noise would explain it; exact McNemar test)",
    ]
    assert lines[6].startswith("latency    ") and "B takes" in lines[6]
    assert lines[7].startswith("size       ") and "B is" in lines[7]
    assert lines[8:] == [f"pictures   {tmp_path / 'sheets' / 'disagreements.png'}"]
    assert read_image(tmp_path / "sheets" / "disagreements.png").shape == (42, 768, 3)  # a title and no picture


def test_two_that_differ(edgecv: Any, tiny: Any, bundle: Path, pictures: Path, tmp_path: Path) -> None:
    """The total of all pixels as the score of one class: the other model then names it for each picture."""
    import numpy as np

    from edgecv_runtime.artefact import Artefact

    bias = tiny.reference.bias.astype(np.float32)
    shifted = bias + np.array([0, 0, 0, 1e6], np.float32)
    content = tiny.onnx(tiny.manifest("onnx").to_json()).replace(bias.tobytes(), shifted.tobytes())
    path = tiny.write(tmp_path / "b.edgecv", artefact=Artefact("onnx", content))
    best = [int(tiny.reference.scores(tiny.image(seed)).argmax()) for seed in range(3)]
    truth = [best[0], (best[1] + 1) % 4, (best[2] + 1) % 4]  # as the folder has it
    arguments = ("compare", bundle, path, "--data", pictures, "--runs", 1, "--pictures", tmp_path)
    lines = edgecv(*arguments).out.splitlines()
    differ = [seed for seed in range(3) if best[seed] != 3]
    assert differ
    head = next(index for index, line in enumerate(lines) if line.startswith("image "))
    assert lines[head].split() == ["image", "truth", "A", "says", "B", "says", "right"]
    rows = {line.split()[0]: line.split() for line in lines[head + 2 : -1]}
    assert set(rows) == {f"{seed}.png" for seed in differ}
    for seed in differ:
        right = "A" if best[seed] == truth[seed] else "B" if truth[seed] == 3 else "neither"
        row = rows[f"{seed}.png"]
        assert row[1:3] == [tiny.labels[truth[seed]], tiny.labels[best[seed]]]
        assert row[4] == "dog" and row[-1] == right
    answer = json.loads(edgecv(*arguments, "--json").out)
    assert answer["agreement"] == pytest.approx(1 - len(differ) / 3)
    assert [Path(item["path"]).name for item in answer["disagreements"]] == sorted(
        (f"{seed}.png" for seed in differ), key=lambda name: tiny.labels[truth[int(name[0])]]
    )
    assert answer["pictures"] == str(tmp_path / "disagreements.png")
    columns = max(3, len(differ))
    # Four lines of caption: name, truth, A and B.
    assert read_image(tmp_path / "disagreements.png").shape == (42 + 240 + 4 * 18 + 24, 12 + columns * 252, 3)


def test_without_labels(edgecv: Any, bundle: Path, other: Path, picture: Path) -> None:
    outcome = edgecv("compare", bundle, other, "--data", picture.parent, "--runs", 1)
    assert outcome.status == 0 and "top-1" not in outcome.out and "agreement  100.00 % (1 of 1 images)" in outcome.out


def test_bad_requests(edgecv: Any, bundle: Path, other: Path, pictures: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([bundle, other, "--data", tmp_path / "none"], f"edgecv compare: no folder at {tmp_path / 'none'}"),
        ([bundle, tmp_path / "none.edgecv", "--data", pictures], "edgecv compare: no bundle at"),
        ([bundle, other, "--data", pictures, "--kernels", "fast"], "back end 'litert' has precise kernels"),
        ([bundle, other, "--data", pictures, "--kernels", "slow"], "kernels must be one of auto, fast, precise"),
        ([bundle, other, "--data", pictures, "--runs", 0], "runs must be at least 1"),
        ([bundle, other], "edgecv compare: the following arguments are required: --data"),
    ):
        outcome = edgecv("compare", *arguments)
        assert outcome.status == 2 and message in outcome.error
    blocked = tmp_path / "file"
    blocked.write_text("")
    outcome = edgecv("compare", bundle, other, "--data", pictures, "--runs", 1, "--pictures", blocked)
    assert outcome.status == 2 and f"cannot make the folder {blocked}" in outcome.error
