"""The complexity table of the EfficientNet paper beside ours: parameters and multiply-adds of every network in it.

    python benchmarks/architectures.py [--models M ...] [--json FILE] [--markdown FILE]

Tan & Le 2019 (arXiv:1905.11946), table 2. Networks are built as graphs without weights, one at a time: no memory is
taken. Multiply-adds are those of convolutions and dense layers for one picture. Some papers count the moving averages
of batch normalisation among the parameters and some do not: both counts are given, and one of them has to round to the
paper's. Where ours does not, the last column says why.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _common
from _results import write_markdown

import edgecv
from edgecv.complexity import complexity
from edgecv.layers.graph import without_weights
from edgecv_runtime.cli.output import table


@dataclass(frozen=True)
class Entry:
    """A row of the paper's table.

    Attributes
    ----------
    title : str
    parameters, macs : str
        Millions and billions, with the paper's digits; ``macs`` is empty where it gives none.
    model : str
        Of `edgecv.list_models`; empty where the row is only quoted.
    size : int
        Input side, pixels; 0 takes the model's own.
    options : dict
    note : str
        What explains a difference.
    """

    title: str
    parameters: str
    macs: str
    model: str = ""
    size: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""


_COUNTED = "torchvision states the same {} B for this width, depth and size; the paper's figure is from another count"

ENTRIES = (
    Entry("EfficientNet-B0", "5.3", "0.39", "efficientnet_b0"),
    Entry(
        "ResNet-50",
        "26",
        "4.1",
        "resnet50",
        options={"halve_at": "3x3"},
        note="v1.5, with the stride in the 3x3 convolution; with the stride in the first 1x1, as published, 3.86 B",
    ),
    Entry("DenseNet-169", "14", "3.5", "densenet169", note=_COUNTED.format("3.36")),
    Entry("EfficientNet-B1", "7.8", "0.70", "efficientnet_b1", note=_COUNTED.format("0.69")),
    Entry("ResNet-152", "60", "11", "resnet152"),
    Entry(
        "DenseNet-264",
        "34",
        "6.0",
        "densenet264",
        note="4 % below the paper's figure, as DenseNet-169 is; normalisations would add 0.03 B",
    ),
    Entry("Inception-v3", "24", "5.7", "inception_v3"),
    Entry("Xception", "23", "8.4", "xception"),
    Entry("EfficientNet-B2", "9.2", "1.0", "efficientnet_b2"),
    Entry(
        "Inception-v4",
        "48",
        "13",
        "inception_v4",
        note="its figures 3 to 9 add up to 42.7 M and 12.25 B, as in other implementations; 48 M is a figure from "
        "before them (Zoph et al. 2018, table 2)",
    ),
    Entry("Inception-ResNet-v2", "56", "13", "inception_resnet_v2"),
    Entry("EfficientNet-B3", "12", "1.8", "efficientnet_b3"),
    Entry("ResNeXt-101", "84", "32", "resnext101", 320, {"cardinality": 64}),
    Entry(
        "PolyNet",
        "92",
        "35",
        "polynet",
        note="the network whose weights are published has 95.37 M, these; 92 M is the table's",
    ),
    Entry("EfficientNet-B4", "19", "4.2", "efficientnet_b4", note=_COUNTED.format("4.39")),
    Entry(
        "SENet",
        "146",
        "42",
        "senet154",
        320,
        note="SENet-154 as released has 115.09 M, these; 145.8 M is a figure from before its release; first "
        "convolutions of full width would make 143.7 M",
    ),
    Entry("NASNet-A", "89", "24", "nasnet_large"),
    Entry("AmoebaNet-A", "87", "23", "amoebanet_a"),
    Entry("PNASNet", "86", "23", "pnasnet5", note="its own paper has 25.0 B (Liu et al. 2018, table 5)"),
    Entry("EfficientNet-B5", "30", "9.9", "efficientnet_b5", note=_COUNTED.format("10.27")),
    Entry("AmoebaNet-C", "155", "41", "amoebanet_c"),
    Entry("EfficientNet-B6", "43", "19", "efficientnet_b6"),
    Entry("EfficientNet-B7", "66", "37", "efficientnet_b7", note=_COUNTED.format("37.75")),
    Entry("GPipe", "557", "", note="quoted: its authors give a count and no description to build it from"),
)


@dataclass(frozen=True)
class Measured:
    """A row with our figures beside the paper's.

    Attributes
    ----------
    title, model : str
    input_size : int or None
    paper_parameters, paper_macs : str
    trainable, parameters, macs : int or None
        None where the row is only quoted.
    parameters_agree, macs_agree : bool or None
        Whether ours rounds to the paper's digits.
    note : str
    """

    title: str
    model: str
    input_size: int | None
    paper_parameters: str
    paper_macs: str
    trainable: int | None
    parameters: int | None
    macs: int | None
    parameters_agree: bool | None
    macs_agree: bool | None
    note: str

    @property
    def explained(self) -> bool:
        """Whether it agrees with the paper, or says why not."""
        return bool(self.note) or (self.parameters_agree is not False and self.macs_agree is not False)


def rounds_to(value: float, quoted: str) -> bool:
    """Whether a value is the quoted one to the quoted digits, give or take one thousandth of the last digit.

    Examples
    --------
    >>> rounds_to(5.288, "5.3"), rounds_to(34.49, "34"), rounds_to(34.6, "34")
    (True, True, False)
    """
    exponent = Decimal(quoted).as_tuple().exponent
    unit = 10.0 ** int(exponent)
    return abs(value - float(quoted)) <= 0.501 * unit


def measure(entry: Entry) -> Measured:
    """Build the row's network without weights and count."""
    import keras

    if not entry.model:
        return Measured(entry.title, "", None, entry.parameters, entry.macs, *[None] * 5, entry.note)
    keras.utils.clear_session()
    shape = (entry.size, entry.size, 3) if entry.size else None
    with without_weights():
        model = edgecv.create_model(entry.model, shape, **entry.options)
    cost = complexity(model)
    counts = (cost.trainable_parameters, cost.parameters)
    return Measured(
        title=entry.title,
        model=entry.model,
        input_size=model.input_shape[1],
        paper_parameters=entry.parameters,
        paper_macs=entry.macs,
        trainable=cost.trainable_parameters,
        parameters=cost.parameters,
        macs=cost.macs,
        parameters_agree=any(rounds_to(count / 1e6, entry.parameters) for count in counts),
        macs_agree=rounds_to(cost.macs / 1e9, entry.macs),
        note=entry.note,
    )


