from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.data import Dataset, load
from sslbench.errors import UserError
from sslbench.evaluation.features import Features
from sslbench.evaluation.knn import Neighbors, choose, knn, make_knn_monitor, nearest, sweep, votes
from sslbench.evaluation.protocols import KNN
from sslbench.models import build_encoder
from sslbench.recipes.specs import NarrowResNet, RawPixels
from tests.tiny import DATA

PROTOCOL = KNN(name="knn.test", summary="", neighbors=(1, 5, 20), temperatures=(0.05, 0.5))


def blobs(n: int, *, classes: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """n noisy points around `classes` directions in 8 dimensions."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (n,), generator=generator)
    return centres[labels] + torch.randn(n, 8, generator=generator), labels


def plain_top1(train: Tensor, labels: Tensor, queries: Tensor, true: Tensor, *, k: int,
               temperature: float) -> float:  # fmt: skip
    """Weighted kNN as Wu et al. 2018 write it, one query at a time in float64."""
    train, queries = F.normalize(train.double(), dim=1), F.normalize(queries.double(), dim=1)
    right = 0
    for query, label in zip(queries, true.tolist(), strict=True):
        similarity = train @ query
        sums: dict[int, float] = {}
        for i in similarity.argsort(descending=True)[:k].tolist():
            weight = float((similarity[i] / temperature).exp())
            sums[int(labels[i])] = sums.get(int(labels[i]), 0.0) + weight
        right += max(sums, key=lambda c: sums[c]) == label
    return 100.0 * right / len(true)


def test_every_setting_of_the_sweep_equals_a_search_of_its_own() -> None:
    (train, labels), (queries, true) = blobs(150), blobs(60, seed=1)
    ks, temperatures = [1, 5, 20], [0.05, 0.07, 0.5]
    found = nearest(train, labels, queries, k=20)
    table = sweep(found, true, ks=ks, temperatures=temperatures, num_classes=7)
    for row, k in enumerate(ks):
        for column, t in enumerate(temperatures):
            expected = plain_top1(train, labels, queries, true, k=k, temperature=t)
            assert float(table[row, column]) == pytest.approx(expected)


def test_of_many_equal_images_some_take_the_last_places_and_they_vote_once() -> None:
    train = F.normalize(torch.ones(300, 4), dim=1)
    labels = torch.arange(300)
    found = nearest(train, labels, train[:3] * 2, k=20)
    for row in found.classes.tolist():
        assert row == sorted(set(row)) and len(row) == 20  # by position, none twice
    sums = votes(found, ks=[5, 20], temperature=0.1, num_classes=300)
    torch.testing.assert_close(sums.sum(-1), torch.tensor([[5.0], [20.0]]).double().expand(2, 3))


def test_neighbors_come_nearest_first_and_equal_ones_by_position() -> None:
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [3.0, 0.0]])
    found = nearest(train, torch.tensor([3, 2, 1, 0]), torch.tensor([[1.0, 0.0]]), k=4)
    assert found.classes.tolist() == [[3, 1, 0, 2]]
    assert found.similarities[0].tolist() == pytest.approx([1.0, 1.0, 1.0, 0.0])


def test_the_length_of_a_feature_does_not_matter() -> None:
    (train, labels), (queries, _) = blobs(80), blobs(10, seed=1)
    scaled = train * torch.rand(80, 1).add(0.5)
    a, b = (nearest(x, labels, queries, k=5) for x in (train, scaled))
    torch.testing.assert_close(a.similarities, b.similarities)
    assert torch.equal(a.classes, b.classes)


def test_a_low_temperature_follows_the_nearest_a_high_one_the_majority() -> None:
    found = Neighbors(torch.tensor([[0.9, 0.8, 0.8]]), torch.tensor([[0, 1, 1]]))
    low = votes(found, ks=[3], temperature=0.05, num_classes=2)[0]
    high = votes(found, ks=[3], temperature=10.0, num_classes=2)[0]
    assert (int(low.argmax()), int(high.argmax())) == (0, 1)


def test_k_is_cut_to_the_images_that_there_are() -> None:
    train, labels = blobs(10)
    heldout = torch.tensor([0, 1])
    k, _, _ = choose(train, labels, heldout=heldout, num_classes=7,
                     protocol=dataclasses.replace(PROTOCOL, neighbors=(100, 200)))  # fmt: skip
    assert k == 8


def test_settings_are_the_best_on_the_heldout_part() -> None:
    train, labels = blobs(200)
    heldout = torch.arange(0, 200, 5)
    rest = torch.tensor([i for i in range(200) if i % 5])
    k, t, top1 = choose(train, labels, heldout=heldout, num_classes=7, protocol=PROTOCOL)

    def plain(k: int, t: float) -> float:
        return plain_top1(train[rest], labels[rest], train[heldout], labels[heldout], k=k,
                          temperature=t)  # fmt: skip

    best = max(plain(k, t) for k in PROTOCOL.neighbors for t in PROTOCOL.temperatures)
    assert top1 == pytest.approx(best)
    assert plain(k, t) == pytest.approx(best)


def test_test_labels_and_images_have_no_say_in_the_choice() -> None:
    (train, labels), (test, true) = blobs(200), blobs(60, seed=1)
    heldout = torch.arange(0, 200, 5)
    common = {"heldout": heldout, "num_classes": 7, "protocol": PROTOCOL}
    honest = knn(Features(train, test), labels, true, **common)
    shuffled = knn(Features(train, test.flip(0)), labels, (true + 1) % 7, **common)
    assert (honest.chosen, honest.heldout) == (shuffled.chosen, shuffled.heldout)
    assert honest.values["top1"] > 60 > shuffled.values["top1"]


def test_heldout_images_are_neighbors_of_the_test_images_again() -> None:
    train, labels = blobs(100)
    heldout = torch.arange(0, 100, 5)
    nearest_one = dataclasses.replace(PROTOCOL, neighbors=(1,))
    outcome = knn(Features(train, train[heldout]), labels, labels[heldout], heldout=heldout,
                  num_classes=7, protocol=nearest_one)  # fmt: skip
    assert outcome.values["top1"] == 100.0
    assert outcome.heldout["top1"] < 100.0


def test_predictions_are_those_of_the_accuracy() -> None:
    (train, labels), (test, true) = blobs(200), blobs(60, seed=1)
    outcome = knn(Features(train, test), labels, true, heldout=torch.arange(0, 200, 5),
                  num_classes=7, protocol=PROTOCOL)  # fmt: skip
    assert outcome.predicted is not None
    assert 100 * float((outcome.predicted == true).double().mean()) == outcome.values["top1"]


def test_the_number_of_threads_is_left_as_it_was() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        train, labels = blobs(10)
        nearest(train, labels, train, k=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load(DATA, root=tmp_path_factory.mktemp("data"))


def test_the_monitor_does_not_read_the_test_set(dataset: Dataset) -> None:
    blind = dataclasses.replace(dataset, test=dataset.test[:0])
    encoder = build_encoder(RawPixels(), resolution=16)
    assert 0 <= make_knn_monitor(blind)(encoder) == make_knn_monitor(dataset)(encoder) <= 100


def test_the_monitor_leaves_modes_statistics_and_random_state(dataset: Dataset) -> None:
    encoder = nn.Sequential(build_encoder(NarrowResNet(width=4), resolution=16), nn.Dropout())
    encoder[1].eval()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    monitor = make_knn_monitor(dataset)
    state = torch.get_rng_state()
    assert monitor(encoder) == monitor(encoder)
    assert torch.equal(torch.get_rng_state(), state)
    assert encoder[0].training and not encoder[1].training
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_the_monitor_needs_labels(dataset: Dataset) -> None:
    bare = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, labels=None))
    with pytest.raises(UserError, match="has no labels"):
        make_knn_monitor(bare)
