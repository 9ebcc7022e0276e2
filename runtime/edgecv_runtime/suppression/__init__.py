"""Non-maximum suppression: of many boxes around one object, keep one.

Hard (greedy), soft (linear, Gaussian), DIoU, matrix, and weighted fusion, within each class or across all of them. The
same functions run on the device, in evaluation and in the tests of the exporters.
"""

from edgecv_runtime.suppression.api import METHODS, Suppressed, nms, suppress

__all__ = ["METHODS", "Suppressed", "nms", "suppress"]
