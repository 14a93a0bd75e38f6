"""What protocols predict of a test image, so that it can be shown: tasks by name. No torch."""

from __future__ import annotations

# The protocols that predict such a thing, the usual one first.
TASKS = {
    "detection": ("detection.v1", "detection.c4.v1", "instance.v1"),
    "instance": ("instance.v1",),
    "segmentation": ("segmentation.linear.v1", "segmentation.finetune.v1"),
    "depth": ("depth.v1", "depth.previous.v1"),
    "multilabel": ("multilabel.svm.v1",),
}
# Of a protocol of several tasks the last one, which shows most.
TASK_OF = {protocol: task for task, protocols in TASKS.items() for protocol in protocols}
