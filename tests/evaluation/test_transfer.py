"""A run on other images, beside its untrained encoder and other runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslbench.data import Dataset, load
from sslbench.data.registry import ANNOTATIONS, DATASETS
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from sslbench.engine.progress import Progress
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS, Linear, find_protocol
from sslbench.evaluation.tasks import SLOW, USUAL, fitting_tasks, images_of, usual_protocols
from sslbench.evaluation.transfer import Goal, transfer
from sslbench.recipes.specs import Scenes
from tests.tiny import DATA, tiny

OTHER = DATA.but(seed=1)
SCENES = Scenes(resolution=16, num_train=64, num_test=32)
KNN_ONLY = ("knn.v1",)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes of two epochs."""
    for name, protocol in PROTOCOLS.items():
        if isinstance(protocol, Linear):
            quick = dataclasses.replace(protocol, epochs=2, least_steps=0)
            monkeypatch.setitem(PROTOCOLS, name, quick)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transfer")


def trained(recipe: str, root: Path, *, seed: int = 0) -> RunFolder:
    return pretrain(tiny(recipe, seed=seed), provenance={}, runs=root / "runs", root=root)


@pytest.fixture(scope="module")
def run(places: Path) -> RunFolder:
    return trained("simclr", places)


@pytest.fixture(scope="module")
def supervised(places: Path) -> RunFolder:
    return trained("supervised", places)


def names(found: object) -> list[str]:
    return [line.run.partition("-s")[0] for line in found.lines]  # type: ignore[attr-defined]


def test_every_set_is_brought_to_the_resolution_of_the_run(run: RunFolder, places: Path) -> None:
    goals = [Goal(OTHER.but(resolution=32), KNN_ONLY), Goal(DATA.but(num_classes=4), KNN_ONLY)]
    found = transfer(run, goals, root=places)
    assert [line.dataset for line in found.lines] == ["shapes"] * 2 + ["shapes #2"] * 2
    assert found.lines[0].score.fingerprint == load(OTHER, root=places).fingerprint
    assert "top5" not in found.lines[2].score.values  # of four classes


def test_the_untrained_encoder_of_the_same_start_stands_last(
    run: RunFolder, supervised: RunFolder, places: Path
) -> None:
    found = transfer(run, [Goal(OTHER, ("knn", "linear"))], beside=[supervised], root=places)
    assert names(found) == ["simclr", "supervised", "untrained"] * 2
    assert [line.score.protocol for line in found.lines] == ["knn.v1"] * 3 + [
        "linear.features.v1"
    ] * 3
    untrained = RunFolder(places / "runs" / found.lines[2].run).experiment()
    own = run.experiment()
    assert untrained.recipe.encoder == own.recipe.encoder
    assert (untrained.seed, untrained.recipe.epochs) == (own.seed, 0)


def test_a_run_is_no_company_for_itself(run: RunFolder, places: Path) -> None:
    found = transfer(run, [Goal(OTHER, KNN_ONLY)], beside=[run, run], root=places)
    assert names(found) == ["simclr", "untrained"]
    untrained = RunFolder(places / "runs" / found.lines[1].run)
    assert names(transfer(untrained, [Goal(OTHER, KNN_ONLY)], root=places)) == ["untrained"]


def test_without_protocols_the_set_decides(run: RunFolder, places: Path) -> None:
    found = transfer(run, [Goal(SCENES)], root=places)
    protocols = {line.score.protocol for line in found.lines}
    assert protocols == {"multilabel.svm.v1", "segmentation.linear.v1", "depth.v1"}
    assert found.left_out == {"scenes": ("detection", "instance")}
    assert {line.run for line in found.lines} == {run.path.name, found.lines[1].run}


def test_what_lacks_something_is_refused_before_anything_is_computed(
    run: RunFolder, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        pytest.fail("something was computed")

    monkeypatch.setattr("sslbench.evaluation.transfer.evaluate", none)
    monkeypatch.setattr("sslbench.evaluation.transfer.untrained_beside", none)
    goals = [Goal(OTHER, KNN_ONLY), Goal(SCENES, KNN_ONLY)]
    with pytest.raises(UserError, match=r"knn.v1 needs labels, which data set 'scenes' lacks"):
        transfer(run, goals, root=places)
    with pytest.raises(UserError, match="reads the tokens of a ViT"):
        transfer(run, [Goal(OTHER, ("linear.class-token",))], root=places)


def test_an_unfinished_companion_is_refused(
    run: RunFolder, places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trained("simclr", tmp_path, seed=1)
    other.write_summary(other.summary() | {"status": "interrupted"})
    with pytest.raises(UserError, match="interrupted, not finished"):
        transfer(run, [Goal(OTHER, KNN_ONLY)], beside=[other], root=places)


def test_progress_is_of_the_run_that_is_scored(run: RunFolder, places: Path) -> None:
    told: list[str] = []

    @contextlib.contextmanager
    def shown(name: str) -> Iterator[Progress]:
        told.append(name)
        yield lambda step, total, stats: None

    found = transfer(run, [Goal(OTHER, KNN_ONLY)], root=places, shown=shown)
    assert told == [line.run for line in found.lines]


def test_every_task_has_protocols_and_images() -> None:
    for task, names in USUAL.items():
        needs = frozenset().union(*(find_protocol(name).needs for name in names))
        assert needs <= DATASETS[images_of(task)].annotations, task
        assert DATASETS[images_of(task)].drawn


def test_what_images_come_with_decides_what_is_usual() -> None:
    assert usual_protocols({"labels"}) == ("knn.v1", "linear.features.v1")
    assert usual_protocols({"multilabels", "boxes"}) == ("multilabel.svm.v1",)
    assert usual_protocols({"semantic"}) == ("segmentation.linear.v1",)
    assert usual_protocols({"boxes", "masks"}) == ()
    assert set(fitting_tasks(ANNOTATIONS)) == set(USUAL) > set(SLOW)


def test_a_set_with_boxes_alone_says_how_to_ask(
    run: RunFolder, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dataset, "annotations", frozenset({"boxes"}))
    with pytest.raises(UserError, match=r"nothing that a quick protocol needs.*--to detection"):
        transfer(run, [Goal(SCENES)], root=places)


def test_scores_are_kept_beside_every_run(run: RunFolder, places: Path) -> None:
    found = transfer(run, [Goal(OTHER, KNN_ONLY)], root=places)
    for line in found.lines:
        label = f"shapes-{line.score.fingerprint[:12]}"
        kept = RunFolder(places / "runs" / line.run).score_path(label, "knn.v1")
        assert json.loads(kept.read_text())["values"] == dict(line.score.values)
