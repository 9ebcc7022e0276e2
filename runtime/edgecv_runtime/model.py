"""Load a bundle and call it like a function."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from edgecv_runtime.arrays import preprocessor_of
from edgecv_runtime.artefact import MODEL_SUFFIXES, Artefact
from edgecv_runtime.backends import Backend, open_backend
from edgecv_runtime.bundle import SUFFIX, Bundle
from edgecv_runtime.compiled import special_artefact
from edgecv_runtime.decoders import Decoder, make_decoder
from edgecv_runtime.errors import AcceleratorError, BundleError, InputError, UnsupportedError
from edgecv_runtime.images import LazyImage
from edgecv_runtime.kernels import settled
from edgecv_runtime.manifest import DecoderSpec, Manifest, TensorSpec
from edgecv_runtime.preprocess import Geometry, dequantize
from edgecv_runtime.signing import check_signature, refuse_bare_model
from edgecv_runtime.sizes import at_size, sizes_of

if TYPE_CHECKING:
    from edgecv_runtime.decoders.segmentation import SegmentationDecoder
    from edgecv_runtime.results import Segmentation


def load(
    path: str | Path,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    kernels: str = "auto",
    *,
    delegate: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    fallback: str | None = None,
    public_key: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
) -> Model:
    """Load a bundle, or a bare artefact that carries edgecv metadata.

    Parameters
    ----------
    path : str or Path
        ``name.edgecv``, ``model.tflite``, ``model.onnx`` or ``model.xml``.
    backend : str or None
        ``"litert"``, ``"tflite"``, ``"onnxruntime"``, ``"openvino"`` or ``"mock"``. None: the preferred one that
        is installed.
    device : str or None
        Where to run: ``"CPU"``, ``"GPU"``, ``"NPU"``, or as the back end names it (``"CUDA"``, ``"TensorRT"``,
        ``"OpenVINO:GPU"``, ``"GPU.1"``, ``"AUTO"``). None: the CPU, or what `delegate` drives. Where it really runs
        is in ``model.backend.placement``.
    threads : int or None
        Threads for one inference. None: every core this process may use.
    kernels : {"auto", "fast", "precise"}
        ``"auto"``: what `verify` settled on for this artefact on this machine; else the precise kernels where the CPU's
        fast ones saturate, and the fast ones elsewhere.
    delegate : str, Path or None
        For LiteRT: the shared library that takes the model to an accelerator, such as ``"libedgetpu.so.1"``. None: a
        known one, for device ``"GPU"`` or ``"NPU"``, else LiteRT's own accelerator. Where the bundle holds an artefact
        that was compiled for the accelerator, that one is run.
    options : mapping or None
        Settings of the delegate, of LiteRT's own accelerator or CPU, of ONNX Runtime's execution provider or of
        OpenVINO's device.
    fallback : {None, "cpu"}
        Where the accelerator is not there or takes nothing of the model: None raises, ``"cpu"`` warns and runs there.
    public_key : str, Path or None
        A file of public keys, one of which must have signed the bundle. None: that of the environment variable
        ``EDGECV_PUBLIC_KEY``, else ``/etc/edgecv/public.key``; where there is neither, signatures are not asked for.
    size : int, (height, width) or None
        Of a bundle that holds several input sizes: which one. None: the largest.

    Raises
    ------
    AcceleratorError
        The accelerator is not there, or would leave the whole model to the CPU.
    MissingFileError, BundleError, MissingPackageError, UnsupportedError, BackendError, InputError

    Examples
    --------
    >>> import edgecv_runtime as ert
    >>> model = ert.load("lenet5.edgecv")            # doctest: +SKIP
    >>> model("seven.png").top(1).labels             # doctest: +SKIP
    ('7',)
    """
    path = Path(path)
    how: dict[str, Any] = {"backend": backend, "device": device, "threads": threads, "kernels": kernels}
    how |= {"delegate": delegate, "options": options, "fallback": fallback}
    if path.suffix.lower() not in MODEL_SUFFIXES:
        bundle = _trusted(path, public_key)
        bundle = bundle if size is None else at_size(bundle, size)
        return load_bundle(bundle, **_settled(bundle.artefact(), how))
    refuse_bare_model(path, public_key)
    if size is not None:
        raise InputError(f"a bare model has the one size that it has; received size {size} for {path.name}")
    artefact = Artefact.from_file(path)
    manifest = _embedded(artefact, path)
    return Model(artefact, manifest, **_settled(artefact, how))


def load_bundle(bundle: Bundle, *, delegate: str | None = None, fallback: str | None = None, **how: Any) -> Model:
    """The model of an opened bundle: the artefact made for an accelerator where that is meant, else the portable one.

    Parameters
    ----------
    bundle : Bundle
    delegate, fallback, how
        As in `load`; ``kernels="auto"`` goes by the CPU alone.
    """
    try:
        special = special_artefact(bundle, how.get("backend"), how.get("device"), delegate)
        if special is not None:
            settings = {**special.options, **(how.get("options") or {})}
            return Model(special.artefact, bundle.manifest, **how | {"delegate": special.delegate, "options": settings})
    except AcceleratorError as error:
        if fallback is None:
            raise
        reason = str(error)
    else:
        return Model(bundle.artefact(), bundle.manifest, delegate=delegate, fallback=fallback, **how)
    # What was made for the accelerator runs nowhere else: the portable artefact takes its place.
    warnings.warn(f"running the portable artefact on the CPU instead: {reason}", RuntimeWarning, stacklevel=3)
    return Model(bundle.artefact(), bundle.manifest, **how | {"device": "CPU", "options": None})


def load_second(path: str | Path, *, backend: str | None = None, **how: Any) -> Model:
    """Load the second of two bundles: on the back end named for the first, where that runs its format."""
    try:
        return load(path, backend=backend, **how)
    except UnsupportedError:
        if backend is None:
            raise
        return load(path, **how)


def load_smaller(path: str | Path, *, public_key: str | Path | None = None, **how: Any) -> list[Model]:
    """The models of all input sizes of a bundle but the largest, in falling order; each is to be closed.

    Parameters
    ----------
    path : str or Path
        Of a bundle, or of a bare model, which has no others.
    public_key, how
        As in `load`, which says what is raised, too.
    """
    path = Path(path)
    if path.suffix.lower() in MODEL_SUFFIXES:
        return []
    smaller = list(sizes_of(_trusted(path, public_key)).values())[1:]
    with ExitStack() as opened:  # where one is refused, the others must not stay open
        models = [opened.enter_context(load_bundle(one, **_settled(one.artefact(), how))) for one in smaller]
        opened.pop_all()
    return models


def _trusted(path: Path, public_key: str | Path | None) -> Bundle:
    bundle = Bundle(path)
    check_signature(bundle, public_key)
    return bundle


def _settled(artefact: Artefact, how: Mapping[str, Any]) -> dict[str, Any]:
    """`load`'s arguments as `Model` takes them: the delegate as text, and without one the kernels settled on."""
    if how.get("delegate"):
        return {**how, "delegate": str(how["delegate"])}
    kernels = settled(artefact, how.get("backend"), how.get("device"), how.get("kernels", "auto"))
    return {**how, "kernels": kernels}


