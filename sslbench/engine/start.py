"""A run that begins from another: what is trained before it, and whose networks it takes over."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.engine.checkpoint import load_weights
from sslbench.engine.folder import RunFolder
from sslbench.engine.place import folder_name
from sslbench.errors import UserError
from sslbench.methods import Method
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import Resolved


def start_folder(folder: RunFolder, experiment: Experiment, fingerprint: str) -> RunFolder | None:
    """Of the run that this one begins from, beside its own; None where it begins by itself."""
    if experiment.start is None:
        return None
    return RunFolder(folder.path.parent / folder_name(experiment.start, fingerprint))


def trained_before(
    folder: RunFolder, experiment: Experiment, provenance: Mapping[str, str], fingerprint: str
) -> Resolved | None:
    """The run that has to be there before this one's first step. Raises UserError where it has
    diverged: with the same seed it would again."""
    start = start_folder(folder, experiment, fingerprint)
    if start is None or folder.checkpoint_path.is_file():  # which holds all that it needs
        return None
    if start.diverged:
        raise UserError(
            f"{folder.path.name} starts from {start.path.name}, which diverged; lower "
            "start.optimizer.lr, or name another start."
        )
    return Resolved(experiment, dict(provenance)).start


def take_over(method: Method, start: RunFolder) -> None:
    """Load the encoder and the projector of a finished run.

    Raises:
        UserError: a file is missing, damaged, or does not fit.
    """
    states = {"encoder": load_weights(start.encoder_path)}
    if (path := start.network_path("projector")).is_file():
        states["projector"] = load_weights(path)
    try:
        method.take_over(states)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{start.path} does not fit the run that starts from it ({reason}); move it away and "
            "run the same command again."
        ) from None
