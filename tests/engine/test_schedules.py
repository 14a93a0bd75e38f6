"""Learning rates and target momentum at the points that papers name."""

from __future__ import annotations

import pytest

from sslbench.engine.schedules import learning_rate_factor, weight_decay
from sslbench.recipes.specs import AdamW, Cosine, Steps


def factors(spec, *, steps_per_epoch=10, total_epochs=10):
    return [
        learning_rate_factor(
            spec, step=step, steps_per_epoch=steps_per_epoch, total_epochs=total_epochs
        )
        for step in range(steps_per_epoch * total_epochs)
    ]


def test_cosine_starts_at_one_is_half_midway_and_ends_near_zero():
    rates = factors(Cosine())
    assert rates[0] == 1
    assert rates[50] == pytest.approx(0.5)
    assert 0 < rates[-1] < 1e-3
    assert rates == sorted(rates, reverse=True)


def test_cosine_falls_to_its_floor():
    rates = factors(Cosine(floor=0.1))
    assert rates[0] == 1
    assert rates[50] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)


def test_cosine_per_epoch_changes_only_between_epochs():
    rates = factors(Cosine(per="epoch"))
    assert len(set(rates)) == 10
    assert rates[49] == rates[40] == factors(Cosine())[40]


def test_warmup_is_a_line_whose_first_step_is_not_zero():
    rates = factors(Cosine(warmup_epochs=1))
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10] == 1
    assert rates[55] == pytest.approx(0.5)  # midway between the end of the warm-up and the end


def test_warmup_may_start_above_zero():
    rates = factors(Cosine(warmup_epochs=1, warmup_start=0.0625))
    assert rates[:10] == pytest.approx([0.0625 + 0.09375 * (step + 1) for step in range(10)])
    assert rates[9] == rates[10] == 1


def test_weight_decay_rises_by_cosine_to_its_end():
    spec = AdamW(weight_decay=0.04, weight_decay_end=0.4)
    values = [weight_decay(spec, step=k, total_steps=100) for k in (0, 50, 100)]
    assert values == pytest.approx([0.04, 0.22, 0.4])
    assert weight_decay(AdamW(weight_decay=0.1), step=70, total_steps=100) == 0.1


def test_warmup_rises_per_step_where_the_cosine_falls_per_epoch():
    rates = factors(Cosine(warmup_epochs=1, per="epoch"))
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert len(set(rates[10:])) == 9


@pytest.mark.parametrize("per", ["step", "epoch"])
def test_warmup_may_end_within_an_epoch(per):
    rates = factors(Cosine(warmup_epochs=0.25, per=per))
    assert rates[:4] == pytest.approx([0.4, 0.8, 1.0, 1.0], abs=1e-3)
    assert max(rates) == 1


def test_warmup_longer_than_the_run_never_reaches_the_full_rate():
    rates = factors(Cosine(warmup_epochs=20))
    assert rates[-1] == pytest.approx(0.5)


def test_steps_fall_at_epochs_120_and_160_of_200():
    rates = factors(Steps(milestones=(0.6, 0.8)), total_epochs=200, steps_per_epoch=7)
    assert rates[: 120 * 7] == [1.0] * (120 * 7)
    assert rates[120 * 7] == rates[160 * 7 - 1] == pytest.approx(0.1)
    assert rates[160 * 7] == rates[-1] == pytest.approx(0.01)


def test_steps_warm_up_too():
    assert factors(Steps(warmup_epochs=2))[:2] == pytest.approx([0.05, 0.1])
