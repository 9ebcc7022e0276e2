"""Models × devices: one bundle for each pair, or the reason why there is none.

Examples
--------
>>> from edgecv_export.matrix import Network, run_matrix
>>> matrix = run_matrix([Network("lenet5", "lenet5", weights="digits")], "out", targets=["pi-4"])  # doctest: +SKIP
"""

from edgecv_export.matrix.engines import on_processes, on_ray
from edgecv_export.matrix.network import Network
from edgecv_export.matrix.row import Row
from edgecv_export.matrix.run import Matrix, run_matrix

__all__ = ["run_matrix", "Network", "Matrix", "Row", "on_processes", "on_ray"]
