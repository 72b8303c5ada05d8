"""The store: the only place that writes results."""

from optrun.store.directory import check_free, slug
from optrun.store.fingerprint import environment
from optrun.store.formats import FORMATS, TABLES, export, export_all, write_csv, write_summary
from optrun.store.run_rows import RunRows
from optrun.store.store import Store
from optrun.store.types import Checkpoint, Event, RunRecord, RunState, Status

__all__ = [
    "FORMATS",
    "TABLES",
    "Checkpoint",
    "Event",
    "RunRecord",
    "RunRows",
    "RunState",
    "Status",
    "Store",
    "check_free",
    "environment",
    "export",
    "export_all",
    "slug",
    "write_csv",
    "write_summary",
]
