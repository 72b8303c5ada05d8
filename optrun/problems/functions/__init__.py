"""Test functions: a class each, in files by shape."""

from optrun.problems.functions import bowls, diagnostics, hills, valleys, waves

__all__ = ["bowls", "diagnostics", "hills", "valleys", "waves"]
