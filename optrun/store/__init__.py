"""The store: the only place that writes results, and that finds them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optrun.store.directory import check_free, slug
    from optrun.store.fingerprint import environment
    from optrun.store.formats import (
        BINARY,
        FORMATS,
        PAGES,
        WHOLE,
        export,
        write_csv,
        write_summary,
        write_table,
    )
    from optrun.store.parameters import PARAM_FORMATS, write_params
    from optrun.store.store import Store
    from optrun.store.types import Checkpoint, Event, RunRecord, RunState, Status

_HOME = {
    "directory": ["check_free", "slug"],
    "fingerprint": ["environment"],
    "formats": [
        "BINARY",
        "FORMATS",
        "PAGES",
        "WHOLE",
        "export",
        "write_csv",
        "write_summary",
        "write_table",
    ],
    "parameters": ["PARAM_FORMATS", "write_params"],
    "store": ["Store"],
    "types": ["Checkpoint", "Event", "RunRecord", "RunState", "Status"],
}

__all__ = [
    "BINARY",
    "FORMATS",
    "PAGES",
    "PARAM_FORMATS",
    "WHOLE",
    "Checkpoint",
    "Event",
    "RunRecord",
    "RunState",
    "Status",
    "Store",
    "check_free",
    "environment",
    "export",
    "slug",
    "write_csv",
    "write_params",
    "write_summary",
    "write_table",
]


def __getattr__(name: str) -> Any:
    # Loaded at the first use: a shell that completes the name of a run needs no NumPy.
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"optrun.store.{module}"), name)
    raise AttributeError(f"module 'optrun.store' has no attribute {name!r}")
