"""What reached the edge of the program: a sentence, or None for a fault of ours."""

from __future__ import annotations

import errno

import pytest
import torch

from sslbench.engine.mishaps import out_of_memory, sentence


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "Memory ran out"),
        (torch.OutOfMemoryError("CUDA out of memory"), "Memory ran out"),
        (OSError(errno.EIO, "Input/output error", "a/b"), "a/b: Input/output error"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "save it in UTF-8"),
        (RecursionError(), "nested too deeply"),
        (OverflowError("int too large"), "too large (int too large)"),
        (RuntimeError("can't start new thread"), "fewer --threads or --jobs"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(error, said):
    assert said in (sentence(error) or "")


def test_memory_that_pytorch_cannot_have_on_a_cpu_is_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(raised.value)


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), RuntimeError("a shape")])
def test_a_fault_of_the_program_keeps_its_traceback(error):
    assert sentence(error) is None
