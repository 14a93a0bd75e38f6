"""Dense runs on images of several objects, which have no class of their own."""

from __future__ import annotations

import pytest

from sslbench.evaluation.analyses.analysis import temperature_of
from sslbench.evaluation.subject import loaded_projector
from sslbench.models import build_encoder
from sslbench.recipes.specs import Scenes
from tests.engine.test_pretrain import train
from tests.tiny import tiny

SCENES = Scenes(resolution=16, num_train=48, num_test=16)


@pytest.mark.parametrize("recipe", ["pixpro", "densecl"])
def test_a_run_without_labels_finishes_and_keeps_what_is_one_vector_an_image(recipe, tmp_path):
    experiment = tiny(recipe).but(data=SCENES)
    folder = train(experiment, tmp_path)
    summary = folder.summary()
    assert summary["status"] == "finished" and summary["final"]["out_dim"] == 8
    assert summary["verdict"]["state"] in ("healthy", "dimensional", "collapsed")
    kept = folder.network_path("projector").is_file()
    assert kept == (recipe == "densecl")
    encoder = build_encoder(experiment.recipe.encoder, resolution=16)
    projector = loaded_projector(folder, experiment.recipe, encoder)
    assert bool(projector.state_dict()) == kept


class Run:
    """What `temperature_of` reads of a subject."""

    def __init__(self, recipe: str, tmp_path, **changes) -> None:
        self.recipe = tiny(recipe, **changes).recipe
        self.folder = type("Folder", (), {"path": tmp_path})


def test_densecls_temperature_is_that_of_its_vectors(tmp_path):
    run = Run("densecl", tmp_path, instance__objective__temperature=0.17)
    assert temperature_of(run, None) == 0.17
