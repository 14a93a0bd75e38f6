"""Fine-tuning: chosen without the test set, beside scratch, and as it was where it was killed."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.data import load
from sslbench.engine import fit as fit_module
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.errors import Interrupted, UserError
from sslbench.evaluation import tuning_fits
from sslbench.evaluation.evaluate import evaluate, open_subject
from sslbench.evaluation.finetune_kinds import FineTune, Tuned
from sslbench.evaluation.foreign import FileOptions, import_encoder_file
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.scratch import pretraining_epochs, untrained_of
from sslbench.evaluation.tuning_fits import Tuning
from sslbench.recipes.specs import ImageSet, Shapes
from sslbench.tables.grid import plan
from sslbench.tables.grid import run as run_grid
from sslbench.tables.measure import measure
from sslbench.tables.schema import parse_table
from tests.killed import kill_at, killed
from tests.tiny import DATA, tiny

QUICK = dataclasses.replace(
    PROTOCOLS["finetune.mixed.v1"], name="quick.v1", epochs=2, choice_epochs=1, batch_size=24,
    learning_rates=(1e-3, 8e-3),
)  # fmt: skip
ONE = dataclasses.replace(QUICK, name="one.v1", learning_rates=(4e-3,), layer_decays=(0.75,))
PARTS = dataclasses.replace(
    PROTOCOLS["finetune.partial.v1"], name="parts.v1", epochs=1, batch_size=24,
    learning_rates=(4e-3,),
)  # fmt: skip


def trained(recipe: str, path: Path, **changes) -> RunFolder:
    options = Options(device="cpu", precision="fp32", compile="off", threads=1)
    experiment = tiny(recipe, **changes)
    return pretrain(experiment, provenance={}, runs=path, root=path, options=options)


def score(folder: RunFolder, protocol: Tuned, **more):
    (found,) = evaluate(folder, [protocol], root=folder.path.parent, **more).values()
    return found


def predicted(folder: RunFolder, protocol: Tuned) -> np.ndarray:
    with np.load(folder.predictions_path("shapes", protocol.name)) as file:
        return file["predicted"]


def untrained_folder(runs: Path) -> RunFolder:
    (path,) = runs.glob("untrained-*")
    return RunFolder(path)


@pytest.mark.parametrize("recipe", ["supervised-vit", "simclr"])
def test_it_scores_any_encoder_beside_scratch(recipe, tmp_path):
    run = trained(recipe, tmp_path)
    found = score(run, QUICK)
    values = found.values
    assert set(values) == {"top1", "top5", "scratch", "scratch_total", "gain", "gain_total"}
    assert values["gain"] == pytest.approx(values["top1"] - values["scratch"])
    assert values["gain_total"] == pytest.approx(values["top1"] - values["scratch_total"])
    assert found.chosen["learning_rate"] in QUICK.learning_rates
    assert found.chosen["layer_decay"] in QUICK.layer_decays
    assert set(found.heldout) == {"top1"}
    labels = load(DATA, root=tmp_path).test.labels.numpy()
    assert values["top1"] == pytest.approx(100 * float((predicted(run, QUICK) == labels).mean()))
    assert not run.path.joinpath("fits", "shapes.quick.v1").exists()
    beside = untrained_folder(tmp_path)
    assert beside.experiment().seed == 0
    plain = score(beside, QUICK)
    assert plain.values["top1"] == values["scratch"]
    assert plain.values["gain"] == plain.values["gain_total"] == 0
    longer = f"quick.v1.total-{QUICK.epochs + 2}"
    assert sorted(p.name for p in beside.path.joinpath("scores").iterdir()) == sorted(
        f"shapes.{name}.json" for name in ("quick.v1", longer)
    )


def test_two_runs_of_one_encoder_and_seed_share_their_scratch_fits(tmp_path, monkeypatch):
    fits = []
    plain = tuning_fits.Tuning.fitted

    def counted(self, rows, setting, *, epochs):
        fits.append((self.subject.recipe.name, epochs))
        return plain(self, rows, setting, epochs=epochs)

    monkeypatch.setattr(tuning_fits.Tuning, "fitted", counted)
    first = score(trained("simclr", tmp_path), ONE)
    assert fits == [("untrained", 2), ("untrained", 4), ("simclr", 2)]
    second = score(trained("moco-v2", tmp_path), ONE)
    assert fits[3:] == [("moco-v2", 2)]
    assert second.values["scratch_total"] == first.values["scratch_total"]
    longer = score(trained("simclr", tmp_path, epochs=3), ONE)
    assert fits[4:] == [("untrained", 5), ("simclr", 2)]
    assert longer.values["scratch"] == first.values["scratch"]
    score(trained("simclr", tmp_path, seed=1), ONE)
    assert fits[6:] == [("untrained", 2), ("untrained", 4), ("simclr", 2)]


def test_the_labels_of_the_test_set_choose_nothing(tmp_path):
    dataset = load(DATA, root=tmp_path)
    wrong = dataclasses.replace(dataset.test, labels=(dataset.test.labels + 1) % 10)
    poisoned = dataclasses.replace(dataset, test=wrong)
    run = trained("untrained", tmp_path)
    honest = score(run, QUICK)
    same = predicted(run, QUICK)
    fooled = score(run, QUICK, dataset=poisoned, force=True)
    correct = float((predicted(run, QUICK) == wrong.labels.numpy()).mean())
    assert fooled.values["top1"] == pytest.approx(100 * correct)  # they were read
    assert (fooled.chosen, fooled.heldout) == (honest.chosen, honest.heldout)
    assert np.array_equal(predicted(run, QUICK), same)


def test_killed_at_any_moment_it_goes_on_to_the_same_numbers(tmp_path):
    whole = trained("untrained-vit", tmp_path / "a")
    expected = score(whole, QUICK)
    other = trained("untrained-vit", tmp_path / "b")
    for moment in (8, 16):  # while the settings are chosen (of 12 steps), and after
        assert killed(lambda moment=moment: score(other, QUICK, progress=kill_at(moment)))
    seen = []
    found = score(other, QUICK, progress=lambda step, steps, metrics: seen.append(step))
    assert seen == [16, 17, 18, 19, 20]  # what was saved after step 15 is not done again
    assert (found.values, found.chosen, found.heldout) == (
        expected.values, expected.chosen, expected.heldout,
    )  # fmt: skip
    assert np.array_equal(predicted(other, QUICK), predicted(whole, QUICK))


def test_a_stopped_fit_is_saved_and_ends_with_the_same_weights(tmp_path, monkeypatch):
    run = trained("simclr", tmp_path)
    rows = torch.arange(96)

    def weights(name, progress=None):
        subject = dataclasses.replace(open_subject(run, root=tmp_path), progress=progress)
        tuning = Tuning(dataclasses.replace(ONE, name=name), subject)
        return tuning.fitted(rows, (4e-3, 0.75), epochs=2).state_dict()

    def stop(step, steps, metrics):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = weights("a.v1")
    with pytest.raises(Interrupted, match=r"after step 3 of 8 of the fine-tuning of simclr-s0"):
        weights("b.v1", stop)
    seen = []
    resumed = weights("b.v1", lambda step, steps, metrics: seen.append(step))
    assert seen == [4, 5, 6, 7, 8]
    for name, value in whole.items():  # other names are other fits of the same draws
        assert torch.equal(value, resumed[name]), name


def test_progress_counts_every_step_of_choosing_and_fitting(tmp_path):
    seen = []
    run = trained("untrained", tmp_path)
    score(run, QUICK, progress=lambda step, steps, metrics: seen.append((step, steps)))
    steps = 4 * 3 + 2 * 4  # four pairs on 86 images for an epoch, one on 96 for two
    assert seen == [(step, steps) for step in range(1, steps + 1)]


def test_a_setting_that_diverges_loses_and_all_that_do_are_a_sentence(tmp_path):
    run = trained("untrained", tmp_path)
    wild = dataclasses.replace(QUICK, learning_rates=(4e-3, 1e30), layer_decays=(1.0,))
    assert score(run, wild).chosen["learning_rate"] == 4e-3
    hopeless = dataclasses.replace(wild, learning_rates=(1e30, 1e31))
    with pytest.raises(UserError, match=r"Every fit of quick.v1 on untrained-s0-\w+ has diverged"):
        score(run, hopeless)


def test_another_data_set_has_scratch_but_no_equal_total(tmp_path):
    run = trained("simclr", tmp_path)
    other = Shapes(resolution=16, num_train=60, num_test=20, seed=5)
    found = score(run, ONE, data=other)
    assert set(found.values) == {"top1", "top5", "scratch", "gain"}
    assert untrained_folder(tmp_path).experiment().data == DATA


def test_an_encoder_file_has_scratch_but_no_equal_total(tmp_path):
    run = trained("simclr", tmp_path)
    folder = import_encoder_file(run.encoder_path, FileOptions(), data=None, root=tmp_path,
                                 runs=tmp_path / "files")  # fmt: skip
    found = score(folder, ONE)
    assert set(found.values) == {"top1", "top5", "scratch", "gain"}
    assert found.values["top1"] == score(run, ONE).values["top1"]
    score(folder, dataclasses.replace(ONE, name="again.v1"))  # its companion is there


def test_equal_total_epochs_count_the_images_that_were_seen(tmp_path):
    run = trained("simclr", tmp_path)
    subject = open_subject(run, root=tmp_path)
    assert pretraining_epochs(run.experiment(), subject) == 2
    twice = dataclasses.replace(subject.dataset, unlabelled=subject.dataset.train)
    wide = dataclasses.replace(subject, dataset=twice)
    assert pretraining_epochs(run.experiment(), wide) == 4
    labelled = run.experiment().but(recipe=tiny("supervised").recipe)
    assert pretraining_epochs(labelled, wide) == 2


def test_scratch_has_the_runs_first_weights(tmp_path):
    experiment = tiny("moco-v3-vit", seed=3)
    found = untrained_of(experiment, count=96).experiment
    assert (found.seed, found.data) == (3, experiment.data)
    assert found.recipe.encoder == experiment.recipe.encoder.but(drop_path=0.0)
    from sslbench.engine.building import build_method

    dataset = load(DATA, root=tmp_path)
    own, start = (build_method(e, dataset).encoder.state_dict() for e in (experiment, found))
    assert all(torch.equal(own[name], start[name]) for name in own)


def test_frozen_positions_and_patches_are_trained(tmp_path):
    run = trained("moco-v3-vit", tmp_path)
    subject = open_subject(run, root=tmp_path)
    before = subject.encoder.state_dict()
    after = Tuning(ONE, subject).fitted(torch.arange(96), (4e-3, 1.0), epochs=1).state_dict()
    for name in ("pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"):
        assert not torch.equal(before[name], after[f"encoder.{name}"])


@pytest.mark.parametrize(("recipe", "half"), [("supervised-vit", True), ("simclr", False)])
def test_partial_fine_tuning_gives_a_value_for_each_part(recipe, half, tmp_path):
    found = score(trained(recipe, tmp_path), PARTS)
    parts = {"blocks0", "half_block", "blocks1", "blocks_half", "blocks_all"}
    assert set(found.values) == (parts if half else parts - {"half_block"})
    assert set(found.chosen) == set(found.values)


@pytest.mark.parametrize("recipe", ["supervised-vit", "simclr"])
def test_what_is_frozen_is_byte_for_byte_what_it_was(recipe, tmp_path):
    subject = open_subject(trained(recipe, tmp_path), root=tmp_path)
    before = subject.encoder.state_dict()
    tuning = Tuning(PARTS, subject, blocks=1)
    after = tuning.fitted(torch.arange(96), (4e-3, 1.0), epochs=1).state_dict()
    last = ("blocks.1.", "norm.") if recipe == "supervised-vit" else ("layer2.0.",)
    for name, value in before.items():
        if "num_batches" not in name:
            assert torch.equal(value, after[f"encoder.{name}"]) != name.startswith(last), name


def test_a_killed_partial_fit_keeps_the_parts_that_it_has(tmp_path, monkeypatch):
    run = trained("supervised-vit", tmp_path)
    expected = score(run, dataclasses.replace(PARTS, name="other.v1"))
    fits = []
    plain = tuning_fits.Tuning.fitted

    def counted(self, rows, setting, *, epochs):
        if len(fits) == 3:
            fits.append(None)
            raise Interrupted("stopped")
        fits.append(self.blocks)
        return plain(self, rows, setting, epochs=epochs)

    monkeypatch.setattr(tuning_fits.Tuning, "fitted", counted)
    with pytest.raises(Interrupted):
        score(run, PARTS)
    found = score(run, PARTS)
    assert fits == [0, 0.5, 1, None, 1, 3]
    assert found.values == expected.values


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layer_decays": (0.0,)}, "layer decay 0 must lie above 0"),
        ({"layer_decays": (1.5,)}, r"layer decay 1\.5 must lie above 0 and be at most 1"),
        ({"warmup": 1.5}, r"a warm-up over 1\.5 of the steps is longer than the fit"),
        ({"batch_size": 1}, "a batch of 1 has no partner to be mixed with"),
        ({"epochs": 0}, "needs at least one epoch"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_fitted(
    changes, sentence, tmp_path, monkeypatch
):
    monkeypatch.setattr(fit_module.Fit, "run", None)
    with pytest.raises(UserError, match=sentence):
        score(trained("untrained", tmp_path), dataclasses.replace(QUICK, **changes))


def test_too_few_images_and_nothing_to_train_are_refused(tmp_path):
    run = trained("untrained", tmp_path)
    with pytest.raises(UserError, match=r"at least two training images .* shapes has 1; use more"):
        score(run, QUICK, data=Shapes(resolution=16, num_train=2, num_test=4))
    with pytest.raises(UserError, match=r"quick.v1 trains the encoder, and this one has no param"):
        score(trained("raw-pixels", tmp_path), QUICK)


def test_a_layer_decay_without_known_layers_is_one_or_refused(tmp_path):
    small = {"encoder": {"kind": "SmallAlexNet"}}
    subject = open_subject(trained("untrained", tmp_path, **small), root=tmp_path)
    assert {decay for _, decay in Tuning(QUICK, subject).settings} == {1.0}
    with pytest.raises(UserError, match="needs a ViT or a ResNet"):
        Tuning(ONE, subject).fitted(torch.arange(96), (1e-3, 0.75), epochs=1)
    with pytest.raises(UserError, match=r"parts.v1 trains the last blocks of a ViT or a ResNet"):
        score(subject.folder, PARTS)


def test_an_odd_batch_and_a_set_smaller_than_the_batch_are_fitted(tmp_path):
    run = trained("untrained", tmp_path)
    for batch, steps in ((25, 3), (500, 1)):
        protocol = dataclasses.replace(ONE, batch_size=batch, epochs=1)
        tuning = Tuning(protocol, open_subject(run, root=tmp_path))
        assert tuning.planned(96, 86) == steps
        assert score(run, protocol, force=True).values["top1"] >= 0


def test_the_protocols_are_of_float32_and_say_so():
    for name in ("finetune.v1", "finetune.partial.v1"):
        assert PROTOCOLS[name].precision == "float32"
    assert isinstance(PROTOCOLS["finetune.v1"], FineTune)


def test_data_without_labels_are_refused(tmp_path):
    run = trained("untrained", tmp_path)
    pictures = ImageSet(name="flat", path=str(tmp_path))
    with pytest.raises(UserError):
        score(run, QUICK, data=pictures)


def test_a_grid_fills_a_column_of_it_and_tells_its_progress(tmp_path):
    columns = [
        {"key": "ft", "name": "fine-tuned", "metric": "finetune.v1:top1"},
        {"key": "gain", "name": "over scratch", "metric": "finetune.v1:gain"},
    ]
    rows = [{"id": "supervised", "label": "supervised"}]
    table = parse_table({"id": "new", "title": "New", "source": "a test", "base": "supervised",
                         "columns": columns, "rows": rows, "claims": []}, where="new")  # fmt: skip
    request = {"scale": "smoke", "seeds": 1, "runs": tmp_path / "runs", "root": tmp_path,
               "data": Shapes(resolution=16, num_train=64, num_test=20)}  # fmt: skip
    events = []
    planned = plan([table], **request)
    assert not run_grid(planned, root=tmp_path, device="cpu", on_event=events.append).failed
    ends = [e.run.experiment.recipe.name for e in events if e.step == e.steps == 22]
    # Its own fits (6 x 2 + 10 steps) and its scratch's, which is the table's untrained baseline.
    assert ends == ["supervised", "supervised"]
    measured = measure(table, **request)
    assert measured.complete
    cells = {row.id: row.cells["gain"] for row in (*measured.rows, *measured.baselines)}
    assert cells["untrained"].seeds == ((0, 0.0),)
    assert not cells["raw-pixels"].seeds  # nothing to train


def test_a_grids_plan_counts_the_epochs_that_are_fitted():
    found = {name: PROTOCOLS[name].passes(100) for name in ("knn.v1", "finetune.v1")}
    assert found == {"knn.v1": 0, "finetune.v1": 6 * 2 + 10}
    assert PROTOCOLS["finetune.partial.v1"].passes(100) == 5 * (3 * 2 + 10)