def _embedded(artefact: Artefact, path: Path) -> Manifest:
    manifest = artefact.manifest()
    if manifest is None:
        raise BundleError(
            f"{path} carries no edgecv metadata, so how to feed it is unknown: "
            f"edgecv wrap {path.name} --task classification -o {path.stem}{SUFFIX}"
        )
    return manifest


class Model:
    """A loaded model: picture in, result out.

    Parameters
    ----------
    artefact : Artefact
    manifest : Manifest
    backend, device, threads, kernels, delegate, options, fallback
        As in `load`, save that ``kernels="auto"`` goes by the CPU alone: the same model in every run.

    Attributes
    ----------
    manifest : Manifest
    backend : Backend
    """

    def __init__(
        self,
        artefact: Artefact,
        manifest: Manifest,
        *,
        backend: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        kernels: str = "auto",
        delegate: str | None = None,
        options: Mapping[str, Any] | None = None,
        fallback: str | None = None,
    ) -> None:
        if len(manifest.inputs) != 1:
            raise UnsupportedError(f"a model must have one input; this one has {len(manifest.inputs)}")
        self.manifest = manifest
        self._artefact = artefact
        self._options: dict[str, Any] = {"backend": backend, "device": device, "threads": threads, "kernels": kernels}
        self._options |= {"delegate": delegate, "options": options, "fallback": fallback}
        self._decoder: Decoder = make_decoder(manifest)
        self._preprocess = preprocessor_of(manifest.inputs[0])
        self._batch = manifest.inputs[0].batch
        self.backend: Backend = open_backend(artefact, manifest=manifest, **self._options)
        try:
            _match(manifest.inputs, self.backend.inputs, "input")
            order = _match(manifest.outputs, self.backend.outputs, "output")
        except BundleError:
            self.backend.close()
            raise
        self._outputs = tuple(zip(order, manifest.outputs, strict=True))
        # A bundle's digests were checked when it was opened; a bare model file has none.
        known = {name: manifest.members.get(name) for name in artefact.members()}
        self._digests = artefact.digests() if None in known.values() else {n: d for n, d in known.items() if d}

    @overload
    def __call__(self, image: npt.NDArray[Any] | str | Path) -> Any: ...

    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...]) -> list[Any]: ...

    def __call__(self, image: Any) -> Any:
        """Run on one image, or on each of a list.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB array, a path, or a list of either
            Grey, RGBA and 16-bit arrays are converted (see `as_rgb`). A model of signals or volumes takes arrays of
            its input's shape, or ``.npy`` and ``.npz`` files (see `edgecv_runtime.arrays.as_example`).

        Returns
        -------
        The task's result (`Classification`), or a list of results for a list.

        Raises
        ------
        InputError, MissingFileError
            It is not an image.
        BackendError
            The inference library failed.
        """
        if isinstance(image, (list, tuple)):
            return self._run_many(image)
        if self._batch not in (1, None):
            raise InputError(f"this model takes a list of {self._batch} images at a time; received one image")
        tensor, geometry = self._prepare(image)
        return self._decoder.decode_seen([output[0] for output in self._infer(tensor)], geometry, tensor[0])

    def timed(self, image: npt.NDArray[Any] | LazyImage | str | Path) -> tuple[Any, dict[str, float]]:
        """As calling it with one image; and the seconds that ``preprocess``, ``infer`` and ``decode`` took.

        A picture of a video that is not converted yet (a frame's `pixels`) is converted as far as it is looked at.
        """
        if self._batch not in (1, None):
            raise InputError(f"this model takes a list of {self._batch} images at a time; received one image")
        begun = perf_counter()
        tensor, geometry = self._prepare(image)
        prepared = perf_counter()
        raw = self._raw(tensor)
        inferred = perf_counter()
        outputs = self._decoder.activate(raw)
        result = self._decoder.decode_seen([output[0] for output in outputs], geometry, tensor[0])
        decoded = perf_counter()
        return result, {"preprocess": prepared - begun, "infer": inferred - prepared, "decode": decoded - inferred}

    def replicas(self, count: int) -> list[Model]:
        """Further `count` of it, configured in the same way, each for another thread; to be closed.

        Where the back end has infer requests they share what is loaded; else each loads the model once more.
        """
        requests = self.backend.requests(count) if count else []
        if requests is None:
            with ExitStack() as opened:  # as in `load_smaller`
                models = [
                    opened.enter_context(Model(self._artefact, self.manifest, **self._options)) for _ in range(count)
                ]
                opened.pop_all()
            return models
        replicas = [copy(self) for _ in requests]
        for replica, request in zip(replicas, requests, strict=True):
            replica.backend, replica._decoder = request, make_decoder(self.manifest)
        return replicas

    def outputs(self, image: npt.NDArray[Any] | str | Path) -> list[npt.NDArray[np.float32]]:
        """The float outputs for one image, as the source model gives them: (1, ...) each, before decoding."""
        return self.activate(self.raw_outputs(image))

    def raw_outputs(self, image: npt.NDArray[Any] | str | Path) -> list[npt.NDArray[np.float32]]:
        """The artefact's own outputs for one image as real numbers, (1, ...) each: what the parity contract compares.

        An integer artefact ends at the logits, where a difference shows that a saturated probability would hide.
        """
        tensor, _ = self._prepare(image)
        return self._raw(tensor)

    def activate(self, outputs: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """Finish what the artefact leaves to the device: from `raw_outputs` to `outputs`."""
        return self._decoder.activate(outputs)

    def comparable(self, outputs: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        """`raw_outputs` (of one image or of several, stacked) in the form that the parity contract compares."""
        return self._decoder.comparable(outputs)

    def score_map(self, image: npt.NDArray[Any] | str | Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Of a segmenter: the (H, W, classes) scores at every pixel of one image, and which (H, W) pixels it saw.

        Raises
        ------
        UnsupportedError
            It is no segmenter.
        """
        decoder = self._segmenter()
        tensor, geometry = self._prepare(image)
        return decoder.score_map([output[0] for output in self._infer(tensor)], geometry)

    def decide(self, scores: npt.NDArray[np.float32], seen: npt.NDArray[np.bool_]) -> Segmentation:
        """The `Segmentation` of a `score_map`, perhaps one made of several."""
        return self._segmenter().decide(scores, seen)

    def _segmenter(self) -> SegmentationDecoder:
        from edgecv_runtime.decoders.segmentation import SegmentationDecoder

        if not isinstance(self._decoder, SegmentationDecoder):
            raise UnsupportedError(f"a score at every pixel is what segmenters give; this is a {self.task} model")
        return self._decoder

    @property
    def task(self) -> str:
        """What it answers: ``"classification"``, ``"detection"`` and so on."""
        return self._decoder.task

    @property
    def fingerprint(self) -> str:
        """As `Bundle.fingerprint`: what a gallery remembers of the embedder that made its vectors."""
        return self.manifest.identity(self._digests)

    def configure(self, **parameters: Any) -> None:
        """Change parameters of the decoder, for this model only: ``model.configure(score_threshold=0.4)``.

        Raises
        ------
        InputError
            The decoder has no such parameter, or does not take such a value.
        """
        spec = self.manifest.decoder
        changed = replace(self.manifest, decoder=DecoderSpec(spec.name, {**spec.parameters, **parameters}))
        try:
            self._decoder = make_decoder(changed)
        except BundleError as error:
            raise InputError(str(error).replace("the manifest says", "received")) from None
        self.manifest = changed

    @contextmanager
    def configured(self, **parameters: Any) -> Iterator[Model]:
        """As `configure`, within a ``with`` block."""
        usual = self.manifest, self._decoder
        self.configure(**parameters)
        try:
            yield self
        finally:
            self.manifest, self._decoder = usual

    def close(self) -> None:
        """Release the back end. Calling it again does nothing."""
        self.backend.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        manifest, backend = self.manifest, self.backend
        return (
            f"<Model {manifest.name}: {manifest.task}, {manifest.format} {manifest.precision} "
            f"on {backend.name} {backend.version()} ({backend.note})>"
        )

    def _prepare(self, image: Any) -> tuple[npt.NDArray[Any], Geometry]:
        return self._preprocess(self._preprocess.read(image) if isinstance(image, (str, Path)) else image)

    def _infer(self, tensor: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        return self._decoder.activate(self._raw(tensor))

    def _raw(self, tensor: npt.NDArray[Any]) -> list[npt.NDArray[np.float32]]:
        raw = self.backend.infer([tensor])
        return [_to_float(raw[index], spec) for index, spec in self._outputs]

    def _run_many(self, images: Sequence[Any]) -> list[Any]:
        if not images:
            return []
        if self._batch == 1:
            return [self(image) for image in images]
        if self._batch is not None and len(images) != self._batch:
            raise InputError(f"this model takes exactly {self._batch} images at a time; received {len(images)}")
        prepared = [self._prepare(image) for image in images]
        outputs = self._infer(np.concatenate([tensor for tensor, _ in prepared]))
        return [
            self._decoder.decode_seen([output[row] for output in outputs], geometry, tensor[0])
            for row, (tensor, geometry) in enumerate(prepared)
        ]


def _match(wanted: Sequence[TensorSpec], there: Sequence[TensorSpec], kind: str) -> list[int]:
    """Where each tensor of the manifest stands in the back end's order: by name, never by position."""
    names = [spec.name for spec in there]
    missing = [spec.name for spec in wanted if spec.name not in names]
    if missing:
        raise BundleError(f"the manifest's {kind} {missing[0]!r} is not in the model, which has {', '.join(names)}")
    for spec in wanted:
        found = there[names.index(spec.name)]
        if found.dtype != spec.dtype or found.shape != spec.shape:
            raise BundleError(
                f"{kind} {spec.name!r} is {spec.dtype} {list(spec.shape)} in the manifest "
                f"but {found.dtype} {list(found.shape)} in the model: they do not belong together"
            )
    return [names.index(spec.name) for spec in wanted]


def _to_float(array: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[np.float32]:
    if spec.quantization is not None:
        return dequantize(array, spec.quantization.scale, spec.quantization.zero_point)
    return array.astype(np.float32, copy=False)
