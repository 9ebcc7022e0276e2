"""Records, options, and the errors that help."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edgecv
from edgecv.models import registry
from edgecv.models.registry import ModelRecord, Option, Preprocessing, get_record, list_models, records, register
from edgecv_runtime.errors import InputError
from edgecv_runtime.manifest import Normalization, Resize

NAMES = (
    "efficientnet",
    *(f"efficientnet_b{index}" for index in range(8)),
    *(f"efficientnet_lite{index}" for index in range(5)),
    "lenet5",
    "mobilenet_v1",
    "mobilenet_v2",
)


def test_every_named_model_is_listed_and_sorted() -> None:
    names = edgecv.list_models()
    assert set(NAMES) <= set(names)
    assert list(names) == sorted(names)
    assert set(NAMES) <= set(list_models("classification"))


def test_unknown_task() -> None:
    with pytest.raises(InputError, match=r"task must be one of .*classification.*; received 'cooking'"):
        list_models("cooking")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("mobilnet_v2", "did you mean mobilenet_v2"),
        ("MobileNet-V2", "did you mean mobilenet_v2"),
        ("efficientnetb3", "efficientnet_b3"),
        ("zzz", "there are .*mobilenet_v1"),
    ],
)
def test_unknown_model_lists_close_matches(wrong: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"there is no model {wrong!r}: .*{hint}"):
        get_record(wrong)


@pytest.mark.parametrize("record", records(), ids=lambda record: record.name)
def test_records_are_complete(record: ModelRecord) -> None:
    channels = record.input_shape[-1]
    assert record.builder is not None
    assert record.summary
    assert record.paper.year >= 1998
    assert channels == (1 if record.color == "GRAY" else 3)
    preprocessing = record.preprocessing
    assert len(preprocessing.mean) == len(preprocessing.std) == channels
    Normalization(preprocessing.mean, preprocessing.std)  # the runtime accepts it
    assert isinstance(preprocessing.resize_for(record.input_shape[:2]), Resize)
    assert preprocessing.resize_for(record.input_shape[:2]) == preprocessing.resize
    assert record.weights or record.weights_note
    assert record.parameters > 0 and record.macs is not None and record.macs > 0
    for option in record.options:
        assert option.help
        assert option.check(option.default, record.name) == option.default


def test_options_of_one_name_have_one_type() -> None:
    # They share one flag on the command line.
    types: dict[str, type] = {}
    for record in records():
        for option in record.options:
            assert types.setdefault(option.name, option.type) is option.type


def test_official_weights_are_https_with_real_hashes() -> None:
    files = [weights for record in records() for weights in record.weights]
    assert len({weights.file for weights in files}) == len(files)
    for weights in files:
        assert weights.address.startswith("https://storage.googleapis.com/")
        assert weights.address.endswith(f"/{weights.file}")
        assert weights.md5 is None or re.fullmatch(r"[0-9a-f]{32}", weights.md5)
        assert weights.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", weights.sha256)


def test_official_weights_agree_with_keras_applications() -> None:
    from keras.src.applications import efficientnet, mobilenet, mobilenet_v2

    for variant, hashes in efficientnet.WEIGHTS_HASHES.items():
        for weights in get_record(f"efficientnet_{variant}").weights:
            assert weights.md5 == hashes[0 if weights.include_top else 1]
            assert weights.address.startswith(efficientnet.BASE_WEIGHTS_PATH)
    for name, module, count in (("mobilenet_v1", mobilenet, 32), ("mobilenet_v2", mobilenet_v2, 44)):
        files = get_record(name).weights
        assert len(files) == count
        assert all(weights.address == module.BASE_WEIGHT_PATH + weights.file for weights in files)


def test_classic_crop_is_224_of_256() -> None:
    assert get_record("mobilenet_v1").preprocessing.resize == Resize(mode="crop", crop_fraction=224 / 256)
    assert get_record("efficientnet_b0").preprocessing.resize.crop_fraction == 224 / 256


def test_efficientnet_crop_follows_the_input_size() -> None:
    preprocessing = get_record("efficientnet_b0").preprocessing
    assert preprocessing.resize_for((380, 400)).crop_fraction == 380 / 412
    assert preprocessing.resize_for((380, 400)).interpolation == "cubic"
    assert preprocessing.in_model
    assert not get_record("mobilenet_v1").preprocessing.in_model


@pytest.mark.parametrize("value", [0.05, 5, float("nan"), float("inf"), True, "1", None])
def test_numbers_out_of_bounds_are_refused(value: object) -> None:
    option = Option("alpha", float, 1.0, 0.1, 4.0, "width")
    with pytest.raises(InputError, match=r"^m: alpha must be a number in \[0.1, 4\]; received "):
        option.check(value, "m")


def test_option_kinds() -> None:
    assert Option("phi", float, 0.0, 0.0).check(2, "m") == 2.0
    assert Option("n", int, 3, 1).check(5, "m") == 5
    with pytest.raises(InputError, match=r"m: n must be a whole number at least 1; received 2\.5"):
        Option("n", int, 3, 1).check(2.5, "m")
    with pytest.raises(InputError, match="m: n must be a whole number at most 9; received 10"):
        Option("n", int, 3, maximum=9).check(10, "m")
    with pytest.raises(InputError, match="m: kind must be a string; received 3"):
        Option("kind", str, "a").check(3, "m")


def test_unknown_option_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="mobilenet_v2 has no option 'phi': it has alpha"):
        get_record("mobilenet_v2").check_options({"phi": 1})
    with pytest.raises(InputError, match="efficientnet_b0 has no option 'alpha': it has none"):
        get_record("efficientnet_b0").check_options({"alpha": 1})


def test_a_name_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_RECORDS", dict(registry._RECORDS))
    record = get_record("mobilenet_v1")
    with pytest.raises(InputError, match="a model named 'mobilenet_v1' is registered already"):
        register(record)(lambda: None)


def test_every_family_file_is_known() -> None:
    # A file of models that FAMILIES forgets would never be listed.
    folder = Path(registry.__file__).parent
    calls = re.compile(r"^(@|    return |\w+ = )register\(", re.MULTILINE)
    registering = {path.stem for path in folder.glob("*.py") if calls.search(path.read_text("utf-8"))}
    assert registering == set(registry.FAMILIES)


def test_gray_preprocessing_is_not_in_model() -> None:
    assert not Preprocessing(mean=(0.0,), std=(255.0,), color="GRAY").in_model