_VERSIONS = ("edgecv", "keras", "tensorflow-cpu")
_HEADER = ("network", "pixels", "paper M", "ours M", "with averages", "paper B", "ours B", "agrees", "note")


def cells(row: Measured) -> tuple[str, ...]:
    """A row as text."""
    if row.trainable is None or row.parameters is None or row.macs is None:
        return (row.title, "", row.paper_parameters, "", "", row.paper_macs, "", "", row.note)
    agrees = "yes" if row.parameters_agree and row.macs_agree else "explained" if row.explained else "NO"
    return (
        row.title,
        str(row.input_size),
        row.paper_parameters,
        f"{row.trainable / 1e6:.2f}",
        f"{row.parameters / 1e6:.2f}",
        row.paper_macs,
        f"{row.macs / 1e9:.2f}",
        agrees,
        row.note,
    )


def write_page(path: Path, rows: Sequence[Measured]) -> None:
    """The table in Markdown."""
    agreeing = sum(bool(row.parameters_agree and row.macs_agree) for row in rows)
    built = sum(bool(row.model) for row in rows)
    text = (
        "`python benchmarks/architectures.py`: Tan & Le 2019 (arXiv:1905.11946), table 2, beside the networks built "
        'here. Millions of parameters (trainable, and "with averages" those of batch normalisation too) and billions '
        f"of multiply-adds of convolutions and dense layers. {agreeing} of {built} round to the paper's digits; of "
        "each other one the note says why."
    )
    write_markdown(path, "Parameters and multiply-adds", [text], _HEADER, [cells(row) for row in rows], _VERSIONS)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    titles = [entry.title for entry in ENTRIES]
    parser.add_argument("--models", nargs="+", choices=titles, default=titles, metavar="M", help=", ".join(titles))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown, too")
    options = parser.parse_args(arguments)
    rows = []
    for entry in ENTRIES:
        if entry.title in options.models:
            print(f"building {entry.title} …", file=sys.stderr, flush=True)
            rows.append(measure(entry))
    print(table(_HEADER, [cells(row) for row in rows]))
    _common.write_json(options.json, {"rows": [asdict(row) for row in rows]})
    if options.markdown is not None:
        write_page(options.markdown, rows)
    return 0 if all(row.explained for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
