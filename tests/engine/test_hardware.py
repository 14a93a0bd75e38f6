"""Device, precision and compilation: decided by faked facts, and really asked once."""

from __future__ import annotations

import json
import os

import pytest
import torch

from sslbench.engine import hardware
from sslbench.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, tmp_path):
    """Each test has its own cache folder, and what one test faked is forgotten."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    hardware._step_seconds.cache_clear()
    yield
    hardware._step_seconds.cache_clear()


@pytest.fixture
def timed(monkeypatch):
    """A CPU with a bf16 unit whose steps take `timed["fp32"]` and `timed["bf16"]` seconds."""
    seconds = {"fp32": 1.0, "bf16": 0.5, "calls": 0}

    def time_step(precision):
        seconds["calls"] += 1
        return seconds["fp32" if precision is None else "bf16"]

    monkeypatch.setattr(hardware, "has_bf16_unit", lambda: True)
    monkeypatch.setattr(hardware, "time_step", time_step)
    return seconds


def flags(monkeypatch, *names):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(names))
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)


def test_a_cpu_with_a_unit_for_it_trains_in_bf16_where_that_is_faster(timed):
    assert hardware.pick_precision(CPU) is torch.bfloat16


def test_a_unit_that_does_not_pay_is_not_used(timed):
    timed["bf16"] = 0.95
    assert hardware.pick_precision(CPU) is None


def test_a_cpu_without_a_unit_is_not_even_timed(timed, monkeypatch):
    monkeypatch.setattr(hardware, "has_bf16_unit", lambda: False)
    assert hardware.pick_precision(CPU) is None
    assert timed["calls"] == 0


def test_the_timing_is_kept_on_the_disk(timed, tmp_path):
    hardware.pick_precision(CPU)
    hardware._step_seconds.cache_clear()  # as in another process
    assert hardware.pick_precision(CPU) is torch.bfloat16
    assert timed["calls"] == 2
    (key,) = json.loads((tmp_path / "sslbench" / "precision.json").read_text())
    assert hardware.cpu_model() in key
    assert torch.__version__ in key


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}'])
def test_a_damaged_cache_is_measured_again(timed, tmp_path, content):
    (tmp_path / "sslbench").mkdir()
    (tmp_path / "sslbench" / "precision.json").write_text(content)
    assert hardware.pick_precision(CPU) is torch.bfloat16


def test_a_cache_that_cannot_be_written_costs_only_the_timing(timed, tmp_path):
    (tmp_path / "sslbench").write_text("a file where the folder should be")
    assert hardware.pick_precision(CPU) is torch.bfloat16


def test_a_choice_is_taken_literally(timed):
    assert hardware.pick_precision(CPU, "fp32") is None
    assert hardware.pick_precision(CPU, "bf16") is torch.bfloat16
    with pytest.raises(UserError, match="use auto, fp32 or bf16"):
        hardware.pick_precision(CPU, "fp16")


@pytest.mark.parametrize(
    ("names", "has"),
    [(["avx512_bf16"], True), (["amx_bf16"], True), (["avx2", "avx512f"], False), ([], False)],
)
def test_without_torchs_private_functions_the_flags_tell(monkeypatch, names, has):
    flags(monkeypatch, *names)
    assert hardware.has_bf16_unit() is has


def test_torchs_private_functions_are_asked_where_they_exist(monkeypatch):
    flags(monkeypatch)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert hardware.has_bf16_unit()


def test_timing_a_step_leaves_random_state_and_threads_alone(threads):
    torch.set_num_threads(2)
    before = torch.random.get_rng_state()
    assert hardware.time_step(None, repeats=1) > 0
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["avx2"], "cpu-avx2"),
        (["avx2", "avx512f"], "cpu-avx512"),
        (["avx2", "avx512f", "avx512_bf16"], "cpu-avx512bf16"),
    ],
)
def test_a_cpu_is_classed_by_its_widest_instructions(monkeypatch, names, kind):
    flags(monkeypatch, *names)
    assert hardware.device_class(CPU) == kind


def test_a_cpu_without_known_flags_is_classed_by_its_architecture(monkeypatch):
    flags(monkeypatch)
    monkeypatch.setattr(hardware.platform, "machine", lambda: "arm64")
    assert hardware.device_class(CPU) == "cpu-arm64"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "cuda-h100"),
        ("NVIDIA H100 PCIe", "cuda-h100"),
        ("NVIDIA A100-SXM4-40GB", "cuda-a100"),
        ("NVIDIA GeForce RTX 3090", "cuda-rtx-3090"),
        ("Tesla V100-SXM2-16GB", "cuda-v100"),
    ],
)
def test_a_gpu_is_classed_by_its_model_alone(monkeypatch, name, kind):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert hardware.device_class(torch.device("cuda")) == kind


def test_the_device_is_described_with_its_cores():
    assert hardware.describe_device(CPU).endswith(f"{hardware.num_cores()} cores")


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert hardware.pick_device("auto").type == ("cuda" if there else "cpu")


@pytest.mark.parametrize("name", ["gpu0", "cuda:", "cpu:1", "cuda:x", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(UserError, match="use auto, cpu, cuda or cuda:N"):
        hardware.pick_device(name)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert hardware.pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UserError, match="sees 2 CUDA devices"):
        hardware.pick_device("cuda:2")


@pytest.mark.parametrize(("steps", "pays"), [(1_500, False), (10_000, True)])
def test_long_runs_compile_and_short_ones_do_not(monkeypatch, steps, pays):
    monkeypatch.setattr(hardware, "can_compile", lambda device: True)
    assert hardware.compile_pays(CPU, steps=steps, batch_size=64) is pays


def test_nothing_compiles_without_a_compiler(monkeypatch):
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)
    assert not hardware.compile_pays(CPU, steps=10**6, batch_size=64)
    with pytest.raises(UserError, match="C\\+\\+ compiler"):
        hardware.compile_pays(CPU, steps=1, batch_size=64, mode="on")


def test_compilation_can_be_forced_or_forbidden(monkeypatch):
    monkeypatch.setattr(hardware, "can_compile", lambda device: True)
    assert hardware.compile_pays(CPU, steps=1, batch_size=2, mode="on")
    assert not hardware.compile_pays(CPU, steps=10**6, batch_size=64, mode="off")
    with pytest.raises(UserError, match="use auto, on or off"):
        hardware.compile_pays(CPU, steps=1, batch_size=2, mode="yes")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_process_takes_the_threads_it_is_given(threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    hardware.prepare_process(3)
    assert torch.get_num_threads() == 3
    hardware.prepare_process()
    assert torch.get_num_threads() == hardware.num_cores()
    with pytest.raises(UserError, match="at least 1"):
        hardware.prepare_process(0)


def test_more_threads_than_any_machine_has_are_refused_before_pytorch_dies_of_them():
    with pytest.raises(UserError, match="1000000 threads are more than the 1024"):
        hardware.prepare_process(1_000_000)


def test_threads_set_outside_are_left_alone(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(2)
    hardware.prepare_process()
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity masks")
def test_cores_are_those_of_the_affinity_mask():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert hardware.num_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_other_systems_keep_their_allocator(monkeypatch):
    def never(name):
        raise AssertionError("no allocator to tune here")

    monkeypatch.setattr(hardware.ctypes, "CDLL", never)
    for system, libc in (("darwin", ("", "")), ("linux", ("musl", "1.2"))):
        monkeypatch.setattr(hardware.sys, "platform", system)
        monkeypatch.setattr(hardware.platform, "libc_ver", lambda libc=libc: libc)
        hardware._keep_freed_memory.__wrapped__()
