"""A Keras model as the source of an export."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecv.models.factory import architecture_of
from edgecv.models.registry import Preprocessing
from edgecv_export.formats.job import ARRAY_NAME, INPUT_NAME, InputGrid, Job, grid_of
from edgecv_export.plan import Plan
from edgecv_export.quantize.correct import FLOAT16, INT8, INT8_WEIGHTS, learnable_layers, round_and_correct
from edgecv_export.quantize.equalize import equalization, equalize
from edgecv_export.quantize.exact_layers import exact_layers
from edgecv_export.quantize.fold import fold_batch_norms, split_activation
from edgecv_export.quantize.graph import Graph, functional
from edgecv_export.quantize.inputs import Channels, peel_input_scaling, with_scaling_layer
from edgecv_export.quantize.keep_float import with_activations
from edgecv_export.quantize.pooling import with_global_pooling
from edgecv_export.quantize.rebuild import inline
from edgecv_export.quantize.recipe import Recipe
from edgecv_export.quantize.sensitivity import layer_sensitivities
from edgecv_export.sources.base import Source
from edgecv_export.tasks.base import task_of
from edgecv_export.tasks.reading import Decoder, choose_decoder, float_manifest, split_outputs
from edgecv_runtime.artefact import Artefact
from edgecv_runtime.errors import InputError, MissingPackageError, UnsupportedError
from edgecv_runtime.manifest import ARRAY_LAYOUTS, DecoderSpec, TensorSpec

if TYPE_CHECKING:
    from edgecv_export.advice import Advice
    from edgecv_export.training import TrainingPictures

# The corrected biases come from this many calibration images: a mean needs few, and both networks' activations are
# held in memory.
_CORRECTION_IMAGES = 32

_REPORT_IMAGES = 8  # that each layer is compared on

_GRAPH_NAME = re.compile(r"[A-Za-z0-9_.\\/>-]+")  # what tf.name_scope takes inside another scope

# Float precisions that round the weights all the same.
_WEIGHT_ROUNDING = {"fp16": FLOAT16, "dynamic": INT8_WEIGHTS}


def require_tensorflow() -> None:
    """Refuse early where Keras runs on another back end: the converters read TensorFlow graphs.

    Raises
    ------
    MissingPackageError
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise MissingPackageError(
            f"export needs Keras on TensorFlow; Keras runs on {keras.backend.backend()} here: save the weights, "
            "set KERAS_BACKEND=tensorflow and build the model again"
        )


