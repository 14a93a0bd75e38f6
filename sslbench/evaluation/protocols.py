"""Protocols: every setting that decides a score, as data, with a hash. Imports no torch.

A changed setting is a new version of the protocol (`knn.v2`), never an edit: old scores keep the
name and the definition under which they were measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar

from sslbench.data.registry import DATASETS
from sslbench.errors import UserError, did_you_mean
from sslbench.evaluation.dense_kinds import Depth, SegmentationFineTune, SegmentationLinear
from sslbench.evaluation.detection_kinds import Detection, InstanceSegmentation
from sslbench.evaluation.finetune_kinds import FewLabelFineTune, FineTune, PartialFineTune
from sslbench.evaluation.linear_kinds import AugmentedLinear as AugmentedLinear
from sslbench.evaluation.linear_kinds import FewLabels as FewLabels
from sslbench.evaluation.linear_kinds import Linear as Linear
from sslbench.evaluation.linear_kinds import ProjectedLinear as ProjectedLinear
from sslbench.evaluation.linear_kinds import TokenLinear as TokenLinear
from sslbench.evaluation.multilabel_kinds import MultilabelSVM
from sslbench.evaluation.protocol import POINTS as POINTS
from sslbench.evaluation.protocol import TOP1 as TOP1
from sslbench.evaluation.protocol import TOP5 as TOP5
from sslbench.evaluation.protocol import Better as Better
from sslbench.evaluation.protocol import Protocol as Protocol
from sslbench.evaluation.protocol import Value as Value


@dataclass(frozen=True, kw_only=True)
class KNN(Protocol):
    """Weighted kNN by cosine similarity s: a neighbour votes exp(s / temperature) for its class.

    The pair of `neighbors` and `temperatures` with the best held-out top-1 is used on the test
    set, the first of equal ones (fewer neighbours, then lower temperature).
    Source: Wu et al. 2018 (instance discrimination), Sec. 3.4.
    """

    needs: ClassVar = frozenset({"labels"})
    values: ClassVar = (TOP1, TOP5)
    runner: ClassVar = "sslbench.evaluation.knn:run"

    neighbors: tuple[int, ...] = (10, 20, 50, 100, 200)
    temperatures: tuple[float, ...] = (0.05, 0.07, 0.1, 0.2, 0.5)
    normalize: str = "l2"
    search: str = "exact inner product, float32"


@dataclass(frozen=True, kw_only=True)
class Geometry(Protocol):
    """How l2-normalised features of test images lie on the sphere; no labels are fitted.

    `alignment_power`, `uniformity_scale`: the paper's alpha and t. At most `max_images` test
    images take part. Positive pairs are two views of an image under the run's own recipe.
    Source: Wang and Isola 2020; tolerance: Wang and Liu 2021.
    """

    needs: ClassVar = frozenset({"labels"})
    values: ClassVar = (
        Value(key="alignment", better="lower"),
        Value(key="uniformity", better="lower"),
        Value(key="tolerance"),
        Value(key="effective_rank"),
        Value(key="std"),
    )
    runner: ClassVar = "sslbench.evaluation.geometry:run"

    alignment_power: float = 2.0
    uniformity_scale: float = 2.0
    max_images: int = 10_000
    seed: int = 0


_RATES = tuple(round(1e-4 * 10 ** (i / 3), 8) for i in range(16))  # 1e-4 to 10, 3 a decade

_MAP_RATES = tuple(round(1e-2 * 10 ** (i / 2), 8) for i in range(9))  # 1e-2 to 100, 2 a decade

_TUNING_RATES = (1e-3, 4e-3, 1.6e-2)
_DETECTION_RATES = (0.04, 0.08, 0.16)

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        KNN(
            name="knn.v1",
            summary="Weighted kNN on cosine similarity; k and temperature chosen held-out.",
        ),
        Linear(
            name="linear.features.v1",
            summary="Linear probe on cached features, learning rate chosen held-out.",
            short="linear",
            learning_rates=_RATES,
        ),
        AugmentedLinear(
            name="linear.augmented.v1",
            summary="Linear probe with random crops and flips, as in the papers.",
            learning_rates=_RATES,
            least_steps=0,  # an epoch is a pass of the encoder
        ),
        TokenLinear(
            name="linear.class-token.v1",
            summary="Linear probe on a ViT's class token.",
            learning_rates=_RATES,
            reading="class",
        ),
        TokenLinear(
            name="linear.mean-token.v1",
            summary="Linear probe on the mean of a ViT's patch tokens.",
            learning_rates=_RATES,
            reading="mean",
        ),
        TokenLinear(
            name="linear.last-blocks.v1",
            summary="Linear probe on the class tokens of a ViT's last four blocks, as DINO's.",
            learning_rates=_RATES,
            reading="class",
            blocks=4,
        ),
        ProjectedLinear(
            name="linear.projector.v1",
            summary="Linear probe on the projector's output; of LooC on all its spaces (LooC++).",
            learning_rates=_RATES,
        ),
        FewLabels(
            name="fewshot.v1",
            summary="Linear probe on 1 % and 10 % of the labels, five draws each.",
            learning_rates=_RATES,
        ),
        Geometry(
            name="geometry.v1",
            summary="Alignment, uniformity, tolerance, effective rank and spread of features.",
        ),
        FineTune(
            name="finetune.v1",
            summary="Fine-tuning beside scratch; rate and layer decay chosen held-out.",
            learning_rates=_TUNING_RATES,
            layer_decays=(0.75, 1.0),
        ),
        FineTune(
            name="finetune.mixed.v1",
            summary="The same for 100 epochs with mixup, cutmix and erasing, as in the papers.",
            learning_rates=_TUNING_RATES,
            layer_decays=(0.75, 1.0),
            epochs=100,
            choice_epochs=5,
            mixup=0.8,
            cutmix=1.0,
            erasing=0.25,
        ),
        PartialFineTune(
            name="finetune.partial.v1",
            summary="Fine-tuning of the last blocks alone; rate chosen held-out.",
            learning_rates=_TUNING_RATES,
            layer_decays=(1.0,),
        ),
        FewLabelFineTune(
            name="fewshot.finetune.v1",
            summary="Fine-tuning on 1 % and 10 % of the labels, three draws each.",
            learning_rates=_TUNING_RATES,
            layer_decays=(0.75, 1.0),
        ),
        Detection(
            name="detection.v1",
            summary="Faster R-CNN on a feature pyramid of the encoder, beside scratch.",
            learning_rates=_DETECTION_RATES,
        ),
        Detection(
            name="detection.c4.v1",
            summary="Faster R-CNN on a ResNet's last but one stage (C4), beside scratch.",
            form="c4",
            learning_rates=(0.16, 0.32, 0.64),
        ),
        InstanceSegmentation(
            name="instance.v1",
            summary="Mask R-CNN on a feature pyramid of the encoder, beside scratch.",
            learning_rates=_DETECTION_RATES,
        ),
        SegmentationLinear(
            name="segmentation.linear.v1",
            summary="Semantic segmentation by a linear probe of the last map, frozen.",
            learning_rates=_MAP_RATES,
        ),
        SegmentationFineTune(
            name="segmentation.finetune.v1",
            summary="Semantic segmentation by an FCN head, fine-tuned beside scratch.",
            learning_rates=_TUNING_RATES,
            layer_decays=(0.75, 1.0),
        ),
        Depth(
            name="depth.v1",
            summary="Depth by a linear probe of the last map, frozen.",
            learning_rates=_MAP_RATES,
        ),
        Depth(
            name="depth.previous.v1",
            summary="The same on the map before it.",
            learning_rates=_MAP_RATES,
            level="previous",
        ),
        MultilabelSVM(
            name="multilabel.svm.v1",
            summary="A linear SVM for each class, its cost chosen by cross-validation, as on VOC.",
        ),
    )
}

DEFAULTS = ("knn.v1", "linear.features.v1")  # of every run, where none are named


def short_names() -> dict[str, str]:
    """Short names and the full ones that they mean now: of several versions the last one here."""
    return {
        short: name
        for name, protocol in PROTOCOLS.items()
        for short in (name.rpartition(".v")[0], protocol.short)
        if short
    }


def find_protocol(name: str) -> Protocol:
    """A protocol by its full name, or the current version by its short one. Raises UserError."""
    name, short = name.strip(), short_names()
    full = short.get(name, name)
    if full not in PROTOCOLS:
        raise UserError(f"No protocol '{name}'{did_you_mean(name, [*short, *PROTOCOLS])}")
    return PROTOCOLS[full]


def find_protocols(names: Iterable[str]) -> list[Protocol]:
    """The protocols of some names, each once, in the order given. Raises UserError."""
    return list({p.name: p for p in map(find_protocol, names)}.values())


def require(protocol: Protocol, has: Collection[str], *, dataset: str) -> None:
    """Return when a data set has what a protocol needs.

    Args:
        has: what its images come with, as in `Protocol.needs`.
    Raises:
        UserError: it lacks some of that.
    """
    lacking = sorted(protocol.needs.difference(has))
    if lacking:
        fitting = [name for name, info in DATASETS.items() if protocol.needs <= info.annotations]
        raise UserError(
            f"{protocol.name} needs {' and '.join(lacking)}, which data set '{dataset}' lacks; "
            f"take one that has them: {', '.join(fitting) or 'there is none yet'}."
        )
