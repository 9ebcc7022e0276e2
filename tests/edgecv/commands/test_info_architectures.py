"""``edgecv info`` on networks of other shapes: large ones without their memory, signals, volumes."""

from __future__ import annotations

import argparse
import json
import tracemalloc

import pytest

from edgecv.commands.info import INFO
from edgecv.commands.options import collect_model_options
from edgecv.models.registry import get_record
from edgecv_runtime.errors import InputError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    INFO.configure(parser)
    return parser.parse_args(words)


def facts(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert INFO.run(parse(*words, "--json")) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


def test_vgg_without_its_half_gigabyte(capsys: pytest.CaptureFixture[str]) -> None:
    tracemalloc.start()
    found = facts(capsys, "vgg16")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6  # the weights alone are 553 MB
    assert found["weight_bytes"]["fp32"] == 553_430_176
    assert found["macs"] == 15_470_264_320
    assert found["receptive_field"]["size"] == [212.0, 212.0]  # Araujo, Norris, Sim 2019, their table of networks
    assert found["receptive_field"]["stride"] == [32.0, 32.0]


def test_signals_have_one_length(capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "signal_fcn", "--input-size", "64")
    assert found["input_shape"] == [64, 1]
    assert found["macs"] == 64 * (8 * 128 + 5 * 128 * 256 + 3 * 256 * 128) + 128 * 10
    assert found["receptive_field"]["size"] == [14.0]  # 8 + 4 + 2
    with pytest.raises(InputError, match="takes signals of one length: --input-size N; received 32x64"):
        collect_model_options(parse("signal_fcn", "--input-size", "32x64"), get_record("signal_fcn"))


def test_volumes_keep_their_depth(capsys: pytest.CaptureFixture[str]) -> None:
    found = facts(capsys, "voxnet", "--input-size", "24x20")
    assert found["input_shape"] == [32, 24, 20, 1]
    # 14 · 10 · 8 and 12 · 8 · 6 positions, and 6 · 4 · 3 behind the pooling.
    assert found["macs"] == 1120 * 125 * 32 + 576 * 27 * 32 * 32 + 72 * 32 * 128 + 128 * 40


def test_options_shape_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (facts(capsys, "alexnet", "--towers", str(count)) for count in (1, 2))
    assert one["parameters"] - two["parameters"] == 62_378_344 - 60_965_224
    assert one["options"] == {"dense_width": 4096, "towers": 1}
