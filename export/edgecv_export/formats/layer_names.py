"""From an artefact's names back to the Keras layers.

The traced graph computes every layer under a scope of the layer's own name. The converters carry these paths along:
TFLite joins those of fused operations (``relu/Relu6;conv/BiasAdd``, the last operation first), tf2onnx keeps one.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

# Keras opens a scope of the layer's name inside ours, and numbers it.
_REPEATED = re.compile(r"^([^/]+)/\1(?:_\d+)?/")
_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-]*")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.\-]")


def scope_of(layer_name: str) -> str:
    """The layer's name as a scope of a TensorFlow graph: as it is, or readable and with a checksum of the name.

    Examples
    --------
    >>> scope_of("block_1_conv")
    'block_1_conv'
    >>> scope_of("conv é")
    'conv___c156dbc4'
    """
    if _SCOPE.fullmatch(layer_name):
        return layer_name
    # The checksum tells names apart that differ in forbidden characters alone.
    return f"{_FORBIDDEN.sub('_', layer_name).lstrip('_-') or 'layer'}_{zlib.crc32(layer_name.encode()):08x}"


def layers_in(name: str) -> tuple[str, ...]:
    """Scopes of the layers in the name of a tensor or node, without repetition, in the order they stand there.

    Examples
    --------
    >>> layers_in("relu/Relu6;conv/BiasAdd;conv/convolution")
    ('relu', 'conv')
    >>> layers_in("Conv_2:0")
    ()
    """
    paths = [path for path in name.split(";") if "/" in path]
    return tuple(dict.fromkeys(path.partition("/")[0] for path in paths))


def shortened(name: str) -> str:
    """The name with one path for each layer, and the layer named once in it.

    Examples
    --------
    >>> shortened("relu/relu_1/Relu6;conv/conv_1/BiasAdd;conv/conv_1/convolution")
    'relu/Relu6;conv/BiasAdd'
    """
    paths: dict[str, str] = {}
    for path in name.split(";"):
        short = _REPEATED.sub(r"\1/", path)
        paths.setdefault(short.partition("/")[0], short)
    return ";".join(paths.values())


def fingerprint(kernel: npt.NDArray[Any]) -> bytes:
    """The same for a kernel in every layout: its values, sorted, rounded where a converter may have multiplied."""
    values = np.sort(np.asarray(kernel, np.float32).reshape(-1))
    return np.float16(values[:: max(1, len(values) // 64)]).tobytes() + str(len(values)).encode()


def scopes_by_kernel(network: Any) -> dict[bytes, str]:
    """The scope of each layer with a kernel, by the fingerprint of the kernel; kernels that are alike are left out."""
    from edgecv_export.quantize.kernels import has_kernel, kernel_of

    found: dict[bytes, str] = {}
    ambiguous: set[bytes] = set()
    for layer in network.layers:
        if has_kernel(layer):
            key = fingerprint(kernel_of(layer))
            ambiguous |= {key} & found.keys()
            found[key] = scope_of(layer.name)
    return {key: scope for key, scope in found.items() if key not in ambiguous}
