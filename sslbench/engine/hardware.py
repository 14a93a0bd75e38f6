"""What this machine is and what pays on it: allocator, threads, device, precision, compilation."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import platform
import re
import resource
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from sslbench.errors import UserError
from sslbench.files import write_atomically

# Compiling SimCLR's views costs 21 to 27 s of one AVX512 core and saves 42 microseconds a view at
# 32 px, 158 at 64 px: even after about 500,000 views at 32 px, twice that leaves a gain.
COMPILE_VIEWS_CPU = 1_000_000
# On a GPU network and views compile in 30 to 90 s; a small network's step is then some
# milliseconds shorter. Estimated, not measured.
COMPILE_STEPS_CUDA = 5_000
MAX_THREADS = 1024  # PyTorch ends in a segmentation fault where the system refuses its threads
BF16_MARGIN = 1.1  # bf16 must be this much faster to be chosen


def prepare_process(threads: int | None = None) -> None:
    """Keep freed memory in the process, and take as many threads as there are cores for it.

    Args:
        threads: threads of tensor operations; None takes OMP_NUM_THREADS where it is set, else
            the number of cores that this process may run on.
    Raises:
        UserError: fewer than one thread, or more than `MAX_THREADS`.
    """
    if threads is not None and threads < 1:
        raise UserError(f"threads must be at least 1, not {threads}.")
    if threads is not None and threads > MAX_THREADS:
        raise UserError(
            f"{threads} threads are more than the {MAX_THREADS} that are allowed; this process has "
            f"{num_cores()} cores."
        )
    _keep_freed_memory()
    if threads is None and not os.environ.get("OMP_NUM_THREADS"):
        threads = num_cores()
    if threads is not None:
        torch.set_num_threads(threads)


def num_cores() -> int:
    """Cores that this process may run on (its affinity mask, where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _keep_freed_memory() -> None:
    """glibc hands large blocks back to the kernel after every operation, and each operation then
    pays page faults for them: 5 to 12 % of a training step. Does nothing without glibc."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 64 * 2**20)


def pick_device(name: str) -> torch.device:
    """The device of "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        UserError: another name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise UserError(f"There is no device '{name}'; use auto, cpu, cuda or cuda:N.")
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(match[1] or 0) >= count:
            raise UserError(
                f"Device {name} is not there: PyTorch sees {count} CUDA devices; use --device auto "
                "or cpu, or install a PyTorch build that fits the driver."
            )
    return torch.device(name)


def device_class(device: torch.device) -> str:
    """The kind of device that a number is compared within: "cpu-avx512bf16", "cuda-h100", ..."""
    if device.type == "cuda":
        return f"cuda-{_gpu_slug(torch.cuda.get_device_name(device))}"
    flags = cpu_flags()
    kinds = {"avx512_bf16": "avx512bf16", "avx512f": "avx512", "avx2": "avx2"}
    found = [kind for flag, kind in kinds.items() if flag in flags]
    return f"cpu-{found[0] if found else platform.machine().lower() or 'other'}"


def describe_device(device: torch.device) -> str:
    """The device in words: its model, and how much of it there is."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return f"{cpu_model()}, {num_cores()} cores"


def _gpu_slug(name: str) -> str:
    """ "NVIDIA A100-SXM4-40GB" to "a100": vendor, memory and form factor left out."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    noise = re.compile(r"nvidia|geforce|tesla|amd|\d+gb|hbm\d?e?|sxm\d?|pcie|nvl")
    return "-".join(word for word in words if not noise.fullmatch(word)) or "other"


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo; {} where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def cpu_flags() -> frozenset[str]:
    """The CPU's features as Linux names them; empty elsewhere."""
    info = _cpuinfo()
    return frozenset((info.get("flags") or info.get("Features") or "").split())


def cpu_model() -> str:
    """The CPU's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def peak_memory(device: torch.device) -> int:
    """Most bytes so far: of this process, or on the GPU since its statistics were reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def pick_precision(device: torch.device, choice: str = "auto") -> torch.dtype | None:
    """The autocast type of training on a device; None is float32.

    "auto" takes bf16 on a GPU that computes it, and on a CPU that has a unit for it *and* trains
    a small network faster with it: without a unit bf16 is ten times slower. The timing is done
    once per CPU model and PyTorch version and kept in the cache folder.

    Raises:
        UserError: another choice than auto, fp32 or bf16.
    """
    if choice not in ("auto", "fp32", "bf16"):
        raise UserError(f"There is no precision '{choice}'; use auto, fp32 or bf16.")
    if choice != "auto":
        return torch.bfloat16 if choice == "bf16" else None
    if device.type == "cuda":
        # Not timed: a step of a small network on a GPU measures launches, not arithmetic.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if not has_bf16_unit():
        return None
    fp32, bf16 = _step_seconds()
    return torch.bfloat16 if bf16 * BF16_MARGIN < fp32 else None


def has_bf16_unit() -> bool:
    """Whether the CPU multiplies bf16 in hardware (AVX512-BF16, AMX, or Arm's extension)."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        ask = getattr(torch.cpu, name, None)  # private: may go in any release
        if ask is not None and ask():
            return True
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def cache_folder() -> Path:
    """Where what is measured once per machine is kept: XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sslbench"


@functools.cache
def _step_seconds() -> tuple[float, float]:
    """CPU seconds of a small training step in fp32 and bf16, from the cache or measured now."""
    key = f"{cpu_model()}, torch {torch.__version__}"
    path = cache_folder() / "precision.json"
    known: dict[str, list[float]] = {}
    with contextlib.suppress(OSError, ValueError):
        known = dict(json.loads(path.read_text()))
    if key in known:
        return known[key][0], known[key][1]
    seconds = time_step(None), time_step(torch.bfloat16)
    with contextlib.suppress(UserError):  # a read-only home costs the timing again, nothing else
        write_atomically(path, json.dumps({**known, key: seconds}, indent=1) + "\n")
    return seconds


def time_step(precision: torch.dtype | None, *, repeats: int = 5) -> float:
    """CPU seconds of a training step of two convolutions with batch norm and ReLU.

    The least of some repeats, on one thread and in CPU time: a busy neighbour hardly changes
    that, while threads that wait for each other would count too. The number of threads and the
    global random state are left as they were.
    """
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(*_block(3, 64), *_block(64, 64))
        images = torch.randn(64, 3, 16, 16).to(memory_format=torch.channels_last)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:  # the first steps choose kernels and fill the allocator
        return min([_timed_step(network, images, precision) for _ in range(repeats + 2)][2:])
    finally:
        torch.set_num_threads(threads)


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def _timed_step(network: nn.Module, images: Tensor, precision: torch.dtype | None) -> float:
    begin = time.process_time()
    with torch.autocast("cpu", dtype=precision, enabled=precision is not None):
        loss = network(images).float().square().mean()
    loss.backward()
    network.zero_grad(set_to_none=True)
    return time.process_time() - begin


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile has what it needs: a C++ compiler for a CPU, Triton for a GPU."""
    if device.type == "cuda":
        return find_spec("triton") is not None
    compilers = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return any(name and shutil.which(name) for name in compilers)


def compile_pays(device: torch.device, *, steps: int, batch_size: int, mode: str = "auto") -> bool:
    """Whether a run is long enough to compile for: its views on a CPU, its network too on a GPU.

    "auto" compiles from a million views on a CPU, and from 5,000 steps on a GPU, where it can.

    Args:
        steps, batch_size: of the run; each image is taken as two views.
        mode: auto, on or off.
    Raises:
        UserError: another mode, or `on` where the compiler is missing.
    """
    if mode not in ("auto", "on", "off"):
        raise UserError(f"There is no compile mode '{mode}'; use auto, on or off.")
    if mode == "off":
        return False
    able = can_compile(device)
    if mode == "on" and not able:
        need = "Triton" if device.type == "cuda" else "a C++ compiler (g++ or clang++)"
        raise UserError(f"Compiling needs {need}, which is not there; install it or use auto.")
    if device.type == "cuda":
        long = steps >= COMPILE_STEPS_CUDA
    else:
        long = 2 * steps * batch_size >= COMPILE_VIEWS_CPU
    return able and (mode == "on" or long)
