"""The Python interface: what the commands do, as functions with stable names."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
import torch

import sslbench
from sslbench import api
from sslbench.api.run import Execution
from sslbench.cli.values import parse_sets
from sslbench.data import load
from sslbench.engine.folder import RunFolder
from sslbench.engine.place import run_folder
from sslbench.engine.pretrain import Options
from sslbench.evaluation.features import encode
from sslbench.requests import resolved
from sslbench.tables.jobs import Job, Tell
from sslbench.tables.schema import parse_table
from tests.tables.fakes import TABLE, accuracy, fingerprint_of, finish, use

SETS = ["epochs=1", "data.num_train=96", "data.num_test=32", "data.resolution=16"]
TINY = parse_sets(SETS)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tiny(recipe: str = "untrained", **more: object) -> sslbench.Run:
    changes = {path: value for path, value in TINY.items() if path != "epochs"}
    return sslbench.pretrain(recipe, scale="smoke", changes=changes, **more)


def simsiam(**changes: object) -> sslbench.Run:
    return sslbench.pretrain("simsiam", scale="smoke", changes=TINY | changes)


# --------------------------------------------------------------------------------------- names


def test_the_package_has_the_names_of_its_interface_and_no_others() -> None:
    assert sslbench.__all__ == api.__all__
    assert set(api.__all__) <= set(dir(sslbench))
    assert all(getattr(sslbench, name) is getattr(api, name) for name in api.__all__)
    assert not hasattr(sslbench, "pretain")


def test_no_name_is_that_of_a_part_of_the_program() -> None:
    parts = {path.stem for path in Path(sslbench.__file__).parent.iterdir()}
    assert not parts & set(api.__all__)  # importing the part would take the name's place


def test_execution_is_what_the_engine_takes() -> None:
    assert list(Execution.__annotations__) == [f.name for f in dataclasses.fields(Options)]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sslbench.recipe("simsam"), "No recipe 'simsam'; did you mean 'simsiam'"),
        (lambda: sslbench.recipe("byol", scale="smok"), "No scale 'smok'"),
        (lambda: sslbench.pretrain("byol", dataset="cifar1"), "No data set 'cifar1'"),
        (lambda: sslbench.pretrain("byol", changes={"momentm": 1}), "momentm: no such field"),
        (lambda: sslbench.pretrain("byol", thread=1), "no 'thread'; did you mean 'threads'"),
        (lambda: sslbench.open_run("byol"), "No run 'byol' under runs"),
        (lambda: sslbench.table("byol-targt"), "No table 'byol-targt'; did you mean 'byol-target'"),
        (lambda: sslbench.table("byol-target").plan(rows=["ema"]), "No row 'ema'"),
        (lambda: sslbench.table("byol-target").claims(), "not measured yet"),
        (lambda: sslbench.leaderboard("mine"), "No recipe 'mine'"),
        (lambda: sslbench.load_plugins("mine.py"), "no such file"),
    ],
)
def test_a_wrong_name_is_refused_in_a_sentence(call, sentence: str) -> None:
    with pytest.raises(sslbench.UserError, match=sentence):
        call()


def test_names_of_plugins_are_known_once_they_are_loaded(plugin_file) -> None:
    file = plugin_file(
        """
        from sslbench.recipes import RECIPES
        RECIPES["mine"] = RECIPES["byol"].but(name="mine")
        """
    )
    sslbench.load_plugins(file)
    assert "mine" in sslbench.recipe_names()
    assert sslbench.recipe("mine", scale="paper").name == "mine"


# ---------------------------------------------------------------------------------------- runs


def test_a_call_and_a_command_are_the_same_run() -> None:
    asked = resolved("untrained", scale="smoke", changes=parse_sets(SETS[1:])).experiment
    assert tiny().path == run_folder(asked, runs=Path("runs"), root=Path("data")).path


def test_a_finished_run_is_found_and_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = simsiam()
    monkeypatch.setattr("sslbench.engine.pretrain._Run.execute", lambda _: pytest.fail("trains"))
    assert simsiam() == first == sslbench.open_run("simsiam")
    assert sslbench.runs() == [first]


def test_a_run_tells_what_it_is() -> None:
    run = simsiam(predictor=None)
    assert run.recipe.predictor is None and run.experiment.data.num_train == 96
    assert run.status == "finished" and run.summary["steps"] == run.log().step.max()
    assert run.verdict is not None and run.verdict["state"] in repr(run)
    assert "simsiam, smoke, seed 0, finished" in repr(run) and "knn" in repr(run)
    assert run.log()["knn"].dropna().between(0, 100).all()


def test_what_a_damaged_run_is_shows_in_a_list_of_runs() -> None:
    run = tiny()
    RunFolder(run.path).summary_path.write_text("{")
    assert "run.json" in repr(sslbench.runs())


def test_a_recipe_is_trained_as_it_is() -> None:
    recipe = sslbench.recipe("untrained", scale="smoke", changes={"encoder.width": 4})
    run = tiny(recipe.but({"encoder.blocks": (1, 1)}))
    assert run.recipe == recipe.but({"encoder.blocks": (1, 1)})
    assert run.encoder().num_features == 8


def test_scores_have_the_names_asked_for_and_are_kept() -> None:
    run = tiny()
    scores = run.evaluate("knn", "linear.features.v1")
    assert [(name, score.protocol) for name, score in scores.items()] == [
        ("knn", "knn.v1"),
        ("linear.features.v1", "linear.features.v1"),
    ]
    assert 0 <= scores["knn"].values["top1"] <= 100
    assert run.evaluate("knn.v1")["knn.v1"] == scores["knn"]


def test_a_run_is_scored_on_another_set() -> None:
    run = tiny()
    other = run.experiment.data.but(num_train=64, seed=1)
    assert run.evaluate("knn", dataset=other)["knn"].num_train == 64


def test_the_encoder_gives_the_features_that_are_judged() -> None:
    run = tiny()
    encoder = run.encoder()
    features, labels = run.features("test")
    data = load(run.experiment.data, root=Path("data"))
    again = encode(encoder, data.test.images, mean=run.summary["mean"], std=run.summary["std"])
    assert not encoder.training and features.shape == (32, encoder.num_features)
    assert torch.equal(features, again)
    assert torch.equal(labels, data.test.labels)


def test_the_projector_takes_what_the_encoder_gives() -> None:
    run = simsiam()
    with torch.no_grad():
        embeddings = run.projector()(run.encoder()(torch.rand(4, 3, 16, 16)))
    assert embeddings.shape == (4, run.recipe.projector.out)


def test_an_exported_encoder_is_a_file_of_its_own() -> None:
    assert tiny().export("encoder.safetensors").stat().st_size > 0


def test_training_is_quiet_away_from_a_terminal_and_leaves_random_numbers_as_they_were(
    capfd: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    simsiam()
    assert torch.equal(torch.rand(3), expected)
    assert capfd.readouterr() == ("", "")


def test_a_thread_trains_as_well() -> None:
    found: list[sslbench.Run] = []
    thread = threading.Thread(target=lambda: found.append(simsiam()))
    thread.start()
    thread.join()
    assert found[0].status == "finished"


def test_runs_lie_where_the_commands_put_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLBENCH_RUNS", "elsewhere")
    assert tiny().path.parent == Path("elsewhere")
    assert tiny(runs="here").path.parent == Path("here")


# -------------------------------------------------------------------------------------- tables


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> sslbench.TableHandle:
    """A table of three rows whose runs take no time."""
    use(monkeypatch, lambda job, tell: finish(job, top1=accuracy(job)))
    monkeypatch.setattr("sslbench.engine.place.fingerprint", lambda data, root: "f")
    monkeypatch.setattr("sslbench.tables.grid.fingerprint", fingerprint_of)
    return sslbench.TableHandle(parse_table(TABLE, where="small"))


def test_a_measured_table_is_a_frame(small: sslbench.TableHandle) -> None:
    frame = small.measure(scale="smoke", seeds=3)
    assert list(frame.index) == [*small.rows.index, "untrained", "raw-pixels"]
    cell = frame.loc["baseline", "top1"]
    assert cell["mean"] == pytest.approx(60.1) and cell["published"] == 72.5
    assert cell["interval"] == pytest.approx(0.248, abs=1e-3) and cell["n"] == 3
    assert frame.loc["raw-pixels", "std"].isna()["mean"]
    assert frame.attrs["scale"] == "smoke" and frame.attrs["device"] == "a CPU"


def test_its_result_lies_where_ablate_puts_it(small: sslbench.TableHandle) -> None:
    frame = small.measure(scale="smoke", seeds=1, results="mine")
    assert Path(frame.attrs["file"]) == Path("mine/smoke/cpu/small.json")
    assert Path(frame.attrs["file"]).is_file()


def test_some_rows_come_with_the_baselines_only(small: sslbench.TableHandle) -> None:
    frame = small.measure(scale="smoke", seeds=[2], rows="copy")
    assert list(frame.index) == ["copy", "untrained", "raw-pixels"]
    assert frame.attrs["seeds"] == (2,)


def test_claims_are_judged_on_what_was_measured(small: sslbench.TableHandle) -> None:
    small.measure(scale="smoke", seeds=3)
    claims = small.claims()
    assert claims.loc["order", "published"] == claims.loc["order", "ours"] == "held"
    assert claims.loc["order", "judged_on"] == "shapes" and claims.loc["order", "about"] == ()


def test_a_plan_trains_nothing_and_knows_what_is_there(small: sslbench.TableHandle) -> None:
    before = small.plan(scale="smoke", seeds=1)
    assert set(before.status) == {"absent"} and not Path("runs").exists()
    small.measure(scale="smoke", seeds=1)
    after = small.plan(scale="smoke", seeds=2)
    assert sorted(set(after.status)) == ["absent", "finished"]
    assert (after.seconds[after.status == "finished"] == 0).all()


def test_a_failed_run_is_a_warning_and_the_rest_is_measured(
    small: sslbench.TableHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(job: Job, tell: Tell) -> None:
        if job.experiment.recipe.name == "untrained":
            raise sslbench.UserError("The disk is full.")
        finish(job, top1=accuracy(job))

    use(monkeypatch, execute)
    with pytest.warns(RuntimeWarning, match="1 of 5 runs failed: The disk is full"):
        frame = small.measure(scale="smoke", seeds=1)
    assert frame.attrs["failed"] == ["The disk is full."]
    assert frame["top1"]["n"].to_dict()["untrained"] == 0 and frame["top1"]["n"]["fast"] == 1


def test_rows_show_what_each_changes(small: sslbench.TableHandle) -> None:
    rows = small.rows
    assert rows.loc["fast", "changes"] == {"target.momentum": 0.9}
    assert rows.loc["fast", "top1"] == 68.4 and rows.loc["fast", "recipe"] == "byol"
