"""Networks of timm and torchvision by name, and what is asked of them before they are built.

A network is asked without memory: its weights are made on the meta device, which also runs its
forward, so that the width is that of its output, and a size that it cannot take is refused in a
sentence before anything is allocated.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models as torchvision_models

from sslbench.errors import UserError, did_you_mean
from sslbench.memory import require_memory
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import LibraryEncoder, Timm, Torchvision, Views

_TIMM_OPTIONS = {
    "patch": "patch_size",
    "output_stride": "output_stride",
    "pool": "global_pool",
    "drop_path": "drop_path_rate",
}
# Where a network of timm has a say in it, it takes any size (positions are resampled, windows need
# not divide the image), and no dropout stands before the classifier that is left out.
_USUAL = {"dynamic_img_size": True, "strict_img_size": False, "drop_rate": 0.0}


class _Hollow(TorchFunctionMode):
    """A context in which layers get no memory for their parameters, which they make by
    `torch.empty`. All else is real: torchvision's RegNet computes its shape by tensors."""

    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: Sequence = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}) | ({"device": "meta"} if func is torch.empty else {}))


def build_library_encoder(spec: LibraryEncoder, resolution: int) -> nn.Module:
    """A library's network without classifier, at a random start.

    Returns:
        A module with `num_features`: N×3×H×W images to N×num_features.
    Raises:
        UserError: no such name or option, more weights than memory, images that it does not take,
            or an output other than a row for each image.
    """
    width = _output(spec, resolution, resolution).shape[1]
    require_memory(
        4 * unsaid_parameters(spec, resolution=resolution),
        what=f"{type(spec).__name__}: the weights of {spec.name}",
        remedy="choose a smaller network",
    )
    network: Any = _made(spec, resolution)
    network.num_features = width  # timm's own leaves out what some families put after the pooling
    return network


def unsaid_parameters(spec: Spec, *, resolution: int) -> int:
    """How many weights a library's network has; 0 for encoders that say it themselves."""
    if not isinstance(spec, LibraryEncoder):
        return 0
    return sum(p.numel() for p in _hollow(spec, resolution).parameters())


def require_views(spec: Spec, views: Views, *, resolution: int) -> None:
    """Raise UserError unless a library's network takes every view, of whatever size."""
    if isinstance(spec, LibraryEncoder):
        for where, size in views.sizes():
            more = ", or views.num_local=0" if where == "views.local" else ""
            _output(spec, resolution, size, remedy=f"set {where}.size=null{more}")


def library_keys(spec: LibraryEncoder, resolution: int) -> list[str]:
    """The names of its parameters and buffers."""
    return list(_hollow(spec, resolution).state_dict())


def _output(spec: LibraryEncoder, resolution: int, size: int, remedy: str | None = None) -> Tensor:
    """2×num_features on the meta device, of a network built for one resolution. UserError."""
    network = _hollow(spec, resolution)
    images = torch.empty(2, 3, size, size, device="meta").to(memory_format=torch.channels_last)
    built = "" if size == resolution else f", built for {resolution},"
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network(images)
    except Exception as error:  # a library refuses in many ways
        patched = isinstance(spec, Timm) and "patch_size" in _parameters(type(network))
        other = "another encoder.patch or " * patched + "another encoder.name, or larger images"
        raise UserError(
            f"{type(spec).__name__}: {spec.name}{built} takes no images of {size} pixels "
            f"({_reason(error)}); {remedy or f'choose {other}'}."
        ) from None
    if not isinstance(output, Tensor) or output.dim() != 2:
        what = type(output).__name__
        if isinstance(output, Tensor):
            what = f"maps of {'x'.join(map(str, output.shape[1:]))}"
        raise UserError(
            f"{type(spec).__name__}: {spec.name} returns {what} and not one row for an image; "
            "choose another encoder.name."
        )
    return output


