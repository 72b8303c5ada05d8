"""The store: the only place that writes results."""

from optrun.store.fingerprint import environment
from optrun.store.formats import FORMATS, export, write_csv
from optrun.store.records import Checkpoint, Event, RunRecord, RunState, Status
from optrun.store.store import Store

__all__ = [
    "FORMATS",
    "Checkpoint",
    "Event",
    "RunRecord",
    "RunState",
    "Status",
    "Store",
    "environment",
    "export",
    "write_csv",
]
