"""Other people's encoders under our protocols: an encoder file becomes a finished run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sslbench.data import fingerprint
from sslbench.engine.checkpoint import save_weights
from sslbench.engine.folder import NUMERICS, RunFolder, run_digest
from sslbench.evaluation.evaluating import resolution_of
from sslbench.evaluation.features import file_hash
from sslbench.models.export import load_encoder_file
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Encoder, Experiment
from sslbench.recipes.specs import Data, ImageSet

Channels = tuple[float, float, float]
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


def import_encoder_file(
    path: Path,
    encoder: Encoder,
    *,
    data: Data,
    root: Path,
    runs: Path,
    mean: Channels = IMAGENET_MEAN,
    std: Channels = IMAGENET_STD,
) -> RunFolder:
    """An encoder file of any known layout as a finished run.

    Args:
        path: the file; see `sslbench.models.export.load_encoder_file`.
        encoder: what the file holds.
        data: what it is judged on; its resolution is the encoder's input.
        root: where data sets lie.
        runs: the encoder is kept there as the finished run `external-<hash>`, whose hash covers
            the file, the encoder, the data and the normalisation.
        mean, std: the normalisation it was trained with; most public encoders use ImageNet's.
    Returns:
        The run folder, which reports, `compare` and `analyze` read like any other.
    Raises:
        UserError: a file that does not hold the encoder, or missing data.
    """
    recipe = RECIPES["untrained"].but(
        name="external", source=f"encoder file {path.name}", encoder=encoder
    )
    experiment = Experiment(recipe=recipe, data=data, scale="external")
    folder = _folder(path, experiment, runs=runs, root=root, mean=mean, std=std)
    with folder.lock():
        if folder.status() != "finished":
            _write(folder, path, experiment, root=root, mean=mean, std=std)
    return folder


def _folder(
    path: Path, experiment: Experiment, *, runs: Path, root: Path, mean: Channels, std: Channels
) -> RunFolder:
    run = run_digest(experiment, fingerprint(experiment.data, root=root))
    text = f"{file_hash(path)}:{run}:{mean}:{std}"
    return RunFolder(runs / f"external-{hashlib.sha256(text.encode()).hexdigest()[:16]}")


def _write(
    folder: RunFolder, path: Path, experiment: Experiment, *, root: Path, mean: Channels,
    std: Channels,
) -> None:  # fmt: skip
    resolution, data = resolution_of(experiment), experiment.data
    spec = experiment.recipe.encoder
    encoder, report = load_encoder_file(path, spec, resolution=resolution)
    folder.write_experiment(experiment, {})
    digest = folder.path.name.removeprefix("external-")
    save_weights(folder.encoder_path, encoder.state_dict(), {"digest": digest})
    summary = {
        "status": "finished",
        "digest": digest,
        "experiment": experiment.digest(),
        "recipe": experiment.recipe.name,
        "dataset": data.name if isinstance(data, ImageSet) else "shapes",
        "fingerprint": fingerprint(data, root=root),
        "seed": experiment.seed,
        "scale": experiment.scale,
        "numerics": NUMERICS,
        "epochs": 0,
        "steps": 0,
        "elapsed_seconds": 0.0,
        "final": {},
        "resolution": resolution,
        "mean": list(mean),
        "std": list(std),
        "encoder_file": {
            "name": path.name,
            "layout": report.layout,
            "loaded": report.loaded,
            "ignored": list(report.ignored),
            "notes": list(report.notes),
        },
    }
    folder.write_summary(summary)
