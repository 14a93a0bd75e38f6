"""Downstream tasks by name: the protocol that a task means, and the protocols that are usual for
what images come with. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sslbench.evaluation.protocols import DEFAULTS, find_protocol


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: its protocols, and the built-in set that it is tried on where no other is named."""

    protocols: tuple[str, ...]
    data: str = "scenes"


TASKS: dict[str, Task] = {
    "classification": Task(protocols=DEFAULTS, data="shapes"),
    "multilabel": Task(protocols=("multilabel.svm.v1",)),
    "segmentation": Task(protocols=("segmentation.linear.v1",)),
    "depth": Task(protocols=("depth.v1",)),
    "detection": Task(protocols=("detection.v1",)),
    "instance": Task(protocols=("instance.v1",)),
}
SLOW = ("detection", "instance")  # a detector is trained: minutes where the others take seconds


def usual_protocols(annotations: Collection[str]) -> tuple[str, ...]:
    """The quick protocols of all tasks for which images come with what is needed.

    Args:
        annotations: in the words of `sslbench.data.registry.ANNOTATIONS`.
    """
    fitting = fitting_tasks(annotations)
    return tuple(p for name in fitting if name not in SLOW for p in TASKS[name].protocols)


def fitting_tasks(annotations: Collection[str]) -> tuple[str, ...]:
    """The tasks for which images come with what is needed."""
    return tuple(
        name for name, task in TASKS.items()
        if all(find_protocol(p).needs <= {*annotations} for p in task.protocols)
    )  # fmt: skip
