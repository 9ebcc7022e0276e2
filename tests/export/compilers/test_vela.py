"""Arm Vela."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv_export.compatibility import place
from edgecv_export.compilers.vela import CONFIGURATIONS, Options, compile_model, placement
from edgecv_export.compilers.vela_memory import predict_arena, predict_sram
from edgecv_export.tflite_graph import read_graph
from edgecv_runtime.errors import BackendError, InputError, MissingPackageError
from edgecv_targets import load_accelerator

pytest.importorskip("ethosu")

WHOLE = ("mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "ssdlite_mobilenet_v2", "unet_same")

DATABASE = """<?xml version='1.0' encoding='UTF-8'?>
<debug source="x">
<table name="source">
<![CDATA[
"id","operator","ext_key"
1,"Conv2D",0
2,"Sin",1
3,"Reshape",2
]]>
</table>
<table name="perf">
<![CDATA[
"id","source_id","operator"
9,1,"Conv2D"
10,1,"Relu"
11,2,"Passthrough"
]]>
</table>
</debug>
"""


def test_placement_is_read_from_the_database() -> None:
    assert placement(DATABASE) == ((0, 2), (1,))


@pytest.mark.parametrize("configuration", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-256"])
def test_mobilenet_runs_on_the_npu_as_foretold(made: Callable[..., Any], configuration: str) -> None:
    content = made("mobilenet", "tflite", "int8").bundle.artefact().model
    graph, options = read_graph(content), Options(configuration)
    compiled = compile_model(content, options)
    assert compiled.npu_share >= 0.95
    table = load_accelerator("ethos-u85" if "u85" in configuration else "ethos-u55")
    foretold = {operator.index for operator in place(graph, table) if operator.where != "accelerator"}
    assert set(compiled.on_cpu) == foretold
    assert predict_sram(graph, options, foretold) == pytest.approx(compiled.sram_bytes, rel=0.1)
    # Vela counts the padded windows and its own pooling too.
    assert compiled.macs == pytest.approx(graph.macs, rel=0.05)
    assert b"ethos-u" in compiled.model
    assert compiled.milliseconds > 0
    assert compiled.cycles >= compiled.npu_cycles > 0


def test_report_leaves_the_model_out(made: Callable[..., Any]) -> None:
    content = made("lenet", "tflite", "int8").bundle.artefact().model
    compiled = compile_model(content, Options("ethos-u55-32"))
    report = compiled.to_dict()
    assert "model" not in report
    assert report["options"]["configuration"] == "ethos-u55-32"
    assert report["size"] == len(compiled.model)
    assert (compiled.dram_bytes, compiled.on_cpu) == (0, ())


def test_more_multipliers_take_fewer_cycles(made: Callable[..., Any]) -> None:
    content = made("mobilenet", "tflite", "int8").bundle.artefact().model
    cycles = [compile_model(content, Options(f"ethos-u55-{size}")).npu_cycles for size in (32, 256)]
    assert cycles[0] > 2 * cycles[1]


def test_bad_options() -> None:
    with pytest.raises(InputError, match="one of ethos-u55-32, .* received 'ethos-u77'"):
        Options("ethos-u77")
    with pytest.raises(InputError, match="Performance or Size"):
        Options("ethos-u55-32", optimise="Both")
    assert {Options(name).family for name in CONFIGURATIONS} == {"u55", "u65", "u85"}


def test_what_vela_refuses() -> None:
    with pytest.raises(BackendError, match="vela refuses the model: "):
        compile_model(b"no model", Options("ethos-u55-128"))


def test_without_vela(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv_export.compilers.vela.is_installed", lambda: False)
    with pytest.raises(MissingPackageError, match="pip install 'edgecv-export\\[npu\\]'"):
        compile_model(b"", Options("ethos-u55-128"))


def test_a_cache_is_the_most_that_is_taken(made: Callable[..., Any]) -> None:
    graph = read_graph(made("mobilenet", "tflite", "int8").bundle.artefact().model)
    shared = predict_sram(graph, Options("ethos-u65-256", memory_mode="Shared_Sram"))
    assert predict_sram(graph, Options("ethos-u65-256", arena_cache_size=1000)) == 1000
    assert predict_sram(graph, Options("ethos-u65-256", memory_mode="Dedicated_Sram_512KB")) == min(shared, 512 * 1024)


def test_what_is_only_joined_is_written_to_its_part_of_the_whole(tflite_file: Callable[..., bytes]) -> None:
    """By hand: a short cut around two operators, joined with their result, which has no place of its own.

    While the second runs, there are the short cut (8·8·16 = 1024 bytes), what it reads (256) and the whole (2048).
    """
    shapes = {"x": (8, 8, 16), "skip": (8, 8, 16), "deep": (4, 4, 16), "more": (8, 8, 16), "whole": (8, 8, 32)}
    tensors = {name: {"shape": (1, *shape)} for name, shape in (shapes | {"y": (1, 1, 16)}).items()}
    joined = ("CONCATENATION", ["skip", "more"], ["whole"], "ConcatenationOptions", {"axis": 3})
    chain = [("x", "skip"), ("skip", "deep"), ("deep", "more"), ("whole", "y")]
    operators = [("RELU", [given], [made], None, {}) for given, made in chain]
    operators.insert(3, joined)
    assert predict_arena(read_graph(tflite_file(tensors, operators, ["x"], ["y"]))) == 1024 + 256 + 2048


Convolutions = Callable[[int], bytes]


@pytest.fixture
def convolutions(tflite_file: Callable[..., bytes]) -> Convolutions:
    """So many convolutions of 3×3 in a row, each from 64×64×16 to 64×64×16."""

    def make(count: int) -> bytes:
        generator = np.random.default_rng(0)
        tensors: dict[str, Any] = {"m0": {"shape": (1, 64, 64, 16), "scale": 0.1}}
        operators: list[Any] = []
        options = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        for number in range(1, count + 1):
            weights = generator.integers(-127, 128, (16, 3, 3, 16), np.int8)
            tensors[f"w{number}"] = {"shape": weights.shape, "values": weights, "scale": np.full(16, 0.01)}
            bias = np.zeros(16, np.int32)
            tensors[f"b{number}"] = {"shape": (16,), "dtype": "int32", "values": bias, "scale": np.full(16, 0.001)}
            tensors[f"m{number}"] = {"shape": (1, 64, 64, 16), "scale": 0.1}
            given = [f"m{number - 1}", f"w{number}", f"b{number}"]
            operators.append(("CONV_2D", given, [f"m{number}"], "Conv2DOptions", options))
        return tflite_file(tensors, operators, ["m0"], [f"m{count}"])

    return make


WEIGHTS = 16 * 3 * 3 * 16 + 10 * 16  # of one of them, with what rescales its results
MAP = 64 * 64 * 16


@pytest.mark.parametrize(
    ("count", "cache", "expected"),
    [
        # Input and output lie outside. The map between fits, with the weights of both that touch it.
        (2, 150_000, MAP + 2 * WEIGHTS),
        # An operator's maps do not fit together: a cascade with strips of 20 rows, for each of which 22 are read and
        # twice as many kept; or of 10 rows where there is less.
        (3, 100_000, 2 * (22 + 22) * 64 * 16 + 3 * WEIGHTS),
        (3, 60_000, 2 * (12 + 12) * 64 * 16 + 3 * WEIGHTS),
        # Strips are half as high as the map at most.
        (2, 120_000, 2 * 34 * 64 * 16 + 2 * WEIGHTS),
    ],
)
def test_a_cache_by_hand_and_by_vela(convolutions: Convolutions, count: int, cache: int, expected: int) -> None:
    content = convolutions(count)
    options = Options("ethos-u65-256", arena_cache_size=cache)
    told = predict_sram(read_graph(content), options)
    assert told == expected
    assert told == pytest.approx(compile_model(content, options).sram_bytes, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u85-256"])
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1",
        "mobilenet_v1 alpha=0.25",
        "mobilenet_v2",
        "efficientnet_lite0",
        "ssdlite_mobilenet_v2",
        "unet_same",
        "unet_same filters=8",
    ],
)
def test_whole_models_run_on_the_npu_as_foretold(
    int8_at_224: Callable[[str], bytes], name: str, configuration: str
) -> None:
    content, options = int8_at_224(name), Options(configuration)
    graph, compiled = read_graph(content), compile_model(content, options)
    assert compiled.npu_share >= 0.95
    table = load_accelerator("ethos-u85" if "u85" in configuration else "ethos-u55")
    foretold = {operator.index for operator in place(graph, table) if operator.where != "accelerator"}
    assert set(compiled.on_cpu) == foretold
    assert predict_sram(graph, options, foretold) == pytest.approx(compiled.sram_bytes, rel=0.1)


@pytest.fixture(scope="module")
def int8_at_224() -> Callable[[str], bytes]:
    """The artefact of a registered model at its own size, with random weights."""

    @functools.cache
    def make(name: str) -> bytes:
        from edgecv.models.factory import create_model
        from edgecv_export.calibration import contract_pictures
        from edgecv_export.plan import Plan
        from edgecv_export.sources import source_of

        model, *chosen = name.split()
        options = {
            key: float(value) if "." in value else int(value) for key, value in (one.split("=") for one in chosen)
        }
        source = source_of(create_model(model, **options))
        return source.convert(Plan("tflite", "int8"), source.pixels(contract_pictures(source.size, 2)), None).model

    return make
