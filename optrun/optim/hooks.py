"""Hooks, called around a step and around saving and loading a state, as in torch."""

from collections.abc import Callable, Iterator
from typing import Any

Hook = Callable[..., Any]


class Hooks:
    """The hooks of one kind, in call order."""

    def __init__(self) -> None:
        self._hooks: dict[HookHandle, Hook] = {}

    def register(self, hook: Hook, *, prepend: bool = False) -> "HookHandle":
        """Append a hook, or with ``prepend`` insert it at the front; the handle removes it."""
        handle = HookHandle(self._hooks)
        added = {handle: hook}
        entries = {**added, **self._hooks} if prepend else {**self._hooks, **added}
        self._hooks.clear()
        self._hooks.update(entries)
        return handle

    def __iter__(self) -> Iterator[Hook]:
        return iter(tuple(self._hooks.values()))


class HookHandle:
    """Handle that removes a registered hook."""

    def __init__(self, hooks: "dict[HookHandle, Hook]") -> None:
        self._hooks = hooks

    def remove(self) -> None:
        self._hooks.pop(self, None)
