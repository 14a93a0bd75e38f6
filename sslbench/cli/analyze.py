"""`analyze`: the pictures of the papers, from any finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sslbench.cli.analyzing import Request, find_space, numbers, shared_options
from sslbench.errors import UserError

app = typer.Typer(
    help="Pictures of a representation, with their numbers: similarity, spectrum and others.",
    no_args_is_help=True,
)

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run (folder, or start of its name), or another library's encoder."
    ),
]
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
Seed = Annotated[int, typer.Option(help="Of the random choice of test images.")]
Index = Annotated[
    str | None, typer.Option(help="Test images by position instead, comma-separated: 3,14,15.")
]


@app.command()
@shared_options
def similarity(request: Request, names: Runs, space: Space = "projection") -> None:
    """Cosines of positives and of the ten nearest negatives; tolerance (2012.09740, Fig. 8)."""
    chosen = find_space(space)
    request.prepare()
    from sslbench.evaluation.analyses import analyze_similarity

    request.each(names, lambda subject: analyze_similarity(subject, space=chosen), labelled=False)


@app.command()
@shared_options
def hypersphere(
    request: Request,
    names: SomeRuns = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Instead, all finished runs: both losses and accuracy.")
    ] = False,
    match: Annotated[
        str | None, typer.Option(help="As --all, of the runs whose name fits, e.g. 'simclr-*'.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="Accuracy of --all: linear or knn.")] = "linear",
    space: Annotated[
        str | None,
        typer.Option(
            help="representation or projection; default: the projection where it has two "
            "dimensions, otherwise the representation."
        ),
    ] = None,
) -> None:
    """Features on the circle by class; alignment and uniformity (2005.10242, Figs. 3 and 5)."""
    chosen = None if space is None else find_space(space)
    if all_ or match:
        if names or request.dataset:
            raise UserError("--all takes every finished run on its own data; name no run or data.")
        if chosen == "projection":
            raise UserError("--all reads the scores of representations; leave out --space.")
        landscape(request, match=match or "*", protocol=protocol)
        return
    if not names:
        raise UserError("Name a run, or give --all for every finished run.")
    request.prepare()
    from sslbench.evaluation.analyses import analyze_hypersphere

    request.each(names, lambda subject: analyze_hypersphere(subject, space=chosen), labelled=False)


def landscape(request: Request, *, match: str, protocol: str) -> None:
    """Alignment and uniformity against accuracy over the runs at hand."""
    request.prepare()
    from sslbench.evaluation.analyses import analyze_landscape

    analysis = analyze_landscape(
        request.finished(match), protocol=protocol, root=request.data_root,
        device=request.pick_device(),
    )  # fmt: skip
    request.finish(analysis, [])


@app.command()
@shared_options
def spectrum(request: Request, names: Runs, space: Space = "projection") -> None:
    """Singular values of the covariance, effective rank, collapse (2110.09348, Fig. 2)."""
    chosen = find_space(space)
    request.prepare()
    from sslbench.evaluation.analyses import analyze_spectrum

    request.each(names, lambda subject: analyze_spectrum(subject, space=chosen), labelled=False)


@app.command()
@shared_options
def coupling(
    request: Request,
    names: Runs,
    batch_sizes: BatchSizes = None,
    temperature: Temperature = None,
) -> None:
    """Negative-positive coupling q_B of the projections by batch size (2110.06848, Fig. 1)."""
    sizes = numbers(batch_sizes, int, "--batch-sizes")
    request.prepare()
    from sslbench.evaluation.analyses import analyze_coupling

    request.each(
        names,
        lambda subject: analyze_coupling(subject, batch_sizes=sizes, temperature=temperature),
        labelled=False,
    )


@app.command("sampling-bias")
@shared_options
def sampling_bias(
    request: Request,
    name: Run,
    batch_sizes: BatchSizes = None,
    class_prior: Annotated[
        str | None,
        typer.Option(help="What debiasing assumes, comma-separated; default: the labels' share."),
    ] = None,
    temperature: Temperature = None,
    space: Space = "projection",
) -> None:
    """False negatives by batch size, and what debiasing changes (2007.00224, Figs. 1 and 2)."""
    chosen = find_space(space)
    sizes = numbers(batch_sizes, int, "--batch-sizes")
    priors = numbers(class_prior, float, "--class-prior")
    request.prepare()
    from sslbench.evaluation.analyses import analyze_sampling_bias

    request.each(
        [name],
        lambda subject: analyze_sampling_bias(
            subject, space=chosen, batch_sizes=sizes, class_priors=priors, temperature=temperature
        ),
    )


@app.command()
@shared_options
def neighbours(
    request: Request,
    names: Runs,
    queries: Annotated[
        int | None, typer.Option(help="How many test images to show; default: 8, if there are.")
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("--neighbours", help="Training images of each; default: 8, if there are."),
    ] = None,
    seed: Seed = 0,
    index: Index = None,
) -> None:
    """Test images with their nearest training images; with labels, how many are of their class."""
    chosen = numbers(index, int, "--index")
    request.prepare()
    from sslbench.evaluation.analyses import analyze_neighbours

    request.each(
        names,
        lambda subject: analyze_neighbours(subject, k=k, queries=queries, seed=seed, index=chosen),
        labelled=False,
    )


@app.command()
@shared_options
def attention(
    request: Request,
    names: Runs,
    images: Annotated[
        int | None, typer.Option(help="How many test images to show; default: 4, if there are.")
    ] = None,
    seed: Seed = 0,
    index: Index = None,
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="An image file to show instead; repeatable.")
    ] = None,
    keep: Annotated[
        float, typer.Option(help="Share of a map's mass that its outline and mask hold.")
    ] = 0.6,
) -> None:
    """What a ViT's class token looks at, head by head; Jaccard index with the objects' masks
    (2104.14294, Figs. 1 and 4)."""
    chosen = numbers(index, int, "--index")
    request.prepare()
    from sslbench.evaluation.analyses import analyze_attention

    request.each(
        names,
        lambda subject: analyze_attention(
            subject, count=images, seed=seed, index=chosen, files=files or (), keep=keep
        ),
        labelled=False,
    )


@app.command()
@shared_options
def prototypes(
    request: Request,
    name: Run,
    shown: Annotated[
        int | None,
        typer.Option(
            "--prototypes",
            help="How many to show images of, the most used; default: 8, if there are.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(help="Nearest training images of each; default: 8, if there are."),
    ] = None,
    temperature: Temperature = None,
) -> None:
    """Usage of a run's prototypes, entropy of its assignments, the images nearest to them."""
    request.prepare()
    from sslbench.evaluation.analyses import analyze_prototypes

    request.each(
        [name],
        lambda subject: analyze_prototypes(subject, shown=shown, k=images, temperature=temperature),
        labelled=False,
    )


@app.command()
@shared_options
def stability(request: Request, names: Runs) -> None:
    """Gradient norms by layer, their spikes, and the dips of the kNN curve (2104.02057, Figs. 1 and
    4). Reads the run's log only."""
    from sslbench.cli.scoring import open_run
    from sslbench.evaluation.analyses import analyze_stability, merge

    opened = {f.path.resolve(): f for f in (open_run(name, request.runs) for name in names)}
    folders = list(opened.values())
    request.finish(merge([analyze_stability(folder) for folder in folders]), folders)
