"""`sslbench analyze` as a user meets it: figures, numbers, one sentence for every wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from sslbench.cli.app import app
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.analyses import coupling
from sslbench.evaluation.evaluate import open_subject
from sslbench.models import build_encoder
from sslbench.models.export import export_encoder
from sslbench.recipes.specs import ResNet
from tests.evaluation.analyses.hand_made import detections, keep
from tests.tiny import tiny

NAMES = (
    "similarity", "hypersphere", "spectrum", "coupling", "sampling-bias", "neighbours", "stability",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SimCLR, supervised and untrained runs, one with prototypes, a ViT, one not finished."""
    folder = tmp_path_factory.mktemp("cli") / "runs"
    for recipe in ("simclr", "supervised", "untrained"):
        last = pretrain(tiny(recipe), provenance={}, runs=folder, root=folder)
    clustered = tiny(
        "simclr",
        name="clustered",
        objective={"kind": "ClusterAssignment"},
        prototypes={"kind": "Prototypes", "count": 8},
    )
    vit = tiny("untrained", name="vit", encoder={"kind": "ViT", "arch": "tiny", "patch": 4})
    for experiment in (clustered, vit, tiny("mae")):
        pretrain(experiment, provenance={}, runs=folder, root=folder)
    RunFolder(folder / "begun-s0").write_experiment(last.experiment(), {})
    return folder


