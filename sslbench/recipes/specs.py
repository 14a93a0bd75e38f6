"""The pieces of a recipe: views, encoder, heads, target, objective, optimiser, schedule, data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sslbench.recipes.base import Spec

# --- views ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Crop(Spec):
    """Random resized crop: area share in `scale`, aspect log-uniform in `ratio`, antialiased."""

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def check(self) -> None:
        self.require(0 < self.scale[0] <= self.scale[1] <= 1, "scale needs 0 < low <= high <= 1.")
        self.require(0 < self.ratio[0] <= self.ratio[1], "ratio needs 0 < low <= high.")


@dataclass(frozen=True, kw_only=True)
class Jitter(Spec):
    """torchvision's ColorJitter, applied with `probability`; op order drawn per sample."""

    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    probability: float = 0.8

    def check(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            self.require(0 <= getattr(self, name) <= 1, f"{name} must lie in [0, 1].")
        self.require(0 <= self.hue <= 0.5, "hue must lie in [0, 0.5].")
        self.require(0 <= self.probability <= 1, "probability must lie in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class Blur(Spec):
    """Gaussian blur, sigma uniform in `sigma`; kernel None is the odd size near side/10, >= 3."""

    probability: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    kernel: int | None = None

    def check(self) -> None:
        self.require(0 <= self.probability <= 1, "probability must lie in [0, 1].")
        self.require(0 < self.sigma[0] <= self.sigma[1], "sigma needs 0 < low <= high.")
        self.require(self.kernel is None or self.kernel % 2 == 1, "kernel must be odd.")


Op = Literal["crop", "flip", "jitter", "grayscale", "blur", "solarize", "cutout", "rotate",
             "noise", "sobel"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class View(Spec):
    """One view's pipeline. A probability of 0 or None switches an operation off.

    The operations run in `order`. Pixels lie in [0, 1] until the final normalisation.
    """

    crop: Crop | None = Crop()
    flip: float = 0.5
    jitter: Jitter | None = Jitter()
    grayscale: float = 0.2
    blur: Blur | None = Blur()
    solarize: float = 0.0
    solarize_threshold: float = 0.5
    cutout: float = 0.0
    rotate: float = 0.0
    noise: float = 0.0
    sobel: float = 0.0
    order: tuple[Op, ...] = ("crop", "flip", "jitter", "grayscale", "blur", "solarize",
                             "cutout", "rotate", "noise", "sobel")  # fmt: skip
    size: int | None = None  # output side; None is the data's resolution

    def check(self) -> None:
        for name in ("flip", "grayscale", "solarize", "cutout", "rotate", "noise", "sobel"):
            self.require(0 <= getattr(self, name) <= 1, f"{name} is a probability in [0, 1].")
        self.require(len(set(self.order)) == len(self.order), "order names an operation twice.")


@dataclass(frozen=True, kw_only=True)
class Views(Spec):
    """The views of an image: `first`, `second` (None draws `first` twice), and small `local` ones.

    `num_global=1` takes `first` alone (supervised training).

    `common`, if given, is one crop shared by both views before their own pipelines (the setting
    of SimCLR's augmentation grid).
    """

    first: View = View()
    second: View | None = None
    num_global: int = 2
    local: View | None = None
    num_local: int = 0
    common: View | None = None

    def check(self) -> None:
        self.require(self.num_global in (1, 2), "num_global must be 1 or 2.")
        self.require(self.num_global == 2 or self.second is None, "one view has no second.")
        self.require(self.num_local >= 0, "num_local must be >= 0.")
        self.require(self.num_local == 0 or self.local is not None, "num_local needs a local view.")


# --- networks ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ResNet(Spec):
    """A torchvision ResNet without classifier; `small` stem: 3x3 stride 1, no max-pool."""

    arch: Literal["resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50_2"] = "resnet50"
    stem: Literal["imagenet", "small"] = "imagenet"
    zero_init_residual: bool = False


@dataclass(frozen=True, kw_only=True)
class NarrowResNet(Spec):
    """torchvision basic blocks at a small width, for a CPU: width doubles at each stage."""

    width: int = 16
    blocks: tuple[int, ...] = (1, 1, 1)
    stem_stride: int = 2
    zero_init_residual: bool = False

    def check(self) -> None:
        self.require(self.width >= 1 and self.stem_stride in (1, 2), "width >= 1, stride 1 or 2.")
        self.require(bool(self.blocks) and min(self.blocks) >= 1, "blocks must be positive.")


@dataclass(frozen=True, kw_only=True)
class ViT(Spec):
    """A timm Vision Transformer, by size and patch."""

    arch: Literal["tiny", "small", "base"] = "small"
    patch: int = 16
    positions: Literal["learned", "sincos"] = "learned"
    pool: Literal["cls", "mean"] = "cls"
    drop_path: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RawPixels(Spec):
    """The flattened image as the representation: the baseline that every method must beat."""


@dataclass(frozen=True, kw_only=True)
class ColorHistogram(Spec):
    """A joint RGB histogram as the representation: what colour alone tells."""

    bins: int = 4


@dataclass(frozen=True, kw_only=True)
class MLP(Spec):
    """A projection or prediction head: Linear(-BN-ReLU) per hidden width, then Linear(-BN).

    `out=None` is as wide as the input. `learning_rate_scale` multiplies this head's rate,
    `constant_learning_rate` leaves it out of the decay (SimSiam, Sec. 4.1, "lr not decayed"),
    `trainable=False` freezes it at its random initialisation.
    """

    hidden: tuple[int, ...] = ()
    out: int | None = 128
    hidden_norm: bool = True
    hidden_bias: bool = True
    out_norm: bool = False
    out_norm_affine: bool = True
    out_bias: bool = True
    trainable: bool = True
    constant_learning_rate: bool = False
    learning_rate_scale: float = 1.0

    def check(self) -> None:
        widths = (*self.hidden, *(() if self.out is None else (self.out,)))
        self.require(all(w >= 1 for w in widths), "widths must be >= 1.")
        self.require(self.learning_rate_scale > 0, "learning_rate_scale must be > 0.")


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Spec):
    """How batch statistics are taken.

    `synchronized`: over all processes; `local`: per process; `split`: over `splits` equal groups
    of a process's batch, which emulates that many devices on one. `shuffle` permutes the key
    batch of a momentum target (MoCo). `joint_views` forwards both views as one batch (SimCLR).
    """

    mode: Literal["synchronized", "local", "split"] = "synchronized"
    splits: int = 1
    shuffle: bool = False
    joint_views: bool = False

    def check(self) -> None:
        self.require(self.splits >= 1, "splits must be >= 1.")
        self.require(self.mode == "split" or self.splits == 1, "splits need mode: split.")


# --- target -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shared(Spec):
    """The target is the online encoder and projector; the gradient stops there or flows."""

    stop_gradient: bool = True


@dataclass(frozen=True, kw_only=True)
class EMA(Spec):
    """A moving average of the online encoder and projector; cosine raises momentum to 1."""

    momentum: float = 0.996
    schedule: Literal["constant", "cosine"] = "constant"

    def check(self) -> None:
        self.require(0 <= self.momentum <= 1, "momentum must lie in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class ConstantRandom(Spec):
    """A random network that is never updated."""


Target = Shared | EMA | ConstantRandom

# --- objectives -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class InfoNCE(Spec):
    """Contrast one positive with negatives; NT-Xent is `both_views` without a target network.

    `negatives`: `both_views` = the other view of every image and the same view of every other
    image; `other_view` = the other view of every image; `queue` = the memory only.
    `negative_weight` is BYOL's beta on the log-sum-exp term; `scale` multiplies the loss
    (BYOL's form is scaled by 2 * temperature).
    """

    temperature: float = 0.1
    negatives: Literal["both_views", "other_view", "queue"] = "both_views"
    queue: int | None = None
    symmetric: bool = True
    normalize: bool = True
    negative_weight: float = 1.0
    scale: float = 1.0

    def check(self) -> None:
        self.require(self.temperature > 0, "temperature must be > 0.")
        self.require(self.scale > 0, "scale must be > 0.")
        self.require(self.negative_weight >= 0, "negative_weight must be >= 0.")
        has_queue = self.queue is not None
        self.require(has_queue == (self.negatives == "queue"),
                     "queue needs a length exactly when negatives is 'queue'.")  # fmt: skip
        self.require(self.queue is None or self.queue >= 1, "queue must be >= 1.")


@dataclass(frozen=True, kw_only=True)
class NegativeCosine(Spec):
    """-cos(online, target) averaged over both directions, times `scale`.

    SimSiam: scale 1. BYOL: 4, its squared distances 4 - 2cos - 2cos less the constant.
    """

    scale: float = 1.0
    symmetric: bool = True

    def check(self) -> None:
        self.require(self.scale > 0, "scale must be > 0.")


@dataclass(frozen=True, kw_only=True)
class CrossCorrelation(Spec):
    """Barlow Twins and the variants of its Table 5.

    `form`: `correlation` (batch-standardised), `feature_norm` (also l2 over features,
    covariance), `covariance` (centred only), `cross_entropy` (with `temperature`).
    """

    off_diagonal_weight: float = 5e-3
    on_diagonal_weight: float = 1.0
    form: Literal["correlation", "feature_norm", "covariance", "cross_entropy"] = "correlation"
    temperature: float = 1.0
    scale: float = 1.0

    def check(self) -> None:
        self.require(self.off_diagonal_weight >= 0, "off_diagonal_weight must be >= 0.")
        self.require(self.on_diagonal_weight >= 0, "on_diagonal_weight must be >= 0.")
        self.require(self.temperature > 0 and self.scale > 0, "temperature, scale must be > 0.")


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Spec):
    """Supervised: a linear classifier over the data's classes, on the first view."""

    label_smoothing: float = 0.0


Objective = InfoNCE | NegativeCosine | CrossCorrelation | CrossEntropy

# --- optimisation -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SGD(Spec):
    """SGD with momentum; weight decay on every parameter unless excluded."""

    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 1e-4
    nesterov: bool = False
    exclude_bias_and_norm: bool = False
    scaling: Literal["linear", "sqrt", "none"] = "none"

    def check(self) -> None:
        _check_optimizer(self)


@dataclass(frozen=True, kw_only=True)
class LARS(Spec):
    """LARS without Nesterov; one-dimensional parameters get plain momentum when excluded.

    `lr` is per 256 images under `linear` scaling; `bias_lr` is Barlow Twins' separate rate of
    biases and norms (None: the same rate).
    """

    lr: float = 0.3
    bias_lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-6
    trust_coefficient: float = 1e-3
    exclude_bias_and_norm: bool = True
    scaling: Literal["linear", "sqrt", "none"] = "linear"

    def check(self) -> None:
        _check_optimizer(self)
        self.require(self.trust_coefficient > 0, "trust_coefficient must be > 0.")


@dataclass(frozen=True, kw_only=True)
class AdamW(Spec):
    """AdamW; biases and norms are not decayed when excluded."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    exclude_bias_and_norm: bool = True
    scaling: Literal["linear", "sqrt", "none"] = "none"

    def check(self) -> None:
        _check_optimizer(self)


def _check_optimizer(spec: SGD | LARS | AdamW) -> None:
    spec.require(spec.lr > 0, "lr must be > 0.")
    spec.require(spec.weight_decay >= 0, "weight_decay must be >= 0.")


Optimizer = SGD | LARS | AdamW


@dataclass(frozen=True, kw_only=True)
class Cosine(Spec):
    """Linear warm-up from 0, then half a cosine to `floor` times the rate, per step or epoch."""

    warmup_epochs: float = 0.0
    floor: float = 0.0
    per: Literal["step", "epoch"] = "step"


@dataclass(frozen=True, kw_only=True)
class Steps(Spec):
    """The rate times `factor` at each milestone, given as shares of the schedule."""

    milestones: tuple[float, ...] = (0.6, 0.8)
    factor: float = 0.1
    warmup_epochs: float = 0.0

    def check(self) -> None:
        self.require(all(0 < m < 1 for m in self.milestones), "milestones must lie in (0, 1).")


Schedule = Cosine | Steps

# --- data -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shapes(Spec):
    """The built-in procedural set: shape and pattern tell the class, all else is nuisance."""

    resolution: int = 32
    num_train: int = 8000
    num_test: int = 2000
    num_classes: int = 10
    seed: int = 0
    shift: float = 0.3  # object centre, uniform in +- shift of the half side
    size: tuple[float, float] = (0.6, 0.95)
    rotation: float = 0.5  # radians, uniform in +-

    def check(self) -> None:
        self.require(self.resolution >= 8, "resolution must be >= 8.")
        self.require(self.num_train >= 1 and self.num_test >= 1, "needs at least one image each.")
        self.require(2 <= self.num_classes <= 10, "num_classes must lie in 2..10.")


@dataclass(frozen=True, kw_only=True)
class ImageSet(Spec):
    """A real set by name, from its local copy or download; subsets are seeded and stratified."""

    name: str = "cifar10"
    resolution: int | None = None  # None: the set's own; folders need one
    num_train: int | None = None  # None: all
    num_test: int | None = None
    path: str | None = None  # None: <data root>/<name>; needed for `folder` and `flat`

    DIGEST_SKIPS: ClassVar[frozenset[str]] = frozenset({"path"})

    def check(self) -> None:
        for name in ("resolution", "num_train", "num_test"):
            value = getattr(self, name)
            self.require(value is None or value >= 1, f"{name} must be >= 1.")


Data = Shapes | ImageSet
