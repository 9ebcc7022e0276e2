"""Which figure of a report a budget is about."""

from __future__ import annotations

from edgecv_export.figure import figure
from edgecv_export.report.sections import header, search


def test_by_key() -> None:
    found = figure({"top1": 0.5, "top5": 0.9, "n": 10})
    assert (found.key, found.name, found.value) == ("top1", "top-1", 0.5)
    found = figure({"tar_at_far": 0.97, "far": 0.001, "n": 320})
    assert (found.key, found.name, found.value) == ("tar_at_far", "TAR at FAR 0.001", 0.97)
    assert found.to_dict() == {"tar_at_far": 0.97}
    assert figure({}).value is None and figure({"top1": None, "tar_at_far": 0.0}).key == "tar_at_far"


def test_the_page_speaks_of_it() -> None:
    before = {"tar_at_far": 0.97, "far": 0.001, "n": 320, "genuine": 1120}
    after = {**before, "tar_at_far": 0.95, "agreement": 0.975, "gained": 3, "lost": 25}
    candidates = [
        {"name": "minmax ranges", "top1": None, "note": "refused"},
        {"name": "mse ranges", "tar_at_far": 0.95, "size": 1_000_000, "latency_ms": 2.0, "chosen": True, "met": True},
    ]
    report = {"accuracy": {"float": before, "artefact": after}, "max_drop": 3.0, "search": candidates}
    top = header(report, None)
    assert "TAR at FAR 0.001, float → artefact" in top and "97.00 → " in top and "95.00 %" in top
    assert "-2.00 points" in top.replace("−", "-") and "judged as by the float source" in top
    page = search(report)
    assert "TAR at FAR %" in page and "95.00" in page and "top-1" not in page
