"""Downstream tasks by name: the protocols of each, the built-in images to try it on, and what is
usual for what images come with. No torch."""

from __future__ import annotations

from collections.abc import Collection

from sslbench.evaluation.protocols import DEFAULTS, find_protocol

# The protocols that predict such a thing of a test image, so that it can be shown; the usual one
# first.
TASKS = {
    "detection": ("detection.v1", "detection.c4.v1", "instance.v1"),
    "instance": ("instance.v1",),
    "segmentation": ("segmentation.linear.v1", "segmentation.finetune.v1"),
    "depth": ("depth.v1", "depth.previous.v1"),
    "multilabel": ("multilabel.svm.v1",),
}
# Of a protocol of several tasks the last one, which shows most.
TASK_OF = {protocol: task for task, protocols in TASKS.items() for protocol in protocols}

# The protocols that a task means where none are named.
USUAL = {"classification": DEFAULTS} | {task: names[:1] for task, names in TASKS.items()}
SLOW = ("detection", "instance")  # a detector is trained: minutes where the others take seconds


def images_of(task: str) -> str:
    """The built-in set on which a task is tried where no other is named."""
    return "shapes" if task == "classification" else "scenes"


def usual_protocols(annotations: Collection[str]) -> tuple[str, ...]:
    """The quick protocols of all tasks for which images come with what is needed.

    Args:
        annotations: in the words of `sslbench.data.registry.ANNOTATIONS`.
    """
    fitting = fitting_tasks(annotations)
    return tuple(name for task in fitting if task not in SLOW for name in USUAL[task])


def fitting_tasks(annotations: Collection[str]) -> tuple[str, ...]:
    """The tasks for which images come with what is needed."""
    return tuple(
        task for task, names in USUAL.items()
        if all(find_protocol(name).needs <= {*annotations} for name in names)
    )  # fmt: skip
