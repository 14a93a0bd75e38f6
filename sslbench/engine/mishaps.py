"""What the machine refuses, in a sentence: memory, disk, encodings, depth, size."""

from __future__ import annotations


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, a GPU's, or that of PyTorch on a CPU, which raises a plain
    RuntimeError. Imports no torch."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def sentence(error: BaseException) -> str | None:
    """What an error that reached the edge of the program says to the user.

    None for a fault of the program itself, whose traceback is what is needed.
    """
    if out_of_memory(error):
        return "Memory ran out; use a smaller batch_size, resolution, encoder or data set."
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; what was finished is kept."
    if isinstance(error, UnicodeError):
        return f"A text is not in the encoding that it should be ({error}); save it in UTF-8."
    if isinstance(error, RecursionError):
        return "The input is nested too deeply."
    if isinstance(error, OverflowError):
        return f"A number is too large ({error}); use a smaller one."
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "The system allows no more threads; use fewer --threads or --jobs."
    return None
