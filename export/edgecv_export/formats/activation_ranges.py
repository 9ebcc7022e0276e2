"""What the 256 levels of each of an artefact's activations cover: measured, then adjusted, in every format alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from edgecv_export.formats.job import InputGrid
from edgecv_export.formats.layer_names import scope_of
from edgecv_export.quantize.affine import Range
from edgecv_export.quantize.ranges import OUTPUT_MARGIN, Batches, estimate_ranges, widened
from edgecv_export.quantize.recipe import Recipe


def activation_ranges(
    batches: Batches,
    recipe: Recipe,
    grid: InputGrid,
    *,
    pixels: Collection[str],
    outputs: Collection[str],
    layer_of: Callable[[str], str | None],
) -> dict[str, Range]:
    """The range of every activation.

    Parameters
    ----------
    batches : callable
        As in `estimate_ranges`: the float artefact's tensors by name, image by image.
    recipe : Recipe
    grid : InputGrid
    pixels : collection of str
        Tensors that hold the image: they get the grid of its pixels, whatever the calibration images reach.
    outputs : collection of str
        The logits (and whatever else the artefact gives): they get room for values beyond those seen, by min-max, since
        a clipped logit ties the top classes.
    layer_of : callable
        The scope of the layer whose stored output a tensor is, or None.
    """
    found = estimate_ranges(batches, recipe.estimator)
    trained = {scope_of(name): range_ for name, range_ in recipe.ranges.items()}
    for name, range_ in found.items():
        scope = layer_of(name)
        if scope in trained:
            found[name] = trained[scope]
        else:
            found[name] = Range(range_.low * recipe.widen, range_.high * recipe.widen)
    found |= dict.fromkeys(pixels, grid.range)
    full = _full_ranges(batches, outputs, recipe, found)
    return found | {output: widened(range_, OUTPUT_MARGIN) for output, range_ in full.items()}


def _full_ranges(
    batches: Batches, outputs: Collection[str], recipe: Recipe, found: Mapping[str, Range]
) -> dict[str, Range]:
    """From the smallest to the largest value seen of each output."""
    if recipe.estimator == "minmax" and recipe.widen == 1.0:
        return {output: found[output] for output in outputs}
    return estimate_ranges(lambda: ({name: tensors[name] for name in outputs} for tensors in batches()), "minmax")
