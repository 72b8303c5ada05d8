"""Tables of what was measured, and the machine on which it was."""

import importlib.util
import platform
from importlib.metadata import version

from optrun.kernels.threads import cores
from optrun.store.fingerprint import cpu_model

Table = list[list[str]]
"""Rows of cells, of which the first are the titles of the columns."""


def has(package: str) -> bool:
    """Return whether a peer is installed."""
    return importlib.util.find_spec(package) is not None


def markdown(table: Table) -> str:
    """Return a table as text."""
    head, *rows = table
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def machine() -> str:
    """Return the machine and the versions of what was measured."""
    packages = [name for name in ("numpy", "numba", "torch", "jax", "optax") if has(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    model = cpu_model() or platform.machine()
    return f"{model}, {cores()} cores, Python {platform.python_version()}, {versions}."
