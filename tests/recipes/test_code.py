"""Which runs need a plugin's code, and what that does to their identity."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sslbench import plugins
from sslbench.data import Raw, load
from sslbench.data.registry import DATASETS
from sslbench.engine.folder import RunFolder, run_digest
from sslbench.errors import UserError
from sslbench.objectives import OBJECTIVES, stateless
from sslbench.recipes.code import plugins_of
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import ImageSet, NegativeCosine
from sslbench.requests import experiment_file
from tests.own import DATA, METHOD
from tests.tiny import summary

Write = Callable[..., Path]
MODULE = "sslbench.plugins.mine"


@pytest.fixture
def loaded(plugin_file: Write) -> Path:
    path = plugin_file(METHOD)
    plugins.load([str(path)])
    return path


def smoke(recipe: str) -> Experiment:
    return resolve(recipe, scale="smoke").experiment


def run_of(recipe: str, path: Path) -> RunFolder:
    """What a finished run of a recipe leaves behind, but its networks."""
    folder, experiment = RunFolder(path), smoke(recipe)
    folder.write_experiment(experiment, {})
    digest, used = run_digest(experiment, "f"), plugins_of(experiment)
    folder.write_summary(summary(digest=digest, recipe=recipe, plugins=used))
    return folder


def test_a_run_uses_the_plugin_that_made_a_piece_of_it(loaded: Path) -> None:
    assert list(plugins_of(smoke("mine"))) == ["mine.py"]
    assert list(plugins_of(smoke("one-layer"))) == ["mine.py"]
    assert plugins_of(smoke("one-layer").recipe.objective) == {}


def test_a_recipe_of_our_own_pieces_uses_none(loaded: Path) -> None:
    assert plugins_of(smoke("plain")) == plugins_of(smoke("byol")) == {}


def test_a_run_uses_the_plugin_that_implements_a_piece_of_it(
    loaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread = stateless(sys.modules["sslbench.plugins.mine"].spread)
    monkeypatch.setitem(OBJECTIVES, NegativeCosine, spread)
    assert list(plugins_of(smoke("byol"))) == ["mine.py"]


def test_a_changed_plugin_makes_another_run_of_what_uses_it(
    loaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("mine", "one-layer", "plain", "byol")
    before = {name: run_digest(smoke(name), "f") for name in names}
    _change(monkeypatch)
    assert [run_digest(smoke(name), "f") == before[name] for name in names] == [
        False, False, True, True,
    ]  # fmt: skip


def test_a_run_is_read_while_its_plugin_has_changed_but_its_encoder_is_not_rebuilt(
    loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: run_of(name, tmp_path / name) for name in ("mine", "one-layer")}
    folders["one-layer"].require_code(smoke("one-layer").recipe.encoder)
    _change(monkeypatch)
    for name, folder in folders.items():
        assert folder.experiment() == smoke(name)
    folders["mine"].require_code(smoke("mine").recipe.encoder)  # a NarrowResNet
    with pytest.raises(UserError, match=r"trained with another content of mine\.py"):
        folders["one-layer"].require_code(smoke("one-layer").recipe.encoder)


def test_a_run_whose_plugin_is_not_loaded_says_which_to_give(
    loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_of("mine", tmp_path / "run")
    text = folder.experiment_path.read_text()
    folder.experiment_path.write_text(text.replace("kind: Spread", "kind: Unheard"))
    with pytest.raises(UserError, match="damaged or of another version"):
        folder.experiment()
    monkeypatch.delitem(plugins.LOADED, MODULE)
    for read in (folder.experiment, lambda: experiment_file(folder.experiment_path)):
        with pytest.raises(UserError) as error:
            read()
        assert str(error.value) == (
            f"{folder.path} was trained with mine.py; give its place: "
            "`sslbench --plugin mine.py ...`."
        )


def test_a_run_on_a_plugins_data_uses_it_and_a_changed_reader_reads_again(
    plugin_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plugin_file(DATA)
    plugins.load([str(path)])
    plugin_file("\n".join(map(str, range(40))), "data/levels/levels.txt")
    spec, root = ImageSet(name="levels"), path.parent / "data"
    assert list(plugins_of(spec)) == ["mine.py"]
    first = load(spec, root=root)
    assert first.classes == ("even", "odd")
    read = sys.modules[MODULE].read
    changed = replace(DATASETS["levels"], reader=functools.wraps(read)(lambda *a: _odd(read(*a))))
    monkeypatch.setitem(DATASETS, "levels", changed)
    assert load(spec, root=root).fingerprint == first.fingerprint  # the packed copy is valid
    _change(monkeypatch)
    assert load(spec, root=root).fingerprint != first.fingerprint


def _odd(raw: Raw) -> Raw:
    assert raw.train.labels is not None
    return replace(raw, train=replace(raw.train, labels=1 - raw.train.labels))


def _change(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if another process had loaded the file after an edit."""
    other = replace(plugins.LOADED[MODULE], hash="0" * 16)
    monkeypatch.setitem(plugins.LOADED, MODULE, other)