@dataclass(frozen=True, eq=False)
class KerasSource(Source):
    """A functional Keras model of one image input (N, H, W, C) and the outputs that its task gives."""

    @classmethod
    def of_model(
        cls,
        model: Any,
        preprocessing: Preprocessing | None = None,
        task: str | None = None,
        decoder: Decoder | None = None,
    ) -> KerasSource:
        """What is known of a Keras model: from `create_model`, or from the arguments.

        Raises
        ------
        InputError
            It is no Keras model; it was not built by `create_model` and no preprocessing is given; its input is no
            image; or its outputs are not what the decoder reads.
        UnsupportedError
            A subclassed model, several inputs, several outputs of which nobody says how they are read, a task that is
            not exported, or a layer whose name TensorFlow does not take.
        """
        import keras

        require_tensorflow()
        if not isinstance(model, keras.Model):
            raise InputError(f"a Keras model, or the path of an .onnx file, is required; received {model!r:.60}")
        built = architecture_of(model)
        if preprocessing is None:
            if built is None:
                raise InputError(
                    "preprocessing is required for a model that edgecv.create_model did not build: "
                    "preprocessing=Preprocessing(mean=..., std=..., color=..., resize=...)"
                )
            preprocessing = built.record.preprocessing
        if task is None and decoder is None and built is not None:
            task = built.record.task
        if task is not None:
            task_of(task)  # one that is not exported is refused before anything is said of the model
        model = functional(model)
        _check_layer_names(model)
        if len(model.inputs) != 1:
            raise UnsupportedError(f"a model must have one image input; received {len(model.inputs)} inputs")
        shape = model.inputs[0].shape
        if task is not None and task_of(task).layout in ARRAY_LAYOUTS:
            from edgecv_export.sources.keras_arrays import KerasArraySource, checked_preprocessing

            preprocessing, cls = checked_preprocessing(shape, preprocessing, task_of(task).layout), KerasArraySource
        else:
            _check_image_input(shape, preprocessing)
        if decoder is None and built is not None and built.record.decoder is not None and task == built.record.task:
            decoder = built.record.decoder(tuple(shape[1:]), built.classes, built.options)
        task, spec = choose_decoder(task, decoder, named_outputs(model), preprocessing)
        architecture = built.to_dict() if built is not None else {"name": "custom", "keras_name": model.name}
        source = cls(model, preprocessing, task, architecture, spec)
        float_manifest(source)
        return source

    @property
    def size(self) -> tuple[int, int]:
        _, height, width, _ = self.model.inputs[0].shape
        return height, width

    def with_feature_map(self) -> KerasSource:
        """A classifier that also gives the map before its global average pooling, for class activation maps.

        Raises
        ------
        InputError
            It has another head than global average pooling and one linear layer, or is no classifier.
        """
        import keras

        from edgecv.explain.network import Network
        from edgecv_runtime.class_maps import pack_weights

        if self.task != "classification" or len(self.outputs) != 1:
            raise InputError(f"class activation maps are of classifiers; this is a {self.task} model")
        model = inline(self.model)
        network = Network(model)
        weights = network.linear_head()
        features = model.get_layer(network.layer).output
        widened = keras.Model(model.inputs[0], [model.outputs[0], features], name=model.name)
        scores, maps = (spec.name for spec in named_outputs(widened))
        roles = {"scores": scores, "features": maps}
        parameters = {**self.decoder.parameters, "outputs": roles, "weights": pack_weights(weights)}
        return replace(self, model=widened, decoder=DecoderSpec("classification", parameters))

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        names = self.output_names()
        return tuple(replace(spec, name=name) for spec, name in zip(named_outputs(self.model), names, strict=True))

    def output_names(self, plan: Plan | None = None) -> tuple[str, ...]:
        """What the outputs are called in an artefact; without a plan in the float ones."""
        names = tuple(spec.name for spec in named_outputs(self.model))
        usual = task_of(self.task).output_names
        if usual is None or len(names) > 1:
            return names
        return (usual[plan is not None and plan.integer],)

    @cached_property
    def logits(self) -> tuple[Any, str]:
        """The model without the final activation that the device can apply, and the activation's name."""
        names = [spec.name for spec in self.outputs]
        for name, known in split_outputs(self.decoder, names).items():
            return split_activation(self.model, names.index(name), known)
        return self.model, "none"

    def answers(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
        return _predict(self.model, self.normalize(pixels))

    def expected(self, plan: Plan, images: Sequence[npt.NDArray[np.uint8]]) -> tuple[npt.NDArray[np.float32], ...]:
        network = self.logits[0] if plan.integer else self.model
        return _predict(network, self.normalize(self.pixels(images)))

    @cached_property
    def integer(self) -> IntegerBase:
        """What integer artefacts are made of."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        return _onto_grid(with_global_pooling(fold_batch_norms(self.logits[0])), mean, std)

    def convert(self, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe | None = None) -> Artefact:
        from edgecv_export.formats import exporter_of

        return exporter_of(plan.format)(make_job(self, plan, pixels, recipe or Recipe()))

    @property
    def trainable(self) -> bool:
        return task_of(self.task).trainable and len(self.outputs) == 1

    @property
    def sixteen_bit(self) -> bool:
        return True

    @cached_property
    def equalizable(self) -> bool:
        return bool(equalization(self.integer.network).pairs)

    def sensitivities(self, pixels: npt.NDArray[np.uint8], recipe: Recipe) -> dict[str, float]:
        found = layer_sensitivities(
            self._float_twin(recipe),
            self.integer.grid.to_real(pixels),
            INT8,
            estimator=recipe.estimator,
            widen=recipe.widen,
        )
        return dict(sorted(found.items(), key=lambda entry: -entry[1]))

    def train(
        self, plan: Plan, training: TrainingPictures, pixels: npt.NDArray[np.uint8], seed: int
    ) -> tuple[Recipe, str]:
        from edgecv_export.quantize.aware.train import train_aware

        base = self.integer
        result = train_aware(
            base.network,
            training.pixels,
            training.labels,
            base.grid.to_real,
            calibration=pixels,
            fused_sums=plan.format == "openvino",
            seed=seed,
        )
        return Recipe(network=result.network, ranges=result.ranges, adaround=False), f"{len(training)} pictures"

    def float_layers(self, plan: Plan, recipe: Recipe) -> tuple[str, ...]:
        if not plan.integer:
            return ()
        network = self._float_twin(recipe)
        return with_activations(network, _kept(plan, network, recipe))

    def advice(self, plan: Plan, recipe: Recipe) -> Sequence[Advice]:
        from edgecv_export.advice import advise

        return advise(self.model, plan.format, plan.precision)

    def layer_report(
        self,
        plan: Plan,
        artefact: Artefact,
        pixels: npt.NDArray[np.uint8],
        recipe: Recipe,
        sensitivities: Mapping[str, float] | None,
    ) -> list[dict[str, Any]]:
        from edgecv_export.report.layers import layer_report

        if not plan.integer:
            return []
        network = self._float_twin(recipe)
        few = _some(pixels, _REPORT_IMAGES)
        kept = self.float_layers(plan, recipe)
        rows = layer_report(
            network,
            artefact,
            self.tensors(artefact, few),
            self.integer.exact(few),
            sensitivities=sensitivities,
            float_layers=kept,
        )
        return [row.to_dict() for row in rows]

    def tensors(self, artefact: Artefact, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What `pixels` gives, as the artefact takes it."""
        return pixels

    def _float_twin(self, recipe: Recipe) -> Any:
        """The float network that has the artefact's layers."""
        network = recipe.network if recipe.trained else self.integer.network
        return equalize(network) if recipe.equalize else network

    def decoder_of(self, plan: Plan) -> DecoderSpec:
        if not plan.integer or self.logits[1] == "none":
            return self.decoder
        return DecoderSpec(self.decoder.name, {**self.decoder.parameters, "activation": self.logits[1]})

    def cost(self) -> dict[str, int | None]:
        from edgecv.complexity import complexity

        found = complexity(self.model)
        return {"parameters": found.parameters, "macs": found.macs}


def _check_image_input(shape: tuple[int | None, ...], preprocessing: Preprocessing) -> None:
    channels = len(preprocessing.mean)
    if len(shape) != 4 or None in shape[1:] or shape[3] != channels:
        raise InputError(
            f"the model's input must be (N, height, width, {channels}) for {preprocessing.color} images; "
            f"received {tuple(shape)}"
        )


def _check_layer_names(model: Any) -> None:
    """Refuse names under which Keras itself cannot run a layer in a TensorFlow graph.

    Raises
    ------
    UnsupportedError
    """
    import keras

    for step in Graph(model).steps:
        name = step.layer.name
        if not _GRAPH_NAME.fullmatch(name):
            raise UnsupportedError(
                f"a layer's name must be letters, digits and _ - . to be traced by TensorFlow; received {name!r}: "
                "give the layer another (layer.name = ...)"
            )
        if isinstance(step.layer, keras.Model):
            _check_layer_names(step.layer)


def named_outputs(model: Any) -> tuple[TensorSpec, ...]:
    """The outputs of a functional model, named as the layers that make them, batch 1, float32.

    Where a layer makes several, the later ones are numbered.

    Raises
    ------
    InputError
        An output of open size.
    UnsupportedError
        An output that is the input, or the same as another, or bears the input's name.
    """
    specs: list[TensorSpec] = []
    graph = Graph(model)
    if len(set(graph.outputs)) != len(graph.outputs):
        raise UnsupportedError("each output of a model must be a tensor of its own; received one of them twice")
    taken: Counter[str] = Counter()
    for tensor, identity in zip(model.outputs, graph.outputs, strict=True):
        step = graph.producer(identity)
        if step is None or step.layer.name in (INPUT_NAME, ARRAY_NAME):
            raise UnsupportedError(f"an output must not be the input, nor bear its name {INPUT_NAME!r}")
        if None in tensor.shape[1:]:
            raise InputError(f"an output must have a fixed shape; {step.layer.name!r} gives {tuple(tensor.shape)}")
        name = step.layer.name
        specs.append(TensorSpec(f"{name}_{taken[name]}" if taken[name] else name, (1, *tensor.shape[1:]), "float32"))
        taken[name] += 1
    return tuple(specs)


# Pictures at once; and for up to so many, tracing the network takes longer than it saves.
_BATCH, _UNTRACED = 16, 64


def _predict(network: Any, values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], ...]:
    import keras

    with warnings.catch_warnings():
        # Keras's data adapter warns of the structure of inputs for models rebuilt from a Sequential one.
        warnings.filterwarnings("ignore", message="The structure of `inputs` doesn't match", category=UserWarning)
        if 0 < len(values) <= _UNTRACED:
            batches = [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]
            answered = [keras.tree.flatten(network(batch, training=False)) for batch in batches]
            joined = (np.concatenate(list(map(np.asarray, parts))) for parts in zip(*answered, strict=True))
            return tuple(answer.astype(np.float32, copy=False) for answer in joined)
        answers = keras.tree.flatten(network.predict(values, batch_size=_BATCH, verbose=0))
    return tuple(np.asarray(answer, np.float32) for answer in answers)


