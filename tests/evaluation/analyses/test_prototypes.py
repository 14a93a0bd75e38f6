from __future__ import annotations

import math

import pytest
import torch

from sslbench.engine.checkpoint import load_weights
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_prototypes
from sslbench.evaluation.analyses.prototypes import Usage
from sslbench.evaluation.evaluate import open_subject
from tests.tiny import tiny


def test_usage_and_entropies_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(10, 2, 4, generator=generator) * 2 - 1
    usage = Usage(2, 4)
    for part in scores.split(3):
        usage.add(part, temperature=0.1)
    for head in range(2):
        nearest, mean, entropy = [0] * 4, [0.0] * 4, 0.0
        for row in scores[:, head].tolist():
            nearest[row.index(max(row))] += 1
            powers = [math.exp(x / 0.1) for x in row]
            shares = [p / sum(powers) for p in powers]
            mean = [a + b / 10 for a, b in zip(mean, shares, strict=True)]
            entropy -= sum(p * math.log(p) for p in shares) / 10
        found = usage.of(head)
        assert usage.nearest[head].tolist() == nearest
        assert found["used"] == sum(n > 0 for n in nearest)
        assert found["largest_share_percent"] == pytest.approx(10 * max(nearest))
        assert found["image_entropy"] == pytest.approx(entropy)
        assert found["mean_entropy"] == pytest.approx(-sum(p * math.log(p) for p in mean))


def test_the_ends_of_both_entropies():
    even, one = Usage(1, 4), Usage(1, 4)
    even.add(2 * torch.eye(4)[:, None] - 1, temperature=0.01)
    one.add(torch.tensor([[[1.0, -1.0, -1.0, -1.0]]] * 4), temperature=0.01)
    assert even.of(0)["mean_entropy"] == pytest.approx(math.log(4))
    assert one.of(0)["mean_entropy"] == pytest.approx(0, abs=1e-9)
    assert even.of(0)["image_entropy"] == pytest.approx(0, abs=1e-9)


def test_a_run_lists_every_prototype_and_the_images_nearest_to_the_most_used(clustered):
    result = analyze_prototypes(clustered, shown=3, k=4)
    assert [line["head"] for line in result.summary] == [0, 1]
    assert all(line["images"] == 96 and line["prototypes"] == 8 for line in result.summary)
    usage = [p for p in result.points if p["kind"] == "usage"]
    assert len(usage) == 16
    for head in range(2):
        assert sum(p["value"] for p in usage if p["head"] == head) == pytest.approx(1)
    images = [p for p in result.points if p["kind"] == "image"]
    assert len(images) == 3 * 4
    scores = clustered.prototypes(clustered.project(clustered.features.train)).detach()
    for point in images:
        column = scores[:, point["head"], point["prototype"]]
        row = int(point["picture"].rpartition(" ")[2])
        assert point["value"] == pytest.approx(float(column[row]), abs=1e-6)
        assert int((column > column[row]).sum()) == point["rank"] - 1


def test_the_temperature_sharpens(clustered):
    soft, sharp = (analyze_prototypes(clustered, temperature=t).summary[0] for t in (1.0, 0.01))
    assert sharp["image_entropy"] < soft["image_entropy"] < math.log(8)


def test_the_prototypes_are_those_of_the_network_that_is_evaluated(tmp_path):
    experiment = tiny(
        "byol", predictor=None, objective={"kind": "ClusterAssignment"},
        prototypes={"kind": "Prototypes", "count": 8}, target={"kind": "EMA", "evaluate": True},
    )  # fmt: skip
    weights = []
    for evaluate in (True, False):
        run = pretrain(
            experiment.but({"recipe.target.evaluate": evaluate}),
            provenance={}, runs=tmp_path / "runs", root=tmp_path,
        )  # fmt: skip
        weights.append(load_weights(run.network_path("prototypes"))["weight"])
        assert open_subject(run, root=tmp_path).prototypes.weight.shape == (1, 8, 8)
    assert not torch.equal(*weights)


def test_runs_without_prototypes_are_refused_in_a_sentence(subject, clustered, tmp_path):
    import shutil

    with pytest.raises(UserError, match="trained without prototypes"):
        analyze_prototypes(subject)
    copy = shutil.copytree(clustered.folder.path, tmp_path / clustered.folder.path.name)
    old = RunFolder(copy)
    old.network_path("prototypes").unlink()
    with pytest.raises(UserError, match="earlier version, which kept no prototypes"):
        analyze_prototypes(open_subject(old, root=tmp_path))
    with pytest.raises(UserError, match="there are 16 prototypes"):
        analyze_prototypes(clustered, shown=17)
