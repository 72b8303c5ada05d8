"""Locks in a forked process: it has those of its parent, but not the threads that hold them."""

import os
import threading
from collections.abc import Callable
from typing import Any


def renew_after_fork(names: dict[str, Any], name: str, lock: Callable[[], object] = threading.Lock) -> None:
    """Have a forked process begin with a new lock under a name of a module or an object."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: names.__setitem__(name, lock()))
