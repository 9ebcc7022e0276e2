"""Class activation maps: CAM and Grad-CAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv.explain.heatmap import Heatmap
from edgecv.explain.network import Network

if TYPE_CHECKING:
    import keras


def cam(model: keras.Model, inputs: Any, class_index: int | None = None, layer: str | None = None) -> Heatmap:
    """Class activation map: the last maps, weighed by what their averages count for the class.

    M_c(x, y) = Σ_k w_k^c f_k(x, y) (Zhou et al. 2016, "Learning Deep Features for Discriminative Localization",
    eq. 2). Needs no gradient, but global average pooling and one linear layer behind the maps.

    Parameters
    ----------
    model : keras.Model
        A classifier.
    inputs : (H, W, C) float32
        One picture as the network expects it.
    class_index : int, optional
        Default: the class with the highest score.
    layer : str, optional
        Default: the last layer that gives a feature map.

    Returns
    -------
    Heatmap
        Its mean over all places is the class's score, up to the bias.

    Raises
    ------
    InputError
        The model has another head, or the input or class does not fit it.
    """
    network = Network(model, layer)
    weights = network.linear_head()
    features, scores = network.features_and_scores(np.asarray(inputs, np.float32)[None])
    chosen = _chosen(network, scores[0], class_index)
    return Heatmap(features[0] @ weights[:, chosen], chosen, float(scores[0, chosen]), "cam")


def grad_cam(model: keras.Model, inputs: Any, class_index: int | None = None, layer: str | None = None) -> Heatmap:
    """Gradient-weighted class activation map, for any network.

    α_k^c = mean over places of ∂y^c / ∂A^k; L^c = ReLU(Σ_k α_k^c A^k) (Selvaraju et al. 2017, "Grad-CAM", eq. 1
    and 2), with y^c the score before the softmax.

    Parameters
    ----------
    model, inputs, class_index, layer
        As in `cam`.

    Returns
    -------
    Heatmap
        Not negative.

    Raises
    ------
    InputError
        The input, layer or class does not fit the model.
    UnsupportedError
        Keras's back end has no gradients.
    """
    network = Network(model, layer)
    batch = np.asarray(inputs, np.float32)[None]
    if class_index is None:
        class_index = int(network.scores(batch)[0].argmax())
    maps, scores = grad_cams(network, batch, network.check_class(class_index))
    return Heatmap(maps[0], class_index, float(scores[0]), "grad-cam")


def grad_cams(network: Network, inputs: Any, class_index: int) -> tuple[Any, Any]:
    """Grad-CAM of one class for many inputs: (N, h, w) maps and (N,) scores."""
    features, slopes, scores = network.sensitivity(inputs, class_index)
    weights = slopes.mean(axis=(1, 2))
    maps = np.maximum(np.einsum("nhwc,nc->nhw", features, weights), 0).astype(np.float32)
    return maps, scores[:, class_index]


def _chosen(network: Network, scores: Any, class_index: int | None) -> int:
    return int(scores.argmax()) if class_index is None else network.check_class(class_index)
