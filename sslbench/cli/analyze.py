"""`analyze`: the pictures of the papers, from any finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sslbench.cli import options as o
from sslbench.cli.picture import Picture
from sslbench.cli.values import numbers
from sslbench.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from sslbench.evaluation.analyses import Space as SpaceName

Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...", help="Runs (folder, or start of a name), or another library's encoders."
    ),
]
SomeRuns = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN...]", help="As elsewhere; none with --all.")
]
Space = Annotated[
    str, typer.Option(help="representation (h, the encoder's) or projection (z, the projector's).")
]
BatchSizes = Annotated[
    str | None, typer.Option(help="Comma-separated; default: 32 to 1024, as far as images last.")
]
Temperature = Annotated[float | None, typer.Option(help="Default: the run's own.")]
Seed = Annotated[int, o.seed_of("the random choice of test images")]
Index = Annotated[
    str | None, typer.Option(help="Test images by position instead, comma-separated: 3,14,15.")
]


@dataclass(frozen=True, kw_only=True)
class Similarity(Picture):
    """Cosines of positives and of the ten nearest negatives; tolerance (2012.09740, Fig. 8)."""

    names: Runs
    space: Space = "projection"

    def __call__(self) -> None:
        space = find_space(self.space)
        self.prepare()
        from sslbench.evaluation.analyses import analyze_similarity

        self.each(self.names, lambda s: analyze_similarity(s, space=space), labelled=False)


@dataclass(frozen=True, kw_only=True)
class Hypersphere(Picture):
    """Features on the circle by class; alignment and uniformity (2005.10242, Figs. 3 and 5)."""

    names: SomeRuns = None
    all_: Annotated[
        bool, typer.Option("--all", help="Instead, all finished runs: both losses and accuracy.")
    ] = False
    match: Annotated[
        str | None, typer.Option(help="As --all, of the runs whose name fits, e.g. 'simclr-*'.")
    ] = None
    protocol: Annotated[str, typer.Option(help="Accuracy of --all: linear or knn.")] = "linear"
    space: Annotated[
        str | None,
        typer.Option(
            help="representation or projection; default: the projection where it has two "
            "dimensions, otherwise the representation."
        ),
    ] = None

    def __call__(self) -> None:
        space = None if self.space is None else find_space(self.space)
        if self.all_ or self.match:
            if self.names or self.dataset:
                raise UserError(
                    "--all takes every finished run on its own data; name no run or data."
                )
            if space == "projection":
                raise UserError("--all reads the scores of representations; leave out --space.")
            self._landscape()
            return
        if not self.names:
            raise UserError("Name a run, or give --all for every finished run.")
        self.prepare()
        from sslbench.evaluation.analyses import analyze_hypersphere

        self.each(self.names, lambda s: analyze_hypersphere(s, space=space), labelled=False)

    def _landscape(self) -> None:
        """Alignment and uniformity against accuracy over the runs at hand."""
        self.prepare()
        from sslbench.evaluation.analyses import analyze_landscape

        analysis = analyze_landscape(
            self.finished(self.match or "*"), protocol=self.protocol, root=self.data_root,
            device=self.pick_device(),
        )  # fmt: skip
        self.finish(analysis, [])


@dataclass(frozen=True, kw_only=True)
class Spectrum(Picture):
    """Singular values of the covariance, effective rank, collapse (2110.09348, Fig. 2)."""

    names: Runs
    space: Space = "projection"

    def __call__(self) -> None:
        space = find_space(self.space)
        self.prepare()
        from sslbench.evaluation.analyses import analyze_spectrum

        self.each(self.names, lambda s: analyze_spectrum(s, space=space), labelled=False)


@dataclass(frozen=True, kw_only=True)
class Coupling(Picture):
    """Negative-positive coupling q_B of the projections by batch size (2110.06848, Fig. 1)."""

    names: Runs
    batch_sizes: BatchSizes = None
    temperature: Temperature = None

    def __call__(self) -> None:
        sizes = numbers(self.batch_sizes, int, "--batch-sizes")
        self.prepare()
        from sslbench.evaluation.analyses import analyze_coupling

        self.each(
            self.names,
            lambda s: analyze_coupling(s, batch_sizes=sizes, temperature=self.temperature),
            labelled=False,
        )


@dataclass(frozen=True, kw_only=True)
class SamplingBias(Picture):
    """False negatives by batch size, and what debiasing changes (2007.00224, Figs. 1 and 2)."""

    name: o.RunOrFile
    batch_sizes: BatchSizes = None
    class_prior: Annotated[
        str | None,
        typer.Option(help="What debiasing assumes, comma-separated; default: the labels' share."),
    ] = None
    temperature: Temperature = None
    space: Space = "projection"

    def __call__(self) -> None:
        space = find_space(self.space)
        sizes = numbers(self.batch_sizes, int, "--batch-sizes")
        priors = numbers(self.class_prior, float, "--class-prior")
        self.prepare()
        from sslbench.evaluation.analyses import analyze_sampling_bias

        self.each(
            [self.name],
            lambda s: analyze_sampling_bias(
                s, space=space, batch_sizes=sizes, class_priors=priors,
                temperature=self.temperature,
            ),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Neighbours(Picture):
    """Test images with their nearest training images; with labels, how many are of their class."""

    names: Runs
    queries: Annotated[
        int | None, typer.Option(help="How many test images to show; default: 8, if there are.")
    ] = None
    k: Annotated[
        int | None,
        typer.Option("--neighbours", help="Training images of each; default: 8, if there are."),
    ] = None
    seed: Seed = 0
    index: Index = None

    def __call__(self) -> None:
        chosen = numbers(self.index, int, "--index")
        self.prepare()
        from sslbench.evaluation.analyses import analyze_neighbours

        self.each(
            self.names,
            lambda s: analyze_neighbours(
                s, k=self.k, queries=self.queries, seed=self.seed, index=chosen
            ),
            labelled=False,
        )


@dataclass(frozen=True, kw_only=True)
class Attention(Picture):
    """What a ViT looks at in its last block, head by head; Jaccard index with the objects' masks
    (2104.14294, Figs. 1 and 4)."""

    names: Runs
    images: Annotated[
        int | None, typer.Option(help="How many test images to show; default: 4, if there are.")
    ] = None
    seed: Seed = 0
    index: Index = None
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="An image file to show instead; repeatable.")
    ] = None
    keep: Annotated[
        float, typer.Option(help="Share of a map's mass that its outline and mask hold.")
    ] = 0.6

    def __call__(self) -> None:
        chosen = numbers(self.index, int, "--index")
        files = self.files or ()
        self.prepare()
        from sslbench.evaluation.analyses import analyze_attention

        self.each(
            self.names,
            lambda s: analyze_attention(
                s, count=self.images, seed=self.seed, index=chosen, files=files, keep=self.keep
            ),
            labelled=False,
        )


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Picture):
    """What a masked model makes of hidden patches, and its error (2111.06377, Figs. 2 and 4)."""

    names: Runs
    ratio: Annotated[
        str | None,
        typer.Option(help="Shares of hidden patches, comma-separated; default: the run's own."),
    ] = None
    images: Annotated[
        int | None, typer.Option(help="How many test images to show; default: 4, if there are.")
    ] = None
    seed: Annotated[int, o.seed_of("the masks, and of the random choice of test images")] = 0
    index: Index = None
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="An image file to show instead; repeatable.")
    ] = None

    def __call__(self) -> None:
        chosen, ratios = numbers(self.index, int, "--index"), numbers(self.ratio, float, "--ratio")
        files = self.files or ()
        self.prepare()
        from sslbench.evaluation.analyses import analyze_reconstruction

        self.each(
            self.names,
            lambda s: analyze_reconstruction(
                s, count=self.images, seed=self.seed, index=chosen, files=files, ratios=ratios
            ),
            labelled=False,
        )


@dataclass(frozen=True, kw_only=True)
class Prototypes(Picture):
    """Usage of a run's prototypes, entropy of its assignments, the images nearest to them."""

    name: o.RunOrFile
    shown: Annotated[
        int | None,
        typer.Option(
            "--prototypes",
            help="How many to show images of, the most used; default: 8, if there are.",
        ),
    ] = None
    images: Annotated[
        int | None,
        typer.Option(help="Nearest training images of each; default: 8, if there are."),
    ] = None
    temperature: Temperature = None

    def __call__(self) -> None:
        self.prepare()
        from sslbench.evaluation.analyses import analyze_prototypes

        self.each(
            [self.name],
            lambda s: analyze_prototypes(
                s, shown=self.shown, k=self.images, temperature=self.temperature
            ),
            labelled=False,
        )


@dataclass(frozen=True, kw_only=True)
class Stability(Picture):
    """Gradient norms by layer, their spikes, and the dips of the kNN curve (2104.02057, Figs. 1 and
    4). Reads the run's log only."""

    names: Runs

    def __call__(self) -> None:
        from sslbench.evaluation.analyses import analyze_stability, merge

        opened = {f.path.resolve(): f for f in map(self.open_run, self.names)}
        folders = list(opened.values())
        self.finish(merge([analyze_stability(folder) for folder in folders]), folders)


def find_space(text: str) -> SpaceName:
    """The space of that name. Raises UserError."""
    if text == "representation":
        return "representation"
    if text == "projection":
        return "projection"
    known = ["representation", "projection"]
    raise UserError(f"--space: no '{text}'{did_you_mean(text, known)}")
