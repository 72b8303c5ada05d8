"""Test functions: a class each, in files by shape."""

from optrun.problems.functions.valleys import (
    Beale,
    BrownBadlyScaled,
    BukinN6,
    Cube,
    DixonPrice,
    FreudensteinRoth,
    HelicalValley,
    Himmelblau,
    Powell,
    PowellBadlyScaled,
    Rosenbrock,
    Wood,
)

__all__ = [
    "Beale",
    "BrownBadlyScaled",
    "BukinN6",
    "Cube",
    "DixonPrice",
    "FreudensteinRoth",
    "HelicalValley",
    "Himmelblau",
    "Powell",
    "PowellBadlyScaled",
    "Rosenbrock",
    "Wood",
]