@functools.lru_cache(maxsize=16)
def _hollow(spec: LibraryEncoder, resolution: int) -> nn.Module:
    """The network without memory, in training mode, in which it runs first. Raises UserError."""
    try:
        with _asking(type(spec)):
            return _made(spec, resolution).to("meta").train()
    except UserError:
        raise
    except Exception as error:  # a library refuses in many ways
        what = ", ".join(f"{name}={value}" for name, value in _options(spec).items())
        raise UserError(
            f"{type(spec).__name__}: {spec.name} cannot be built for images of {resolution} pixels"
            f"{' with ' * bool(what)}{what} ({_reason(error)}); choose "
            f"{'other options or ' * bool(what)}another encoder.name."
        ) from None


@contextmanager
def _asking(kind: type[LibraryEncoder]) -> Iterator[None]:
    """Nothing is allocated, and the generator that draws a run's start is left alone. timm's
    networks, some of which run a layer while they are made, lie on the meta device as a whole."""
    device = "meta" if kind is Timm else "cpu"
    with torch.random.fork_rng(devices=[]), torch.device(device), _Hollow():
        yield


def _made(spec: LibraryEncoder, resolution: int) -> nn.Module:
    return _MAKERS[type(spec)](spec, resolution)


def _timm(spec: Timm, resolution: int) -> nn.Module:
    import timm  # slow to import

    _require_name(spec, timm.list_models(), "timm.list_models()")
    takes, options = _parameters(_timm_class(spec.name)), {}
    for ours, value in _options(spec).items():
        options[_TIMM_OPTIONS[ours]] = value
        spec.require(_TIMM_OPTIONS[ours] in takes,
                     f"{spec.name} has no {ours}; set encoder.{ours}=null.")  # fmt: skip
    usual = {"img_size": resolution, **_USUAL}
    options |= {name: value for name, value in usual.items() if name in takes}
    network: nn.Module = timm.create_model(spec.name, num_classes=0, **options)
    return network


@functools.cache
def _timm_class(name: str) -> type[nn.Module]:
    import timm

    with _asking(Timm):
        return type(timm.create_model(name, num_classes=0))


def _torchvision(spec: Torchvision, resolution: int) -> nn.Module:
    """The last linear layer or convolution is the classifier in each of torchvision's families."""
    known = torchvision_models.list_models(torchvision_models)
    _require_name(spec, known, "torchvision.models.list_models()")
    options: dict[str, Any] = {}
    if spec.name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    if spec.name.startswith("vit_"):
        options = {"image_size": resolution}
    network: nn.Module = torchvision_models.get_model(spec.name, weights=None, **options)
    last = [k for k, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    parent, _, name = last.rpartition(".")
    siblings = list(network.get_submodule(parent).named_children())
    place = [sibling for sibling, _ in siblings].index(name)
    for sibling, module in siblings[max(0, place - 1) : place + 1]:
        if sibling == name or isinstance(module, nn.Dropout):
            network.set_submodule(f"{parent}.{sibling}".lstrip("."), nn.Identity())
    return network


_MAKERS: dict[type[Spec], Callable[..., nn.Module]] = {Timm: _timm, Torchvision: _torchvision}


def _require_name(spec: LibraryEncoder, known: Sequence[str], listed: str) -> None:
    near = difflib.get_close_matches(spec.name, known, n=3, cutoff=0.5)
    hint = did_you_mean(spec.name, near) or f"; {listed} has the names."
    spec.require(spec.name in known, f"no network '{spec.name}'{hint}")


def _options(spec: LibraryEncoder) -> dict[str, Any]:
    """What is not left to the library."""
    return {name: value for name, value in spec.leaves() if name != "name" and value is not None}


def _parameters(network: type[nn.Module]) -> set[str]:
    """Of its constructor, or of one that this one hands its arguments on to."""
    classes = network.__mro__[: network.__mro__.index(nn.Module)]
    return {name for c in classes for name in inspect.signature(c).parameters}


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0].rstrip("."), 120, placeholder="...")
