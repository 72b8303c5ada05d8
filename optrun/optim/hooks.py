"""Hooks: callables that an optimizer calls around a step and around saving and loading its state."""

from collections.abc import Callable, Iterator
from typing import Any

Hook = Callable[..., Any]


class Hooks:
    """Hooks of one kind, in the order in which they are called."""

    def __init__(self) -> None:
        self._hooks: dict[HookHandle, Hook] = {}

    def register(self, hook: Hook, *, prepend: bool = False) -> "HookHandle":
        """Add a hook at the end, or with ``prepend`` at the front; the handle removes it."""
        handle = HookHandle(self._hooks)
        added = {handle: hook}
        entries = {**added, **self._hooks} if prepend else {**self._hooks, **added}
        self._hooks.clear()
        self._hooks.update(entries)
        return handle

    def __iter__(self) -> Iterator[Hook]:
        return iter(tuple(self._hooks.values()))


class HookHandle:
    """A registered hook, which `remove` unregisters."""

    def __init__(self, hooks: "dict[HookHandle, Hook]") -> None:
        self._hooks = hooks

    def remove(self) -> None:
        """Unregister the hook."""
        self._hooks.pop(self, None)
