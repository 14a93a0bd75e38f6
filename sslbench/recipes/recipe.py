"""The recipe: everything that decides what is trained, and nothing about how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar

from sslbench.errors import UserError, did_you_mean
from sslbench.recipes.base import Spec, aside, choices, later
from sslbench.recipes.limits import require_limits, require_parameters
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import (
    SGD,
    Cosine,
    Data,
    EncoderSpec,
    ObjectiveSpec,
    Optimizer,
    Projector,
    ResNet,
    Schedule,
    Shapes,
    Spaces,
    Views,
)
from sslbench.typed import hints_of, require_name


@dataclass(frozen=True, kw_only=True)
class Recipe(Spec, interface=True):
    """A point in the design space: what every run has, whatever its family adds.

    `name` and the two notes do not enter the digest. `batch_size` counts images over all
    processes; `accumulate` averages gradients over that many batches before one update (BYOL's
    batch-size sweep). `start` is a whole recipe: its run on the same data with the same seed is
    trained first, and this one begins with that run's encoder and projector (the projector where
    it is of the same shape), in place of random ones.

    A family says by `needs_labels` that it trains on labels; by `rank_matters` that embeddings of
    few dimensions are a fault, not what is asked for; by `least_std` below which share of 1/sqrt(D)
    the std of unit embeddings is a collapse; by `shares_views` that it reads `views.shared`;
    `FORMER` is what a run's digest held of it
    while all families were one kind with all fields, so that finished runs stay what they are.
    """

    needs_labels: ClassVar[bool] = False
    rank_matters: ClassVar[bool] = True
    least_std: ClassVar[float] = 0.1
    shares_views: ClassVar[bool] = False
    FORMER: ClassVar[Mapping[str, Any] | None] = None

    name: str = aside()
    source: str = aside()
    departures: tuple[str, ...] = aside(())
    views: Views = Views()
    encoder: EncoderSpec = ResNet()
    optimizer: Optimizer = SGD()
    schedule: Schedule = Cosine()
    epochs: int = 100
    batch_size: int = 256
    accumulate: int = 1
    start: Recipe | None = later(None)

    @property
    def family(self) -> str:
        """`joint` of `JointRecipe`: what the files of the scales are called."""
        return type(self).__name__.removesuffix("Recipe").lower()

    def check(self) -> None:
        require_name(self.name, "name")
        self.require(self.epochs >= 0, "epochs must be >= 0.")
        self.require(self.batch_size >= 2, "batch_size must be >= 2.")
        self.require(self.accumulate >= 1, "accumulate must be >= 1.")

    def validate(self) -> None:
        """Rules across pieces, checked when a recipe becomes an experiment (so that several
        changes can be made one after the other); a family adds its own. Raises UserError."""
        self.encoder.require_shape()
        self.require(
            self.encoder.trainable or self.epochs == 0,
            f"{type(self.encoder).__name__} has nothing to train; set epochs=0.",
        )
        self.require(
            self.shares_views or not self.views.shared,
            "views.shared adds views that are not read here; set views.shared=[], or take looc.",
        )
        for where, size in self.views.sizes() if self.epochs > 0 else ():
            self.encoder.require_view(size, where=where)
        if self.start is not None:
            self._validate_start(self.start)

    @property
    def vector_projector(self) -> Projector | Spaces | None:
        """The head over one vector an image, which a run keeps beside its encoder."""
        return None

    @property
    def vector_objective(self) -> ObjectiveSpec | None:
        """The loss on one vector an image."""
        return None

    @property
    def needs_boxes(self) -> bool:
        """Whether it trains on the boxes that annotators drew around objects."""
        return False

    def require_fit(self, resolution: int) -> None:
        """Raise UserError unless images of that side, in pixels, can be trained on."""
        self.encoder.require_fit(resolution)

    def _validate_start(self, start: Recipe) -> None:
        theirs = dict(start.leaves())
        for path, own in self.leaves():
            self.require(
                not path.startswith("encoder.") or theirs.get(path) == own,
                f"{path} is {own} here and {theirs.get(path)} in start ({start.name}); a run goes "
                f"on with the encoder that it starts from, so set {path} and start.{path} alike.",
            )
        start.validate()

    @classmethod
    def in_order(cls) -> Sequence[Field[Any]]:
        """The pieces of a family between the encoder and the optimiser."""
        common = [f.name for f in fields(Recipe)]
        first, last = common[: common.index("optimizer")], common[common.index("optimizer") :]
        return sorted(fields(cls), key=lambda f: (f.name not in first, f.name in last))

    def num_head_parameters(self) -> int:
        """About how many weights stand beside the encoder."""
        return 0

    def cause(self, *, complete: bool) -> str:
        """Why the embeddings may have collapsed, as a sentence.

        Args:
            complete: all embeddings are alike; otherwise they fill few dimensions.
        """
        return "The features do not differ between images: the learning rate may be too high."

    def to_dict(self, *, for_digest: bool = False) -> dict[str, Any]:
        own = super().to_dict(for_digest=for_digest)
        if for_digest and self.FORMER is not None:
            return {**self.FORMER, **own, "kind": "Recipe"}
        return own

    @classmethod
    def upgraded(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of a `kind: Recipe`, from before there were families, the one that it is of."""
        if data.get("kind") != "Recipe":
            return data
        for family in choices(Recipe):
            assert issubclass(family, Recipe)
            if family.FORMER is not None and family.is_former(data):
                known = {"prototypes": None, **family.FORMER}
                foreign = {k for k, v in known.items() if data.get(k) == v} - set(hints_of(family))
                own = {k: v for k, v in data.items() if k not in foreign}
                return {**own, "kind": family.__name__}
        return data

    @classmethod
    def is_former(cls, data: Mapping[str, Any]) -> bool:
        """Whether a recipe from before there were families is of this one."""
        return False


@dataclass(frozen=True, kw_only=True)
class Experiment(Spec):
    """A recipe on data with a seed: one run. Its digest, with the fingerprint of the data,
    names the run folder. `without_heldout`: the held-out part of the training images and their
    labels are not trained on, so that a study may compare runs that train on labels there."""

    recipe: Recipe
    data: Data = Shapes()
    seed: int = 0
    scale: str = aside("laptop")
    without_heldout: bool = later(False)

    @property
    def start(self) -> Experiment | None:
        """The run that this one begins from, on the same data and with the same seed."""
        return None if self.recipe.start is None else self.but(recipe=self.recipe.start)

    def check(self) -> None:
        self.require(self.seed >= 0, "seed must be >= 0.")
        known = (*SCALES, "external")  # an encoder of another library is of no scale
        if self.scale not in known:
            hint = did_you_mean(self.scale, known)
            raise UserError(f"{type(self).__name__}: no scale '{self.scale}'{hint}")
        require_limits(list(self.leaves()))
        require_parameters(self.recipe)
        self.recipe.validate()
        if self.data.resolution is not None:
            self.recipe.require_fit(self.data.resolution)
