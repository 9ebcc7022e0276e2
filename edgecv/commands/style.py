"""``edgecv style CONTENT STYLE -o OUT.png``: one picture painted in the style of another."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import say, say_json
from edgecv_runtime.errors import InputError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("content", metavar="CONTENT", help="the picture to paint")
    parser.add_argument("style", metavar="STYLE", help="the picture to paint like; scaled to cover the other")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.png", help="the picture to write")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="of the optimisation (default: 200)")
    parser.add_argument("--size", type=int, default=384, metavar="N", help="longer side, pixels (default: 384)")
    parser.add_argument(
        "--network", default="mobilenet_v2", metavar="MODEL", help="a classifier of `edgecv models`, as the judge"
    )
    parser.add_argument(
        "--weights", default="imagenet", metavar="FILE|NAME", help="of the network (default: imagenet, the official)"
    )
    parser.add_argument("--content-layers", nargs="+", metavar="L", help="layers in which content is compared")
    parser.add_argument("--style-layers", nargs="+", metavar="L", help="layers in which style is compared")
    parser.add_argument("--content-weight", type=float, metavar="X", help="α (default: 1)")
    parser.add_argument("--style-weight", type=float, metavar="X", help="β (default: 1)")
    parser.add_argument("--variation-weight", type=float, metavar="X", help="of total variation (default: 10)")
    parser.add_argument("--start", default="noise", metavar="S", help="noise or content (default: noise)")
    parser.add_argument("--method", metavar="M", help="l-bfgs or adam (default: l-bfgs where SciPy is installed)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0)")
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    _check(options)
    from edgecv_runtime.contact_sheet import write_picture
    from edgecv_runtime.images import read_image

    content, style = read_image(Path(options.content)), read_image(Path(options.style))
    found, network = _transfer(options, content, style)
    write_picture(Path(options.output), found.image)
    facts = {
        "network": options.network,
        "content_layers": list(network.content_layers),
        "style_layers": list(network.style_layers),
        "size": list(network.size),
        **found.to_dict(),
        "output": options.output,
    }
    if options.json:
        say_json(facts)
    else:
        for part in ("content", "style"):
            say(f"{part} loss {found.start[part]:.4g} → {found.end[part]:.4g}")
        say(f"{facts['steps']} steps of {found.method}; wrote {options.output}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything heavy is loaded."""
    if not options.output.lower().endswith(".png"):
        raise InputError(f"--output must end in .png; received {options.output}")
    for name, least in (("steps", 1), ("size", 32)):
        if getattr(options, name) < least:
            raise InputError(f"--{name} must be at least {least}; received {getattr(options, name)}")


def _transfer(options: argparse.Namespace, content: Any, style: Any) -> tuple[Any, Any]:
    from edgecv.models.factory import create_model
    from edgecv.models.registry import get_record
    from edgecv.style.optimise import transfer_style
    from edgecv.style.perception import PerceptualNetwork, Weights
    from edgecv_runtime.progress import Progress

    record = get_record(options.network)
    if record.task != "classification":
        raise InputError(f"--network must be a classifier; {record.name} is for {record.task}")
    factor = options.size / max(content.shape[:2])
    height, width = (max(record.minimum_size, round(side * factor)) for side in content.shape[:2])
    model = create_model(record.name, (height, width, 3), weights=options.weights)
    network = PerceptualNetwork(model, record.preprocessing, options.content_layers, options.style_layers)
    given = {
        name: value
        for name in ("content", "style", "variation")
        if (value := getattr(options, f"{name}_weight")) is not None
    }
    with Progress(options.steps, "painting", "steps") as bar:
        found = transfer_style(
            network,
            content,
            style,
            steps=options.steps,
            weights=Weights(**given),
            start=options.start,
            method=options.method,
            seed=options.seed,
            notify=lambda step, losses: bar.advance() if step else None,
        )
    return found, network


STYLE = Command("style", "one picture painted in the style of another", _configure, _run)
