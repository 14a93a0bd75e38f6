from __future__ import annotations

import math

import pytest
import torch
from PIL import Image

from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_attention
from sslbench.evaluation.analyses.attention import attention_maps, jaccard, keep_mass


def test_the_fewest_patches_that_hold_the_mass_are_kept():
    maps = torch.tensor([[[0.5, 0.3], [0.15, 0.05]], [[1.0, 1.0], [1.0, 1.0]]])
    assert keep_mass(maps, 0.6).tolist() == [
        [[True, True], [False, False]],
        [[True, True], [True, False]],  # equal ones by their position
    ]
    assert keep_mass(maps, 0.4)[0].sum() == 1
    assert keep_mass(7 * maps, 0.6).tolist() == keep_mass(maps, 0.6).tolist()


def test_jaccard_is_that_of_a_loop_over_pixels():
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(3, 2, 2, 4, generator=generator) < 0.5
    masks = torch.rand(3, 8, 8, generator=generator) < 0.5
    masks[2] = False
    found = jaccard(kept, masks)
    for n in range(2):
        for head in range(2):
            both = either = 0
            for y in range(8):
                for x in range(8):
                    a, b = bool(kept[n, head, y // 4, x // 2]), bool(masks[n, y, x])
                    both, either = both + (a and b), either + (a or b)
            assert float(found[n, head]) == pytest.approx(both / either)
    assert found[2].isnan().all()


def test_a_run_has_maps_of_its_images_and_an_index_with_the_masks(vit):
    result = analyze_attention(vit, count=2)
    (line,) = result.summary
    assert (line["heads"], line["patches"]) == (3, 16)
    assert len(result.points) == 2 * 3
    assert sum(p["best"] for p in result.points) == 2
    assert len(result.pictures) == 2 * (1 + 2 * 3)
    images, masks = vit.dataset.test.images, vit.dataset.test.foreground()
    index = jaccard(keep_mass(attention_maps(vit, vit.encoder, images), 0.6), masks)
    assert line["jaccard"] == pytest.approx(100 * float(index.mean(dim=0).max()))
    assert line["best_head"] == str(int(index.mean(dim=0).argmax()))
    assert line["jaccard_of_each"] == pytest.approx(100 * float(index.amax(dim=1).mean()))


def test_the_untrained_encoder_is_the_runs_own_initialisation(vit):
    (line,) = analyze_attention(vit).summary
    assert line["untrained_jaccard"] == line["jaccard"]  # nothing was trained here
    assert line["untrained_jaccard_of_each"] == line["jaccard_of_each"]


def test_files_are_shown_in_place_of_test_images(vit, tmp_path):
    Image.new("RGB", (40, 30), (200, 30, 60)).save(tmp_path / "red.png")
    result = analyze_attention(vit, files=[tmp_path / "red.png"])
    assert {p["image"] for p in result.points} == {"red.png"}
    assert result.pictures["red.png"].shape == (3, 16, 16)
    with pytest.raises(UserError, match="cannot be read: no such file"):
        analyze_attention(vit, files=[tmp_path / "none.png"])


def test_without_masks_there_are_maps_and_no_index(vit):
    import dataclasses

    bare = dataclasses.replace(vit.dataset.test, instances=None)
    other = dataclasses.replace(vit, dataset=dataclasses.replace(vit.dataset, test=bare))
    result = analyze_attention(other)
    assert math.isnan(result.summary[0]["jaccard"])
    assert not any(p["best"] for p in result.points)
    assert "no masks" in result.notes[0]


def test_wrong_input_is_refused(vit, subject):
    with pytest.raises(UserError, match="between 0 and 1"):
        analyze_attention(vit, keep=1.0)
    with pytest.raises(UserError, match="need a ViT"):
        analyze_attention(subject)
