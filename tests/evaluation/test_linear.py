from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from sslbench.evaluation.features import Features
from sslbench.evaluation.linear import Plan, Standardization, batches, fit, linear, settings_of
from sslbench.evaluation.protocols import PROTOCOLS, Linear

FULL = PROTOCOLS["linear.features.v1"]
assert isinstance(FULL, Linear)
SHORT = Linear(name="linear.test", summary="", learning_rates=(0.01, 0.1, 1.0),
               weight_decays=(0.0, 0.01), epochs=5, least_steps=0, batch_size=32)  # fmt: skip


def blobs(n: int, *, spread: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """n points around 6 centres in 10 correlated dimensions of very different scale."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(99)
    centres, mix = torch.randn(6, 10, generator=fixed), torch.randn(10, 10, generator=fixed)
    labels = torch.randint(6, (n,), generator=generator)
    x = centres[labels] + spread * torch.randn(n, 10, generator=generator)
    return x @ mix * torch.logspace(-2, 2, 10) + 5, labels


def autograd_fit(x: Tensor, labels: Tensor, rate: float, decay: float, protocol: Linear) -> Tensor:
    """One softmax regression by torch.optim.SGD, in float64; its logits on x."""
    x = x.double()
    layer = torch.nn.Linear(x.shape[1], 6).double()
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(
        layer.parameters(), lr=rate, momentum=protocol.momentum, weight_decay=decay
    )
    for epoch in range(protocol.epochs):
        for step, rows in enumerate(batches(len(x), epoch=epoch, protocol=protocol)):
            progress = (epoch + step / 5) / protocol.epochs  # 5 batches of 32 hold 150 images
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * progress)) / 2
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(x[rows]), labels[rows]).backward()
            optimizer.step()
    return layer(x).detach()


def test_the_sweep_equals_separate_trainings_by_autograd() -> None:
    x, labels = blobs(150, spread=1.0)
    x = Standardization.of(x, least_spread=1e-5)(x)
    settings = settings_of(SHORT)
    logits = fit(x, labels, settings, num_classes=6, protocol=SHORT).logits(x)
    for found, (rate, decay) in zip(logits, settings, strict=True):
        expected = autograd_fit(x, labels, rate, decay, SHORT)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_logits_of_one_regression_are_its_share_of_all() -> None:
    x, labels = blobs(64, spread=1.0)
    sweep = fit(x / 100, labels, settings_of(SHORT), num_classes=6, protocol=SHORT)
    torch.testing.assert_close(sweep.logits_of(2, x), sweep.logits(x)[2])


def test_a_regression_that_diverges_touches_no_other_and_is_not_chosen() -> None:
    x, labels = blobs(150, spread=1.0)
    x = Standardization.of(x, least_spread=1e-5)(x)
    alone = fit(x, labels, [(1e-3, 0.0)], num_classes=6, protocol=SHORT)
    beside = fit(x, labels, [(1e-3, 0.0), (1e38, 0.0)], num_classes=6, protocol=SHORT)
    torch.testing.assert_close(beside.logits(x)[0], alone.logits(x)[0])
    assert not torch.isfinite(beside.logits(x)[1]).any()
    assert beside.best(x, labels)[0] == 0
    top1, loss = beside.heldout(x, labels)
    assert (top1[1], loss[1]) == (0.0, math.inf)


THINNED = dataclasses.replace(FULL, learning_rates=FULL.learning_rates[1::3])


def probe(spread: float, protocol: Linear = THINNED) -> tuple[float, Tensor, Tensor, Features]:
    (train, labels), (test, true) = blobs(600, spread=spread), blobs(400, spread=spread, seed=1)
    features = Features(train, test)
    outcome = linear(features, labels, true, heldout=torch.arange(0, 600, 10), num_classes=6,
                     protocol=protocol)  # fmt: skip
    return outcome.values["top1"], labels, true, features


def test_separable_classes_are_separated() -> None:
    top1, *_ = probe(0.05)
    assert top1 == 100.0


def test_noisy_classes_are_separated_as_well_as_by_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    top1, labels, true, features = probe(1.0)
    change = Standardization.of(features.train, least_spread=1e-5)
    model = LogisticRegression(max_iter=1000).fit(change(features.train), labels)
    expected = 100 * model.score(change(features.test), true)
    assert 60 < expected < 95
    assert top1 == pytest.approx(expected, abs=2.0)


def test_test_labels_have_no_say_in_the_choice() -> None:
    (train, labels), (test, true) = blobs(200, spread=1.0), blobs(100, spread=1.0, seed=1)
    common = {"heldout": torch.arange(0, 200, 5), "num_classes": 6, "protocol": SHORT}
    honest = linear(Features(train, test), labels, true, **common)
    shuffled = linear(Features(train, test), labels, (true + 1) % 6, **common)
    assert (honest.chosen, honest.heldout) == (shuffled.chosen, shuffled.heldout)
    assert honest.predicted is not None and shuffled.predicted is not None
    assert torch.equal(honest.predicted, shuffled.predicted)


def test_of_equally_good_regressions_the_one_of_lower_loss_is_chosen() -> None:
    x, labels = blobs(150, spread=0.01)
    x = Standardization.of(x, least_spread=1e-5)(x)
    settings = [(0.05, 0.0), (0.5, 0.0), (0.1, 0.0)]
    sweep = fit(x, labels, settings, num_classes=6, protocol=SHORT)
    top1, loss = sweep.heldout(x, labels)
    assert top1 == [100.0] * 3
    logits = sweep.logits_of(1, x)
    expected = float(torch.nn.functional.cross_entropy(logits, labels))
    assert loss[1] == pytest.approx(expected, rel=1e-3)
    assert sweep.best(x, labels) == (1, 100.0)


def test_two_probes_agree_to_the_last_bit() -> None:
    first, second = (probe(1.0, SHORT)[0] for _ in range(2))
    assert first == second


def test_scale_and_offset_of_a_feature_do_not_matter() -> None:
    (train, labels), (test, true) = blobs(200, spread=1.0), blobs(100, spread=1.0, seed=1)
    common = {"heldout": torch.arange(0, 200, 5), "num_classes": 6, "protocol": SHORT}
    a = linear(Features(train, test), labels, true, **common)
    b = linear(Features(train * 8 + 16, test * 8 + 16), labels, true, **common)
    assert a.chosen == b.chosen
    assert a.values["top1"] == pytest.approx(b.values["top1"], abs=1.0)


def test_standardised_features_have_mean_0_and_spread_1() -> None:
    x, _ = blobs(500, spread=1.0)
    z = Standardization.of(x, least_spread=1e-5)(x).double()
    torch.testing.assert_close(z.mean(0), torch.zeros(10).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(10).double(), atol=1e-4, rtol=0)


def test_a_constant_feature_becomes_zero_whatever_its_rounding() -> None:
    x = torch.stack([torch.full((50,), 0.1) + 1e-8 * torch.rand(50), torch.rand(50)], dim=1)
    z = Standardization.of(x, least_spread=1e-5)(x)
    assert float(z[:, 0].abs().max()) == 0.0
    assert float(z[:, 1].std()) > 0.9


def test_a_small_set_gets_further_epochs_and_a_large_one_none() -> None:
    assert Plan.of(1000, FULL) == Plan(epochs=125, per_epoch=4)
    assert Plan.of(50_000, FULL) == Plan(epochs=FULL.epochs, per_epoch=196)


def test_the_rate_falls_from_all_of_it_to_nearly_nothing() -> None:
    plan = Plan(epochs=10, per_epoch=100)
    assert (plan.factor(0, 0), plan.factor(5, 0)) == (1.0, pytest.approx(0.5))
    assert 0 < plan.factor(9, 99) < 1e-5


def test_every_epoch_has_an_order_of_its_own_over_all_images() -> None:
    first, again, second = (torch.cat(batches(100, epoch=e, protocol=SHORT)) for e in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert torch.equal(second.sort().values, torch.arange(100))


def test_an_unstandardised_probe_sees_features_as_they_are() -> None:
    x, labels = blobs(100, spread=1.0)
    protocol = dataclasses.replace(SHORT, standardize=False, learning_rates=(1e-4,))
    outcome = linear(Features(x, x), labels, labels, heldout=torch.arange(10), num_classes=6,
                     protocol=protocol)  # fmt: skip
    setting = (1e-4, outcome.chosen["weight_decay"])
    sweep = fit(x, labels, [setting], num_classes=6, protocol=protocol)
    assert outcome.values["top1"] == sweep.heldout(x, labels)[0][0]
