"""Packages that are not there for a test."""

import builtins

import pytest


def without(patch: pytest.MonkeyPatch, package: str) -> None:
    """Have every import of a package fail until the patch is undone."""
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith(package):
            raise ImportError(name)
        return real(name, *rest)

    patch.setattr(builtins, "__import__", missing)
