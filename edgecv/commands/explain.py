"""``edgecv explain MODEL --image FILE --method gradcam -o out.png``: why a network says what it says, as a picture."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecv.commands.options import add_model_options, collect_model_options, refuse_model_options
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import say, say_json
from edgecv_runtime.errors import InputError, OutputError

_HEAT = ("cam", "gradcam", "augmented-gradcam", "occlusion")
_UNITS = ("filters", "activations", "patches")
_SPACE = ("neighbours", "tsne", "umap")
METHODS = (*_HEAT, *_UNITS, *_SPACE)


@dataclass(frozen=True)
class _Inputs:
    """Pictures, and how the network takes them."""

    images: list[Any]
    tensors: list[Any]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL|BUNDLE",
        help="a name from `edgecv models`, or a bundle that `export --cam` made (for cam)",
    )
    parser.add_argument("--weights", metavar="FILE|NAME", help="a weight file, imagenet, or a name the model ships")
    parser.add_argument("--image", metavar="FILE|DIR", help="a picture, or a folder for patches and maps of many")
    parser.add_argument("--method", required=True, choices=METHODS, help=", ".join(METHODS), metavar="M")
    parser.add_argument("--class", dest="class_index", type=int, metavar="N", help="class index (default: the best)")
    parser.add_argument("--layer", metavar="NAME", help="whose map (default: the last feature map)")
    parser.add_argument("--unit", type=int, default=0, metavar="N", help="channel, for patches (default: 0)")
    parser.add_argument("--count", type=int, metavar="N", help="moved pictures, patches or neighbours")
    parser.add_argument("--box", action="store_true", help="draw the box at 20%% of the heat map's maximum")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.png", help="the picture to write")
    add_model_options(parser)
    add_json_option(parser)


def _run(options: argparse.Namespace) -> int:
    _check(options)
    picture, facts = (_of_bundle if options.model.endswith(".edgecv") else _of_network)(options)
    _write(Path(options.output), picture)
    facts = {"model": options.model, "method": options.method, **facts, "output": options.output}
    if options.json:
        say_json(facts)
    else:
        say("  ".join(f"{name} {value}" for name, value in facts.items()))
    return 0


def _of_network(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    from edgecv.models.factory import create_model
    from edgecv.models.registry import get_record

    record = get_record(options.model)
    model = create_model(record.name, weights=options.weights, **collect_model_options(options, record))
    inputs = _read(options, model, record)
    answer: Callable[..., tuple[Any, dict[str, Any]]]
    answer = _heat if options.method in _HEAT else _units if options.method in _UNITS else _space
    return answer(options, model, inputs)


def _of_bundle(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The class activation map as the device makes it, from what the bundle itself gives: no network, no gradient."""
    refuse_model_options(options, options.model)
    given = [f"--{name}" for name in ("weights", "layer", "count") if getattr(options, name) is not None]
    if options.method != "cam" or given:
        what = given[0] if given else f"--method {options.method}"
        raise InputError(f"{what} needs the network; of a bundle --method cam is drawn")
    from edgecv.explain.heatmap import Heatmap
    from edgecv_runtime.errors import UnsupportedError
    from edgecv_runtime.images import read_image
    from edgecv_runtime.model import load

    image = read_image(Path(options.image))
    with load(options.model) as model:
        if model.task != "classification":
            raise UnsupportedError(
                f"class activation maps are of classifiers; {options.model} is a {model.task} bundle"
            )
        result = model(image)
    values = result.cam(options.class_index)
    chosen = int(result.indices[0]) if options.class_index is None else options.class_index
    found = Heatmap(values, chosen, float(result.scores[result.indices.tolist().index(chosen)]), "cam")
    return _drawn(options, found, image, list(result.maps.features.shape[:2]))


def _check(options: argparse.Namespace) -> None:
    """Refuse what does not fit together, before anything heavy is loaded."""
    if not options.output.lower().endswith(".png"):
        raise InputError(f"--output must end in .png; received {options.output}")
    if options.method != "filters" and options.image is None:
        raise InputError(f"--method {options.method} needs --image")
    if options.box and options.method not in _HEAT:
        raise InputError(f"--box applies to {', '.join(_HEAT)}; received --method {options.method}")
    if options.method in ("activations", "patches") and options.layer is None:
        raise InputError(f"--method {options.method} needs --layer")
    if options.count is not None and options.count < 1:
        raise InputError(f"--count must be at least 1; received {options.count}")


