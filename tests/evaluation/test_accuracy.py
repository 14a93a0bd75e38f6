from __future__ import annotations

import math

import torch

from sslbench.evaluation.accuracy import accuracies, chunks, complement, predictions, ranks


def test_rank_counts_better_classes_and_equal_ones_of_lower_index() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert ranks(scores, torch.tensor([2, 0, 2])).tolist() == [1, 0, 2]


def test_rank_zero_is_what_the_prediction_says() -> None:
    scores = torch.randint(0, 3, (200, 4)).float()
    labels = torch.randint(0, 4, (200,))
    assert torch.equal(ranks(scores, labels) == 0, predictions(scores) == labels)


def test_a_diverged_row_is_wrong() -> None:
    scores = torch.full((1, 7), math.nan)
    assert accuracies(scores, torch.tensor([0])) == {"top1": 0.0, "top5": 0.0}


def test_top5_is_left_out_where_it_is_always_right() -> None:
    assert set(accuracies(torch.rand(4, 5), torch.zeros(4, dtype=torch.int64))) == {"top1"}


def test_complement_is_the_rest_in_order() -> None:
    assert complement(torch.tensor([3, 0]), 5).tolist() == [1, 2, 4]


def test_chunks_cover_everything_once() -> None:
    parts = chunks(torch.arange(7), 3)
    assert [len(p) for p in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(parts), torch.arange(7))
