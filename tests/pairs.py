"""Pairs instead of products: what two things have to do with each other shows in a few of their pairs."""

from collections.abc import Iterable
from typing import Any

import pytest


def pairs(first: Iterable[str], second: Iterable[str], rounds: int = 3) -> list[tuple[str, str]]:
    """Return pairs in which each comes at least so many times, where there are as many to meet."""
    left, right = list(first), list(second)
    return list(
        dict.fromkeys(
            (left[i % len(left)], right[(i + 3 * shift) % len(right)])
            for shift in range(rounds)
            for i in range(max(len(left), len(right)))
        )
    )


def few_in_short(cases: Iterable[tuple[Any, ...]], every: int) -> list[Any]:
    """Return cases of which every so many is run in the short run, too."""
    return [
        pytest.param(*case, marks=pytest.mark.full if number % every else ())
        for number, case in enumerate(cases)
    ]
