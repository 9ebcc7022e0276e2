"""Several inferences at a time of one loaded model."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import edgecv_runtime as ert
from edgecv_runtime import cpu
from edgecv_runtime.backends import Backend, open_backend
from edgecv_runtime.errors import BackendError
from edgecv_runtime.pipeline import Pipeline

Check = Callable[[pytest.ExceptionInfo[Any]], str]


@pytest.fixture
def openvino(tiny: Any) -> Any:
    pytest.importorskip("openvino")
    with open_backend(tiny.artefact("openvino"), manifest=tiny.manifest("openvino"), threads=1) as backend:
        yield backend


def answer(backend: Backend, tiny: Any, number: int) -> np.ndarray:
    return backend.infer([tiny.image(number)[None]])[0][0]


def test_each_request_answers_its_own_question(openvino: Backend, tiny: Any) -> None:
    """Four threads at once, fifty questions each; the answers are those of the reference in numpy."""
    further = openvino.requests(3)
    assert further is not None and len(further) == 3
    everyone = [openvino, *further]

    def ask(place: int) -> list[np.ndarray]:
        return [answer(everyone[place], tiny, 4 * k + place) for k in range(50)]

    with ThreadPoolExecutor(4) as pool:
        for place, answers in enumerate(pool.map(ask, range(4))):
            for k, scores in enumerate(answers):
                np.testing.assert_allclose(
                    scores, tiny.reference.scores(tiny.image(4 * k + place)), rtol=1e-4, atol=1e-4
                )
    for one in further:
        one.close()


def test_they_are_requests_of_one_compiled_model(openvino: Any, tiny: Any) -> None:
    further = openvino.requests(1)
    assert all(one._compiled is openvino._compiled for one in further)
    assert len({id(one._request) for one in (openvino, *further)}) == 2
    # One thread each, as it was loaded: two streams, where the CPU has two cores.
    cores = min(2, cpu.available_cores())
    assert [openvino._compiled.get_property(name) for name in ("NUM_STREAMS", "INFERENCE_NUM_THREADS")] == [cores] * 2
    openvino.close()
    np.testing.assert_allclose(answer(further[0], tiny, 5), tiny.reference.scores(tiny.image(5)), rtol=1e-4, atol=1e-4)
    further[0].close()
    with pytest.raises(BackendError, match="closed"):
        answer(further[0], tiny, 5)


def test_without_a_number_of_threads_they_share_the_cores(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr("edgecv_runtime.cpu.available_cores", lambda: 2)
    with open_backend(tiny.artefact("openvino"), manifest=tiny.manifest("openvino")) as backend:
        further: Any = backend.requests(3)
        assert further[0]._compiled.get_property("INFERENCE_NUM_THREADS") == 2
        assert further[0]._compiled.get_property("NUM_STREAMS") == 2


def test_a_closed_model_has_no_requests(openvino: Backend, one_line: Check) -> None:
    openvino.close()
    with pytest.raises(BackendError) as caught:
        openvino.requests(1)
    assert "closed" in one_line(caught)


def test_libraries_without_requests_say_so(tiny: Any) -> None:
    with open_backend(tiny.artefact("onnx"), manifest=tiny.manifest("onnx"), backend="mock") as backend:
        assert backend.requests(1) is None


@pytest.mark.parametrize(("format", "shared"), [("openvino", True), ("tflite", False)])
def test_replicas_answer_as_the_model_does(tiny: Any, tmp_path: Any, format: str, shared: bool) -> None:
    pytest.importorskip({"openvino": "openvino", "tflite": "ai_edge_litert"}[format])
    path = tiny.write(tmp_path / "tiny.edgecv", format)
    with ert.load(path, threads=1) as model:
        replicas = model.replicas(2)
        assert model.replicas(0) == []
        assert all((one.backend.__dict__.get("_compiled") is not None) is shared for one in replicas)
        expected = model(tiny.image(3)).scores
        for one in replicas:
            np.testing.assert_allclose(one(tiny.image(3)).scores, expected, rtol=1e-5)
            one.close()
        np.testing.assert_array_equal(model(tiny.image(3)).scores, expected)  # the one they came from goes on


def test_a_pipeline_of_requests_is_in_order_and_complete(tiny: Any, tmp_path: Any) -> None:
    pytest.importorskip("openvino")
    path = tiny.write(tmp_path / "tiny.edgecv", "openvino")
    source = "test://bars?size=64x48&fps=0&frames=60"
    with ert.load(path, threads=1) as model, Pipeline(model, source, policy="every", workers=3) as outcomes:
        found = list(outcomes)
        assert [outcome.frame.index for outcome in found] == list(range(60))
        outcomes.close()
        for outcome in found:
            np.testing.assert_allclose(outcome.result.scores, model(outcome.frame.image).scores, rtol=1e-5)


def test_an_error_in_a_request_reaches_the_caller(tiny: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    path = tiny.write(tmp_path / "tiny.edgecv", "openvino")
    source = "test://bars?size=64x48&fps=0&frames=30"
    with ert.load(path, threads=1) as model, Pipeline(model, source, policy="every", workers=2) as outcomes:
        next(outcomes)
        for one in (model, *outcomes._replicas):
            one.backend.close()
        with pytest.raises(BackendError, match="this openvino model is closed"):
            outcomes.run()
