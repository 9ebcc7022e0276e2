"""Before anything is compiled: where each operator of a model will run on a device, and why.

Examples
--------
>>> from edgecv_targets import load_target
>>> found = check(read_graph(content), load_target("ethos-u55-128"))    # doctest: +SKIP
>>> found.fallback_operators                                            # doctest: +SKIP
0.0
"""

from edgecv_export.compatibility.check import Compatibility, Placed, check, place

__all__ = ["check", "place", "Compatibility", "Placed"]
