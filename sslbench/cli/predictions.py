"""`analyze predictions` and `per-class`: what a protocol kept of test images, beside the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sslbench.cli import options as o
from sslbench.cli.analyze import Index, Runs
from sslbench.cli.picture import Picture
from sslbench.cli.values import numbers

if TYPE_CHECKING:
    from sslbench.evaluation.analyses import Analysis
    from sslbench.evaluation.subject import Subject


Protocol = Annotated[
    str | None,
    typer.Option(help="Whose predictions; default: the task's first that the run was scored by."),
]


@dataclass(frozen=True, kw_only=True)
class Predictions(Picture):
    """Boxes, masks, maps of classes, depth or labels that a scored run predicts on test images,
    beside the truth."""

    names: Runs
    task: Annotated[
        str, typer.Option(help="detection, instance, segmentation, depth or multilabel.")
    ]
    protocol: Protocol = None
    images: Annotated[
        int | None, typer.Option(help="How many test images to show; default: 6, if there are.")
    ] = None
    sort: Annotated[
        str, typer.Option(help="random, or the worst or best images, of several runs the first's.")
    ] = "random"
    seed: Annotated[int, o.seed_of("the random choice of test images")] = 0
    index: Index = None
    least_score: Annotated[
        float | None,
        typer.Option(help="Detections as sure as this are drawn; default: where F1 is largest."),
    ] = None

    def __call__(self) -> None:
        chosen = numbers(self.index, int, "--index")
        self.prepare()
        from sslbench.evaluation.analyses import analyze_predictions

        first: dict[str, list[int]] = {}  # the images of the first run on each data set

        def analyze(subject: Subject) -> Analysis:
            same = first.get(subject.label)
            analysis = analyze_predictions(
                subject, self.task, protocol=self.protocol, count=self.images, seed=self.seed,
                index=same or chosen, sort="random" if same else self.sort,
                least_score=self.least_score,
            )  # fmt: skip
            first[subject.label] = [record["image"] for record in analysis.summary]
            return analysis

        self.each(self.names, analyze, labelled=False)


@dataclass(frozen=True, kw_only=True)
class PerClass(Picture):
    """What each class contributes to a score: AP50 with precision over recall, IoU, or AP."""

    names: Runs
    task: Annotated[str, typer.Option(help="detection, instance, segmentation or multilabel.")]
    protocol: Protocol = None

    def __call__(self) -> None:
        self.prepare()
        from sslbench.evaluation.analyses import analyze_per_class

        self.each(
            self.names,
            lambda s: analyze_per_class(s, self.task, protocol=self.protocol),
            labelled=False,
        )