@pytest.fixture
def call(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Call `sslbench analyze` in an empty folder; UserError is what main() turns into code 2."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        options = ["--runs", str(runs), "--data-root", str(tmp_path), "--device", "cpu"]
        result = CliRunner().invoke(app, ["analyze", *words, *options])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return run


@pytest.mark.parametrize("name", NAMES)
def test_each_analysis_prints_numbers_and_leaves_its_files_beside_the_run(call, runs, name):
    out = call(name, "simclr")
    (run,) = runs.glob("simclr-*")
    paths = [Path(line) for line in out.splitlines() if line.endswith((".svg", ".png", ".csv"))]
    assert {p.name.removeprefix(name) for p in paths} == {".svg", ".png", ".csv", ".points.csv"}
    assert {p.parent for p in paths} == {run / "analyses"}
    assert all(p.stat().st_size > 100 for p in paths)
    assert not list((run / "analyses").glob(".*"))


@pytest.mark.parametrize(
    ("name", "run"), [("attention", "vit"), ("prototypes", "clustered"), ("reconstruction", "mae")]
)
def test_what_needs_a_certain_run_is_written_as_the_others_are(call, name, run, tmp_path):
    plain = json.loads(call(name, run, "--out", "here", "--json"))
    assert plain["files"] == [f"here/{name}.{s}" for s in ("svg", "png", "csv", "points.csv")]
    assert (tmp_path / "here" / f"{name}.png").stat().st_size > 1000


def test_predictions_that_were_kept_are_shown_beside_the_truth(call, runs, tmp_path):
    (run,) = runs.glob("simclr-*")
    subject = open_subject(RunFolder(run), root=tmp_path)
    box = subject.dataset.test.instances.box
    found = ((i, tuple(box[i].tolist()), 0.9, 0) for i in range(4))
    keep(subject, "detection.v1", **detections(*found))
    words = ["predictions", "simclr", "--task", "detection", "--out", "here", "--json"]
    plain = json.loads(call(*words, "--index", "3,1"))
    assert [line["image"] for line in plain["summary"]] == [3, 1]
    name = "here/predictions-detection"
    assert plain["files"] == [f"{name}.{s}" for s in ("svg", "png", "csv", "points.csv")]
    with pytest.raises(UserError, match=r"eval .* --protocol depth\.v1"):
        call("predictions", "simclr", "--task", "depth")


def test_several_runs_are_shown_on_the_images_of_the_first(call, runs, tmp_path):
    for name, first in (("simclr", 5), ("supervised", 0)):
        (run,) = runs.glob(f"{name}-*")
        subject = open_subject(RunFolder(run), root=tmp_path)
        box = subject.dataset.test.instances.box
        keep(subject, "instance.v1", **detections(
            *((i, tuple(box[i].tolist()), 0.9, int(subject.test_labels[i]))
              for i in range(first, first + 9))
        ))  # fmt: skip
    words = ["predictions", "simclr", "supervised", "--task", "instance", "--sort", "best"]
    lines = json.loads(call(*words, "--images", "2", "--out", "here", "--json"))["summary"]
    assert [line["image"] for line in lines] == [line["image"] for line in lines[:2]] * 2


def test_help_lists_the_options_of_the_command_before_the_shared_ones():
    result = CliRunner().invoke(app, ["analyze", "neighbours", "--help"], terminal_width=200)
    options = ("--queries", "--neighbours", "--index", "--out", "--dataset", "--runs", "--json")
    places = [result.stdout.index(option) for option in options]
    assert places == sorted(places)
    assert "How many test images to show" in result.stdout


def test_an_image_file_is_looked_at(call, tmp_path):
    from PIL import Image

    Image.new("RGB", (20, 20), (9, 99, 199)).save(tmp_path / "mine.png")
    call("attention", "vit", "--file", "mine.png", "--out", "here")
    assert set(pd.read_csv(tmp_path / "here" / "attention.points.csv").image) == {"mine.png"}


@pytest.mark.parametrize("name", NAMES)
def test_json_is_the_csv(call, name, tmp_path):
    plain = json.loads(call(name, "simclr", "--out", "here", "--json"))
    assert plain["analysis"] == name
    frame = pd.read_csv(tmp_path / "here" / f"{name}.csv")
    assert list(frame.columns) == list(plain["summary"][0])
    assert len(frame) == len(plain["summary"])
    assert plain["files"] == [f"here/{name}.{s}" for s in ("svg", "png", "csv", "points.csv")]


def test_what_cannot_be_measured_is_null_in_json(call, monkeypatch):
    monkeypatch.setattr(coupling, "coefficient_of_variation", lambda q: float("nan"))
    assert json.loads(call("coupling", "simclr", "--json"))["summary"][0]["variation"] is None


def test_several_runs_share_a_figure_in_the_current_folder(call, tmp_path):
    out = call("spectrum", "simclr", "untrained", "supervised", "--space", "representation",
               "--json")  # fmt: skip
    assert [r["run"].split("-")[0] for r in json.loads(out)["summary"]] == [
        "simclr", "untrained", "supervised",
    ]  # fmt: skip
    assert (tmp_path / "analyses" / "spectrum.svg").is_file()


def test_all_runs_make_a_landscape(call, tmp_path):
    plain = json.loads(call("hypersphere", "--all", "--protocol", "knn", "--json"))
    assert {r["run"].split("-")[0] for r in plain["summary"]} == {
        "simclr", "untrained", "supervised", "clustered", "vit", "mae",
    }  # fmt: skip
    assert (tmp_path / "analyses" / "landscape.png").is_file()
    only = json.loads(call("hypersphere", "--match", "s*", "--protocol", "knn", "--json"))
    assert len(only["summary"]) == 2


def test_an_encoder_file_is_analyzed_like_a_run(call, tmp_path):
    spec = ResNet(arch="resnet18")
    export_encoder(build_encoder(spec, resolution=16), spec, tmp_path / "theirs.safetensors")
    words = ["theirs.safetensors", "--encoder", "resnet18", "--dataset", "shapes",
             "--scale", "smoke", "--resolution", "16", "--json"]  # fmt: skip
    plain = json.loads(call("spectrum", *words))
    (record,) = plain["summary"]
    assert record["run"].startswith("external-")
    assert record["dimensions"] == 512
    again = json.loads(call("coupling", record["run"], "--temperature", "0.2", "--json"))
    assert again["summary"][0]["temperature"] == 0.2


def test_another_data_set_is_analyzed_at_the_runs_resolution(call, tmp_path):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(40):
        Image.new("RGB", (20, 20), (6 * i, 255 - 6 * i, 9)).save(folder / f"{i}.png")
    words = ["simclr", "--dataset", "flat:pictures", "--json"]
    (record,) = json.loads(call("spectrum", *words))["summary"]
    assert record["images"] == 4
    with pytest.raises(UserError, match="no labels"):
        call("sampling-bias", *words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["similarity", "nothing"], "No run 'nothing'"),
        (["similarity", "begun"], "not finished"),
        (["similarity", "simclr", "--space", "projektion"], "did you mean 'projection'"),
        (["similarity", "supervised"], "no projector"),
        (["spectrum", "supervised"], "--space representation"),
        (["coupling", "supervised"], "--temperature"),
        (["coupling", "supervised", "--temperature", "0.1"], "no projector"),
        (["coupling", "untrained"], "--temperature 0.1"),
        (["coupling", "simclr", "--temperature", "0"], "above 0"),
        (["coupling", "simclr", "--batch-sizes", "1,8"], "--batch-sizes 1"),
        (["coupling", "simclr", "--batch-sizes", "64"], "2 to 32"),
        (["coupling", "simclr", "--batch-sizes", "8;16"], "commas"),
        (["sampling-bias", "simclr", "--class-prior", "1"], "between 0 and 1"),
        (["sampling-bias", "simclr", "--class-prior", "a"], "commas"),
        (["hypersphere"], "Name a run"),
        (["hypersphere", "simclr", "--all"], "name no run"),
        (["hypersphere", "--all", "--space", "projection"], "leave out --space"),
        (["hypersphere", "--match", "x*"], "No finished run 'x*'"),
        (["spectrum", "simclr", "--dataset", "cifar11"], "did you mean 'cifar1"),
        (["spectrum", "pyproject.toml"], "No run"),
        (["neighbours", "simclr", "--index", "40"], "0 to 31"),
        (["neighbours", "simclr", "--index", "a"], "commas"),
        (["attention", "simclr"], "need a ViT"),
        (["attention", "vit", "--keep", "60"], "between 0 and 1"),
        (["prototypes", "simclr"], "without prototypes"),
        (["stability", "untrained"], "no gradients"),
    ],
)
def test_wrong_input_is_one_sentence(call, words, expected):
    with pytest.raises(UserError) as caught:
        call(*words)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_encoder_needs_to_be_named(call, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"")
    with pytest.raises(UserError, match="say on what data"):
        call("spectrum", "model.pt")


def test_a_place_that_cannot_be_written_is_refused(call, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="Cannot write"):
        call("spectrum", "simclr", "--out", "file/here")