def _read(options: argparse.Namespace, model: Any, record: Any) -> _Inputs:
    """The pictures, stretched to the input (a crop would hide their borders) and normalised as the record says."""
    if options.image is None:
        return _Inputs([], [])
    from edgecv_runtime.images import list_images, read_image
    from edgecv_runtime.manifest import InputSpec, Normalization
    from edgecv_runtime.preprocess import preprocess

    height, width, channels = model.input_shape[1:]
    preprocessing = record.preprocessing
    spec = InputSpec(
        name="image",
        shape=(1, height, width, channels),
        dtype="float32",
        layout="NHWC",
        color=preprocessing.color,
        normalization=Normalization(preprocessing.mean, preprocessing.std),
    )
    path = Path(options.image)
    many = options.method in ("patches", *_SPACE)
    paths = list_images(path) if path.is_dir() and many else [path]
    images = [read_image(path) for path in paths]
    return _Inputs(images, [preprocess(image, spec)[0][0] for image in images])


def _heat(options: argparse.Namespace, model: Any, inputs: _Inputs) -> tuple[Any, dict[str, Any]]:
    from edgecv.explain.activation_maps import cam, grad_cam
    from edgecv.explain.augmented import augmented_grad_cam
    from edgecv.explain.occlusion import occlusion

    tensor, image, chosen = inputs.tensors[0], inputs.images[0], options.class_index
    if options.method == "occlusion":
        side = max(1, min(tensor.shape[:2]) // 7)
        found = occlusion(model, tensor, chosen, patch=side, stride=max(1, side // 2))
    elif options.method == "augmented-gradcam":
        more = {} if options.count is None else {"count": options.count}
        found = augmented_grad_cam(model, tensor, chosen, options.layer, **more)
    else:
        found = (cam if options.method == "cam" else grad_cam)(model, tensor, chosen, options.layer)
    return _drawn(options, found, image, list(found.values.shape))


def _drawn(options: argparse.Namespace, found: Any, image: Any, cells: list[int]) -> tuple[Any, dict[str, Any]]:
    """The heat map over its picture, and what there is to say of it."""
    from edgecv.explain.localization import localize
    from edgecv.explain.pictures import draw_box

    box = localize(found, image.shape[:2]).tolist()
    facts = {"class": found.class_index, "score": round(found.score, 4), "map": cells, "box": box}
    picture = found.plot(image)
    return (draw_box(picture, box) if options.box else picture), facts


def _units(options: argparse.Namespace, model: Any, inputs: _Inputs) -> tuple[Any, dict[str, Any]]:
    from edgecv.explain import units

    if options.method == "filters":
        filters = units.first_layer_filters(model)
        return units.plot_filters(filters), {"filters": list(filters.shape)}
    if options.method == "activations":
        maps = units.activations(model, inputs.tensors[0], options.layer)
        return units.plot_activations(maps), {"layer": options.layer, "maps": list(maps.shape)}
    patches = units.maximal_patches(model, options.layer, options.unit, inputs.tensors, options.count or 9)
    strongest = patches[0].activation
    return units.plot_patches(patches), {"layer": options.layer, "unit": options.unit, "strongest": strongest}


def _space(options: argparse.Namespace, model: Any, inputs: _Inputs) -> tuple[Any, dict[str, Any]]:
    import numpy as np

    from edgecv.explain import embedding_space
    from edgecv.explain.network import Network
    from edgecv.explain.pictures import scatter

    if len(model.output_shape) == 2 and options.layer is None and not _classifies(model):
        vectors = np.concatenate([np.asarray(model(tensor[None], training=False)) for tensor in inputs.tensors])
    else:  # of a classifier: its last feature map, averaged
        vectors = Network(model, options.layer).features(np.stack(inputs.tensors)).mean(axis=(1, 2))
    facts = {"pictures": len(vectors), "dimension": vectors.shape[1]}
    if options.method == "neighbours":
        count = min(options.count or 5, len(vectors) - 1)
        if count < 1:
            raise InputError("--method neighbours needs a folder of at least two pictures")
        indices, _ = embedding_space.nearest_neighbours(vectors, vectors, count + 1)
        others = np.array([[i for i in row if i != own][:count] for own, row in enumerate(indices.tolist())])
        return embedding_space.plot_neighbours(inputs.images, inputs.images, others), facts
    if options.method == "tsne":
        points = embedding_space.tsne(vectors, perplexity=min(30.0, max(1.0, (len(vectors) - 1) / 3)))
    else:
        points = embedding_space.umap(vectors, neighbours=min(15, len(vectors) - 1))
    return scatter(points, thumbnails=inputs.images), facts


def _classifies(model: Any) -> bool:
    from edgecv.models.factory import architecture_of

    architecture = architecture_of(model)
    return architecture is not None and architecture.record.task == "classification"


def _write(path: Path, picture: Any) -> None:
    from edgecv_runtime.bundle import write_atomically
    from edgecv_runtime.images import cv2

    opencv = cv2("writing a picture")
    done, content = opencv.imencode(".png", opencv.cvtColor(picture, opencv.COLOR_RGB2BGR))
    if not done:
        raise OutputError(f"cannot write {path}: the picture cannot be encoded")
    write_atomically(path, content.tobytes())


EXPLAIN = Command("explain", "pictures of what a network looks at, class by class and unit by unit", _configure, _run)
