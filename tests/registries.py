"""Registries as they were before a test."""

from typing import Any

import pytest

from optrun.registry import Registry


def restore_after(patch: pytest.MonkeyPatch, *registries: Registry[Any]) -> None:
    """Have what is registered from now on forgotten when the patch is undone."""
    for registry in registries:
        len(registry)  # what is shipped registers now, and stays
        for name in ("_classes", "_names", "_lacking"):
            patch.setattr(registry, name, dict(getattr(registry, name)))
