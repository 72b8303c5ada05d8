"""What a run leaves as rows of a store, made where it was executed: whoever writes them has little left to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from optrun.arrays import Array
from optrun.store import blobs, schema, verified
from optrun.store.curves import CURVE, EVALUATION, checked_segment
from optrun.store.snapshots import snapshot_rows

NONE: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True)
class RunRows:
    """The rows of a run that was executed from its beginning to its end, with their checksums."""

    curves: Sequence[schema.Row]
    params: Sequence[schema.Row]

    @classmethod
    def of(
        cls,
        run: int,
        curves: Mapping[str, Array],
        evaluations: Mapping[str, Array],
        params: Mapping[str, Array],
        snapshots: Mapping[int, Mapping[str, Array]] = NONE,
    ) -> Self:
        """Return the rows of the run of this number; StoreError where something cannot be stored."""
        of_kinds = ((CURVE, curves), (EVALUATION, evaluations))
        rows = [row for kind, columns in of_kinds if columns for row in checked_segment(run, kind, columns)]
        rows += verified.checked("curves", snapshot_rows(run, snapshots)) if snapshots else ()
        return cls(
            rows, list(verified.checked("params", [(run, blobs.encode_npz(params))])) if params else []
        )