@dataclass(frozen=True, eq=False)
class IntegerBase:
    """The float network that integer artefacts are made of, and how pixels reach it.

    Attributes
    ----------
    network : keras.Model
        Ends at the logits, batch norms folded, takes real values.
    grid : InputGrid
        What the artefact's uint8 input stands for.
    mean, std : tuple of float
        The exact normalisation, which the grid may round by half a level.
    """

    network: Any
    grid: InputGrid
    mean: Channels
    std: Channels

    def exact(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, H, W, C): the real input as the source model takes it."""
        return ((pixels - np.array(self.mean)) / np.array(self.std)).astype(np.float32)


def make_job(
    source: KerasSource,
    plan: Plan,
    pixels: npt.NDArray[np.uint8],
    recipe: Recipe | None = None,
    base: IntegerBase | None = None,
) -> Job:
    """Prepare a source model for one conversion; of an integer artefact from `base`, by default the source's own."""
    recipe = recipe or Recipe()
    if plan.integer:
        few = _some(pixels, recipe.images)
        return _integer_job(base or source.integer, plan, few, recipe, source.output_names(plan))
    mean, std = source.preprocessing.mean, source.preprocessing.std
    network = source.model
    if plan.precision in _WEIGHT_ROUNDING:
        normalized = source.normalize(_some(pixels, _CORRECTION_IMAGES))
        rounding = _WEIGHT_ROUNDING[plan.precision]
        network = round_and_correct(fold_batch_norms(network), normalized, normalized, rounding)
    names = source.output_names(plan)
    return Job(plan, network, lambda image: (image - list(mean)) / list(std), InputGrid(1.0, 0), pixels, names)


