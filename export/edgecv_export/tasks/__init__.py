"""What a task means for an export: how its outputs are read, what a good artefact of it is, how accuracy is measured.

One task a file; the exporter asks the task and knows none by name.
"""

from edgecv_export.tasks.base import Compared, Task, task_names, task_of
from edgecv_export.tasks.reading import Reader, choose_decoder, float_manifest, split_outputs

__all__ = [
    "Compared",
    "Reader",
    "Task",
    "choose_decoder",
    "float_manifest",
    "split_outputs",
    "task_names",
    "task_of",
]
