"""Random resized crops: which box of each image, and its resampling to the view's side.

Crop, resize and flip are one linear map per axis, with per-sample weights, of which only a few are
not zero: a batch of them is a weighted sum of whole rows, then one of columns.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from sslbench.recipes.specs import Crop
from sslbench.views.fusing import fused

NUM_ATTEMPTS = 10  # torchvision's RandomResizedCrop gives up after as many


def crop_boxes(u: Tensor, crop: Crop, *, height: int, width: int) -> Tensor:
    """The boxes of torchvision's RandomResizedCrop: N×4 float (top, left, height, width).

    All attempts are drawn at once and the first that fits is taken; if none fits, the largest
    central box of an allowed aspect ratio. Boxes lie on whole pixels.

    Args:
        u: N×22 uniform numbers: the 10 attempts' area, the 10 attempts' aspect, top, left.
        crop: area share and aspect ratio.
        height, width: side of the images in pixels.
    Source: torchvision.transforms.RandomResizedCrop.get_params.
    """
    low, high = crop.scale
    area = height * width * (low + (high - low) * u[:, :NUM_ATTEMPTS])
    log_low, log_high = math.log(crop.ratio[0]), math.log(crop.ratio[1])
    aspect = torch.exp(log_low + (log_high - log_low) * u[:, NUM_ATTEMPTS : 2 * NUM_ATTEMPTS])
    w = torch.round(torch.sqrt(area * aspect))
    h = torch.round(torch.sqrt(area / aspect))
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)  # N×10
    first = fits & (fits.cumsum(1) == 1)  # one attempt, or none
    any_fits = fits.any(1)
    central_h, central_w = _central_box(crop.ratio, height, width)
    h = torch.where(any_fits, (h * first).sum(1), float(central_h))
    w = torch.where(any_fits, (w * first).sum(1), float(central_w))
    # The product may round up to the excluded end, hence the minimum.
    top = torch.minimum(torch.floor(u[:, -2] * (height - h + 1)), height - h)
    left = torch.minimum(torch.floor(u[:, -1] * (width - w + 1)), width - w)
    top = torch.where(any_fits, top, float((height - central_h) // 2))
    left = torch.where(any_fits, left, float((width - central_w) // 2))
    return torch.stack((top, left, h, w), dim=1)


def largest_box(crop: Crop, *, height: int, width: int) -> tuple[int, int]:
    """The largest height and width that `crop_boxes` can give."""
    area = crop.scale[1] * height * width
    h = math.ceil(math.sqrt(area / crop.ratio[0]))
    w = math.ceil(math.sqrt(area * crop.ratio[1]))
    # What may not fit may end in the central box.
    return (h, w) if h <= height and w <= width else (height, width)


def full_boxes(count: int, side: tuple[int, int], device: torch.device) -> Tensor:
    """The box of the whole image of that (height, width), so many times: N×4 float."""
    columns = torch.arange(4, device=device)
    sides = torch.where(columns == 2, float(side[0]), float(side[1]))
    return torch.where(columns < 2, 0.0, sides).expand(count, 4)


def compose(
    outer: Tensor, outer_flipped: Tensor, inner: Tensor, *, side: tuple[int, int]
) -> Tensor:
    """The source box of a box inside an already cropped and flipped image: N×4 float.

    Args:
        outer: N×4 source boxes of the images; outer_flipped: N bool, mirrored left to right.
        inner: N×4 boxes in those images' pixels.
        side: (height, width) of those images in pixels.
    """
    top, left, height, width = inner.unbind(1)
    left = torch.where(outer_flipped, side[1] - left - width, left)
    y, x = outer[:, 2] / side[0], outer[:, 3] / side[1]  # source pixels per pixel
    return torch.stack((outer[:, 0] + top * y, outer[:, 1] + left * x, height * y, width * x), 1)


def resampling(
    boxes: Tensor, flipped: Tensor | None, *, source: tuple[int, int], largest: tuple[int, int],
    side: int, interpolation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """What `resample` needs to bring the boxes to side×side: rows and their weights, columns and
    theirs, as `axis_taps` gives them.

    Args:
        boxes: B×4 (top, left, height, width) in pixels.
        flipped: B bool, mirrored left to right afterwards; None: none is.
        source: (height, width) of the images; largest: of the largest box that there can be.
        side: output side in pixels.
        interpolation: "bilinear" or "bicubic".
    """
    top, left, h, w = boxes.unbind(1)
    weigh = partial(axis_taps, target=side, interpolation=interpolation)
    rows = weigh(top, h, None, source=source[0], largest=largest[0])
    columns = weigh(left, w, flipped, source=source[1], largest=largest[1])
    return *rows, *columns


def resample(
    images: Tensor, rows: Tensor, row_taps: Tensor, columns: Tensor, column_taps: Tensor
) -> Tensor:
    """Crop, antialiased resize and flip of each image: N×C×H×W to B×C×T×T.

    Equals torchvision's resized_crop(antialias=True) on float tensors, then horizontal_flip.
    Bicubic values may leave [0, 1], as they do there. uint8 images are read as they are, so that
    no float copy of them is made, and come out in [0, 1].

    Args:
        images: N×C×H×W float, or uint8.
        rows, columns: B×K×T and B×L×T int64 source pixels, and the weights of these: for one box
            of each image, or B = M·N of them, where box b is of image b mod N.
    """
    if not images.is_floating_point():
        row_taps = row_taps * (1.0 / 255.0)
    return _add_columns(_add_rows(images, rows, row_taps), columns, column_taps)


def _add_rows(images: Tensor, index: Tensor, taps: Tensor) -> Tensor:
    """Weighted sums of whole rows: N×C×H×W with B×K×T row numbers and weights to B×C×T×W."""
    n, c, height, width = images.shape
    count, num_taps, target = index.shape
    image = torch.arange(count, device=images.device) % n
    plane = image[:, None] * c + torch.arange(c, device=images.device)  # B×C
    place = (plane[:, :, None] * height + index[:, :, None].transpose(0, 1)).flatten(1)
    rows = images.reshape(n * c * height, width)

    def tap(k: int) -> Tensor:
        chosen = rows.index_select(0, place[k]).to(torch.float32)
        return chosen.view(count, c, target, width).mul_(taps[:, k, None, :, None])

    x = tap(0)
    for k in range(1, num_taps):
        x.add_(tap(k))
    return x


@fused
def _add_columns(images: Tensor, index: Tensor, taps: Tensor) -> Tensor:
    """Weighted sums of columns: B×C×T×W with B×K×S column numbers and weights to B×C×T×S."""
    shape = (*images.shape[:3], index.shape[2])

    x: Tensor | None = None
    for k in range(index.shape[1]):
        chosen = images.gather(3, index[:, k, None, None].expand(shape))
        weights = taps[:, k, None, None]
        x = chosen.mul_(weights) if x is None else x.addcmul_(chosen, weights)
    assert x is not None
    return x


def resample_labels(maps: Tensor, boxes: Tensor, flipped: Tensor | None, *, side: int) -> Tensor:
    """The same crop, resize and flip of label maps, by the nearest pixel: N×H×W to N×side×side.

    An output pixel has the label of the source pixel that its centre lies in: no label is mixed.

    Args:
        maps: N×H×W integers.
        boxes, flipped, side: as `resample` takes them, one box of each map.
    """
    top, left, h, w = boxes[:, :, None].unbind(1)  # N×1 each
    rows = top + h / side * _positions(None, side, maps.device)  # N×side
    columns = left + w / side * _positions(flipped, side, maps.device)
    height, width = maps.shape[1:]
    row = rows.floor().long().clamp(0, height - 1)[:, :, None]
    column = columns.floor().long().clamp(0, width - 1)[:, None]
    return maps[torch.arange(len(maps), device=maps.device)[:, None, None], row, column]


def axis_taps(
    start: Tensor, length: Tensor, flipped: Tensor | None, *, source: int, largest: int,
    target: int, interpolation: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The source pixels of every output pixel along one axis, and their weights: N×K×target.

    A pixel's weight is the interpolation kernel at its distance from the output pixel's centre,
    stretched by the scale when the crop is shrunk; pixels outside the crop do not count. The
    number of taps K is what the largest crop needs, whatever the boxes are.
    """
    reach = REACH[interpolation]
    num_taps = math.ceil(2 * reach * max(1.0, largest / target))
    scale = (length / target)[:, None]  # N×1, source pixels per output pixel
    stretch = scale.clamp(min=1.0)
    centre = scale * _positions(flipped, target, start.device)  # N×T
    first = torch.floor(centre - reach * stretch + 0.5)
    pixel = first[:, None] + torch.arange(num_taps, device=start.device)[:, None]  # N×K×T
    shrink = 1.0 / stretch[:, None]
    distance = ((pixel + 0.5) * shrink - centre[:, None] * shrink).abs()
    inside = (pixel >= 0) & (pixel < length[:, None, None])
    weights = torch.where(inside, KERNELS[interpolation](distance), 0.0)
    index = (pixel + start[:, None, None]).clamp(0, source - 1).to(torch.int64)
    return index, weights / weights.sum(1, keepdim=True)


def _positions(flipped: Tensor | None, target: int, device: torch.device) -> Tensor:
    """Centres of the output pixels, in output pixels: target, or N×target when mirrored."""
    position = torch.arange(target, device=device, dtype=torch.float32) + 0.5
    return (
        position if flipped is None else torch.where(flipped[:, None], target - position, position)
    )


def _triangle(distance: Tensor) -> Tensor:
    return (1.0 - distance).clamp_(min=0.0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.5, which torch uses when it antialiases."""
    d = distance
    near = (1.5 * d - 2.5) * d * d + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return torch.where(d < 1.0, near, torch.where(d < 2.0, far, 0.0))


KERNELS = {"bilinear": _triangle, "bicubic": _cubic}
REACH = {"bilinear": 1, "bicubic": 2}  # where a kernel ends, in pixels


def _central_box(ratio: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width