def _integer_job(
    base: IntegerBase, plan: Plan, pixels: npt.NDArray[np.uint8], recipe: Recipe, names: tuple[str, ...]
) -> Job:
    few = _some(pixels, _CORRECTION_IMAGES)
    network = recipe.network if recipe.trained else base.network
    if recipe.equalize:
        network = equalize(network)
    kept = _kept(plan, network, recipe)
    if kept:
        recipe = replace(recipe, float_layers=with_activations(network, kept))
    if not recipe.trained:  # a trained network has learned to live with its rounding
        network = round_and_correct(
            network,
            base.exact(few),
            base.grid.to_real(few),
            INT8_WEIGHTS if plan.precision == "int16x8" else INT8,
            estimator=recipe.estimator,
            adaround=learnable_layers(network) if recipe.adaround else (),
            float_layers=recipe.float_layers,
            widen=recipe.widen,
            ranges=recipe.ranges,
            correct=recipe.correct,
        )
    return Job(plan, network, lambda image: image, base.grid, pixels, names, recipe)


def _kept(plan: Plan, network: Any, recipe: Recipe) -> tuple[str, ...]:
    """The layers that stay in float: those that were named, and, where activations have 8 bits, places in pictures."""
    return recipe.float_layers if plan.precision == "int16x8" else (*recipe.float_layers, *exact_layers(network))


def _some(pixels: npt.NDArray[np.uint8], count: int | None) -> npt.NDArray[np.uint8]:
    """That many of the images, evenly spaced; all of them where there are fewer."""
    if count is None or count >= len(pixels):
        return pixels
    return pixels[np.linspace(0, len(pixels) - 1, count).round().astype(int)]


def _onto_grid(network: Any, mean: Channels, std: Channels) -> IntegerBase:
    """The network with as much of the normalisation in the grid of its uint8 input as fits."""
    network, mean, std = peel_input_scaling(network, mean, std)
    if (grid := grid_of(mean, std)) is not None:
        return IntegerBase(network, grid, mean, std)
    network = with_scaling_layer(network, mean, std, INPUT_NAME)
    return IntegerBase(network, InputGrid(1.0, 0), (0.0,) * len(mean), (1.0,) * len(std))
