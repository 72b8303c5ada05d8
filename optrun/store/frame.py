"""Results as a data frame of pandas."""

from typing import TYPE_CHECKING, Any

from optrun.errors import MissingExtraError, install
from optrun.store.run_table import STEP, RunTable

if TYPE_CHECKING:
    import pandas as pd


def data_frame(table: RunTable) -> "pd.DataFrame":
    """Return a table as a data frame: null is NaN in numbers and missing elsewhere.

    Raises MissingExtraError without pandas.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError(f"data frames need pandas: {install('pandas')}") from error
    import numpy as np

    parts = list(table.parts())
    counts = [part.count for part in parts]
    rows = np.repeat(np.arange(len(parts)), counts)
    columns: dict[str, Any] = {}
    for name in table.heads:
        values = pd.Series([table.typed(name, part.heads[name]) for part in parts])
        columns[name] = values.iloc[rows].reset_index(drop=True)
    for name in table.figures:
        found = [part.figures.get(name) for part in parts]
        each = [
            np.full(n, np.nan) if array is None else array for array, n in zip(found, counts, strict=True)
        ]
        columns[name] = (
            np.concatenate(each) if each else np.empty(0, np.int64 if name == STEP else np.float64)
        )
    return pd.DataFrame(columns)
