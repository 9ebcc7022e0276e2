"""What to change in a model so that an operator can run on the accelerator."""

from __future__ import annotations

from edgecv_export.tflite_graph import Operator

# By the rule that does not hold.
_BY_RULE = {
    "dtype": "export in int8 (--precision int8), with no layer kept in float",
    "dtype_not": "keep the values in int8: a cast or an index computed in 32 bits belongs behind the model",
    "input_dtype": "export in int8 (--precision int8)",
    "matmul_dtype": "export in int8 (--precision int8)",
    "quantized": "export in int8 (--precision int8) with calibration pictures",
    "weights_8bit": "export in int8 (--precision int8)",
    "static_shape": "build the model with a fixed input size (--input-size) and batch 1",
    "batch": "export with batch 1",
    "rank": "merge dimensions with a reshape, or split the operator into several of at most four dimensions",
    "innermost_dimensions": "put the batch at 1 and merge outer dimensions",
    "stride": "use a stride of at most 3, or several smaller strides one after the other",
    "kernel": "use several smaller kernels one after the other, or global average pooling",
    "equal_dilation": "use the same dilation in both directions",
    "transposed_stride": "use stride 2, or resize by nearest neighbour and a convolution",
    "transposed_shape": "use padding 'same' without output padding",
    "upscale": "resize by 2, several times for a larger factor",
    "power_of_two_upscale": "resize by a power of two",
    "fused_activation": "give the activation a layer of its own, or use ReLU6",
    "same_quantization": "requantize both inputs to the output's scale, or replace the operator by ReLU",
    "mean": "average over height and width of at most 4096 each",
    "weight_sum": "rescale the layer: its weights are too large for the accumulator",
    "softmax_length": "leave the softmax to the runtime: the artefact then ends at the logits",
    "softmax_area": "leave the softmax to the runtime: the artefact then ends at the logits",
    "one_row": "export with batch 1",
    "argmax": "leave the arg max to the runtime",
    "parameters_constant": "make the parameters constants of the graph",
}
# By the operator, where the accelerator does not have it at all.
_BY_KIND = {
    "DEQUANTIZE": "export in int8 throughout: a float operator behind it needs the conversion",
    "DEPTH_TO_SPACE": "use a transposed convolution of stride 2",
    "LOGISTIC": "replace swish by ReLU6 (models named lite have none)",
    "HARD_SWISH": "replace hard-swish by ReLU6",
    "GELU": "replace GELU by ReLU6",
    "ELU": "replace ELU by ReLU6",
    "SOFTMAX": "leave the softmax to the runtime: the artefact then ends at the logits",
    "CAST": "feed the type that the model computes in",
    "CUSTOM": "rebuild the layer from standard operators",
}
_FLOAT = frozenset({"float32", "float16", "float64"})


def remedy(operator: Operator, rule: str | None) -> str:
    """What helps; empty where nothing general can be said.

    Parameters
    ----------
    operator : Operator
    rule : str or None
        The rule that it breaks; None where the accelerator does not have the operator.
    """
    if rule is not None:
        return _BY_RULE.get(rule, "")
    if operator.kind in _BY_KIND:
        return _BY_KIND[operator.kind]
    if any(tensor.dtype in _FLOAT for tensor in operator.outputs):
        return _BY_RULE["dtype"]
    return "replace the operator by one that the table has, or leave it to the program behind the model"
