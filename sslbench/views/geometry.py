"""Random resized crops: which box of each image, and its resampling to the view's side.

Crop, resize and flip are one linear map per axis, so a batch of them is two batched products with
per-sample weights, without a gather of pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslbench.recipes.specs import Crop

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


def full_boxes(images: Tensor) -> Tensor:
    """The box of the whole image for each of N images: N×4 float."""
    height, width = images.shape[-2:]
    columns = torch.arange(4, device=images.device)
    side = torch.where(columns == 2, float(height), float(width))
    return torch.where(columns < 2, 0.0, side).expand(len(images), 4)


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


def resample(
    images: Tensor, boxes: Tensor, flipped: Tensor | None, *, side: int, interpolation: str
) -> Tensor:
    """Crop, antialiased resize and flip of each image: N×C×H×W to B×C×side×side.

    Equals torchvision's resized_crop(antialias=True) on float tensors, then horizontal_flip.
    Bicubic values may leave [0, 1], as they do there. The products run at torch's float32
    matmul precision.

    Rows come first. Compiled code adds their few taps up as it reads the source, which there is
    twice as fast as a product; eager code would make a copy for each tap.

    Args:
        images: N×C×H×W float.
        boxes: B×4 (top, left, height, width) in pixels: one of each image, or L, a multiple
            B = L·N of them, where box b is of image b mod N.
        flipped: B bool, or None for no flip.
        side: output side in pixels.
        interpolation: "bilinear" or "bicubic".
    Returns:
        B×C×side×side.
    """
    c, height, width = images.shape[1:]
    top, left, h, w = boxes.unbind(1)
    if torch.compiler.is_compiling():
        index, taps = axis_taps(top, h, source=height, target=side, interpolation=interpolation)
        x = _add_rows(images, index, taps)
    else:
        rows = axis_weights(top, h, None, source=height, target=side, interpolation=interpolation)
        x = _mix_rows(images, rows)  # B×C×side×W
    columns = axis_weights(left, w, flipped, source=width, target=side, interpolation=interpolation)
    x = torch.bmm(x.reshape(len(boxes), c * side, width), columns.transpose(1, 2))
    return x.view(len(boxes), c, side, side)


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


def _mix_rows(images: Tensor, weights: Tensor) -> Tensor:
    """N×C×H×W with B×T×H weights to B×C×T×W; weights b are of image b mod N."""
    (n, c, height, width), (count, target, _) = images.shape, weights.shape
    if count == n:
        return torch.matmul(weights[:, None], images)
    # One product for all boxes of an image, so that the image is read once.
    together = weights.view(-1, n, target, height).transpose(0, 1).reshape(n, 1, -1, height)
    x = torch.matmul(together, images).view(n, c, -1, target, width)
    return x.permute(2, 0, 1, 3, 4).reshape(count, c, target, width)


def _add_rows(images: Tensor, index: Tensor, taps: Tensor) -> Tensor:
    """Weighted sums of whole rows: N×C×H×W with B×T×K row numbers and weights to B×C×T×W; those
    of b are of image b mod N."""
    n, c, _, width = images.shape
    image = (torch.arange(len(index), device=images.device) % n)[:, None, None, None]
    channel = torch.arange(c, device=images.device)[:, None, None]
    column = torch.arange(width, device=images.device)
    terms = [
        images[image, channel, index[:, None, :, None, k], column] * taps[:, None, :, None, k]
        for k in range(index.shape[2])
    ]
    return sum(terms[1:], terms[0])


def axis_weights(
    start: Tensor, length: Tensor, flipped: Tensor | None, *, source: int, target: int,
    interpolation: str,
) -> Tensor:  # fmt: skip
    """Weights of every source pixel in every output pixel along one axis: N×target×source.

    A pixel's weight is the interpolation kernel at its distance from the output pixel's centre,
    stretched by the scale when the crop is shrunk; pixels outside the crop do not count.
    """
    scale = (length / target)[:, None]  # N×1, source pixels per output pixel
    shrink = 1.0 / scale.clamp(min=1.0)
    centre = scale * _positions(flipped, target, start.device)  # N×T
    pixel = torch.arange(source, device=start.device, dtype=torch.float32) - start[:, None]  # N×S
    inside = (pixel >= 0) & (pixel < length[:, None])
    place = torch.where(inside, (pixel + 0.5) * shrink, _FAR)
    distance = (place[:, None, :] - (centre * shrink)[:, :, None]).abs_()
    weights = KERNELS[interpolation](distance)
    return weights.div_(weights.sum(2, keepdim=True))


def axis_taps(
    start: Tensor, length: Tensor, *, source: int, target: int, interpolation: str
) -> tuple[Tensor, Tensor]:
    """The non-zero weights of `axis_weights` (unflipped): source pixel and weight, N×target×taps.

    The number of taps is what the largest possible crop needs, whatever the boxes are.
    """
    reach = REACH[interpolation]
    taps = math.ceil(2 * reach * max(1.0, source / target))
    scale = (length / target)[:, None]
    stretch = scale.clamp(min=1.0)
    centre = scale * _positions(None, target, start.device)
    first = torch.floor(centre - reach * stretch + 0.5)
    pixel = first[:, :, None] + torch.arange(taps, device=start.device)
    distance = ((pixel + 0.5 - centre[:, :, None]) / stretch[:, :, None]).abs()
    inside = (pixel >= 0) & (pixel < length[:, None, None])
    weights = torch.where(inside, KERNELS[interpolation](distance), 0.0)
    index = (pixel + start[:, None, None]).clamp(0, source - 1).to(torch.int64)
    return index, weights / weights.sum(2, keepdim=True)


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
_FAR = 1e6  # beyond every kernel


def _central_box(ratio: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width
