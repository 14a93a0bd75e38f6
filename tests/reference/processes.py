"""Run a function on several gloo processes of this machine.

They are started once, with the first test that asks for them: importing torch takes longer than
most of what is run there.
"""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

SECONDS = 300  # after which a function is taken to hang


def run_processes(
    function: Callable[..., Any], *arguments: Any, folder: Path, world_size: int = 2
) -> list[Any]:
    """`function(*arguments)` on each process, which finds itself by `sslbench.distributed.rank`.

    Args:
        function: of a module's top level.
        folder: empty; holds the meeting point and the results, made of tensors and containers.
    Returns:
        The results, by rank.
    Raises:
        RuntimeError: the function raised on some process, with its traceback, or hung.
    """
    _processes(world_size).run(function, arguments, str(folder))
    return [torch.load(folder / f"result{r}.pt") for r in range(world_size)]


@functools.cache
def _processes(world_size: int) -> _Processes:
    return _Processes(world_size)


class _Processes:
    """As many processes, which wait for work; they end with this one."""

    def __init__(self, world_size: int) -> None:
        context = mp.get_context("spawn")
        self.world_size = world_size
        self.ends: list[Connection] = []
        self.processes = []
        for rank in range(world_size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, world_size, theirs), daemon=True)
            process.start()
            self.ends.append(ours)
            self.processes.append(process)

    def run(self, function: Callable[..., Any], arguments: Any, folder: str) -> None:
        for end in self.ends:
            end.send((function, arguments, folder))
        waiting, failures = dict(enumerate(self.ends)), []
        while waiting:
            # After a failure the others fail in turn, or hang: theirs is told with it.
            ready = wait(list(waiting.values()), timeout=5 if failures else SECONDS)
            if not ready:
                break
            for rank in [rank for rank, end in waiting.items() if end in ready]:
                if failure := self._answer(waiting.pop(rank)):
                    failures.append(f"{function.__name__} failed on process {rank}:\n{failure}")
        if failures or waiting:
            self._fail("\n".join(failures) or f"{function.__name__} takes over {SECONDS} s.")

    def _answer(self, end: Connection) -> str:
        try:
            return str(end.recv())
        except EOFError:
            return "the process ended."

    def _fail(self, sentence: str) -> None:
        """The others may wait for each other for ever: the next test gets new processes."""
        for process in self.processes:
            process.kill()
        _processes.cache_clear()
        raise RuntimeError(sentence)


def _serve(rank: int, world_size: int, end: Connection) -> None:
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError):
        while True:
            function, arguments, folder = end.recv()
            try:
                _call(rank, world_size, function, arguments, folder)
                end.send("")
            except BaseException:  # whatever it is, the test is to show it
                end.send(traceback.format_exc())


def _call(
    rank: int, world_size: int, function: Callable[..., Any], arguments: Any, folder: str
) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size
    )
    try:
        torch.save(function(*arguments), Path(folder) / f"result{rank}.pt")
    finally:
        dist.destroy_process_group()
