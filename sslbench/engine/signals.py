"""What a signal does: training stops after its step and saves, anything else stops at once.

SIGINT (Ctrl-C), SIGTERM (a scheduler) and SIGHUP (the terminal is gone) are treated alike; only a
SIGHUP that is ignored from outside, as under nohup, stays ignored.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

STOPPED = 130  # exit code
AGAIN_SECONDS = 1.0  # `timeout` sends its signal twice; what comes later is a user who insists

_Handler = Callable[[int, FrameType | None], None]


class StopRequest:
    """Set by a signal, read by the loop after each step."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._time = 0.0

    def __bool__(self) -> bool:
        return self.signal is not None

    def set(self, number: int) -> None:
        """Ask for a stop; the first signal is the one that is named."""
        if self.signal is None:
            self.signal, self._time = signal.Signals(number), time.monotonic()

    def insisted(self) -> bool:
        """Whether a stop was asked for a while ago."""
        return bool(self) and time.monotonic() - self._time > AGAIN_SECONDS


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within the block a signal sets the request that is yielded; a second Ctrl-C raises
    KeyboardInterrupt.

    Outside the main thread, where Python allows no handlers, the request simply stays unset.
    """
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and request.insisted():
            raise KeyboardInterrupt
        request.set(number)

    with _handled_by(handle):
        yield request


@contextlib.contextmanager
def exit_on_signals(sentence: str = "") -> Iterator[None]:
    """Within the block, and outside `stop_on_signals`, a signal ends the process: exit code 130.

    At once, without an exception: modules that are being imported swallow those or turn them into
    others. Nothing needs to be tidied up: files are replaced whole, locks go with the process, and
    workers end with the pipe that feeds them. Signals that were held back (a worker is started with
    them blocked) arrive from now on.

    Args:
        sentence: said on standard error before.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            if os.isatty(2):
                os.write(2, b"\r\x1b[?25h\x1b[K")  # the cursor, which a progress bar hides
            os.write(2, sentence.encode())
        os._exit(STOPPED)

    with _handled_by(handle):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _signals())
        yield


def block_signals() -> None:
    """Let no signal reach this thread, nor a process that it starts before that has handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _signals())


@contextlib.contextmanager
def _handled_by(handler: _Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handler) for number in _signals()}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)


def _signals() -> tuple[signal.Signals, ...]:
    usual = (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return usual
    return (*usual, signal.SIGHUP)
