"""Masks of one image after the other, in plain Python, from the papers."""

from __future__ import annotations

import math
from collections.abc import Iterator

Grid = list[list[bool]]


def blocks(
    numbers: Iterator[float], *, side: int, hide: int, least: int, attempts: int
) -> tuple[Grid, int]:
    """BEiT's rectangles on a side×side grid, and how many attempts were made.

    Args:
        numbers: uniform in [0, 1): area, aspect, top and left of each attempt.
        hide: squares to hide; fewer are where ten attempts in a row fail, or all are used up.
    Source: Bao et al. 2021, Algorithm 1, with the ten attempts of its code.
    """
    grid = [[False] * side for _ in range(side)]
    made = 0
    while sum(map(sum, grid)) < hide:
        for _ in range(10):
            if made == attempts:
                return grid, made
            made += 1
            if _lay(grid, [next(numbers) for _ in range(4)], hide=hide, least=least):
                break
        else:
            break
    return grid, made


def _lay(grid: Grid, numbers: list[float], *, hide: int, least: int) -> bool:
    side = len(grid)
    remaining = hide - sum(map(sum, grid))
    area = least + numbers[0] * (remaining - least)
    low, high = math.log(0.3), math.log(1 / 0.3)
    aspect = math.exp(low + numbers[1] * (high - low))
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if height >= side or width >= side:
        return False
    top = math.floor(numbers[2] * (side - height + 1))
    left = math.floor(numbers[3] * (side - width + 1))
    inside = [(r, c) for r in range(top, top + height) for c in range(left, left + width)]
    new = [(r, c) for r, c in inside if not grid[r][c]]
    if not 0 < len(new) <= remaining:
        return False
    for row, column in new:
        grid[row][column] = True
    return True
