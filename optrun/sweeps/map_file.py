"""What came of the runs of a map, and the file of arrays that keeps it."""

import json
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import BadZipFile

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.store import Status
from optrun.store.directory import write_output
from optrun.store.states import CODES, STATUSES


@dataclass
class Pixels:
    """The values of a map as far as they are known; each array is in the file by its name."""

    x: Array
    """The numbers along x `[X]`, from left to right."""
    y: Array
    """Those along y `[Y]`, from bottom to top."""
    value: Array
    """The figure of each run `[Y, X]`; NaN where it has none."""
    status: Array
    """How each run ended `[Y, X]`, as places in STATUSES; 0 is that of a run which is still to be made."""
    ends: Array | None = None
    """The parameters at the end of each run `[Y, X, P]`, where the figure is the minimum at which it ended."""
    minima: Array | None = None
    """The minima `[M, P]` whose places here are then the values, once all runs have been made."""
    minima_loss: Array | None = None
    """Their losses `[M]`, those of the minima that the function is known to have first."""
    minima_known: Array | None = None
    """Which minima are known of the function `[M]`; the others were found."""
    minima_axes: Array | None = None
    """Which coordinates of the minima x and y are `[2]`, where these are the start of two numbers."""

    @property
    def made(self) -> int:
        """How many runs have been made."""
        return int(np.count_nonzero(self.status))

    @property
    def is_whole(self) -> bool:
        """Whether all runs have been made."""
        return self.made == self.status.size

    def where(self, status: Status) -> Array:
        """Return which runs ended so `[Y, X]`."""
        found: Array = self.status == CODES[status]
        return found


def read_map(path: Path, identity: str) -> Pixels | None:
    """Return the map in a file, None where there is no file; ConfigError for a file of another map."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            of_whom = str(held["identity"])
            found = Pixels(**{each.name: held[each.name] for each in fields(Pixels) if each.name in held})
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except (BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: is no map, or damaged: name another file with -o") from None
    if of_whom != identity:
        said = "holds another map, or its data or code have changed: name another file with -o"
        raise ConfigError(f"{path}: {said}")
    return found


def write_map(path: Path, found: Pixels, config: dict[str, Any], identity: str) -> None:
    """Write a map, with its config as JSON."""
    arrays = {each.name: getattr(found, each.name) for each in fields(Pixels)}
    texts: dict[str, Any] = {
        "statuses": np.array([each.value for each in STATUSES]),
        "config": np.array(json.dumps(config)),
        "identity": np.array(identity),
    }

    def write(stream: BinaryIO) -> None:
        np.savez(stream, **{name: of for name, of in arrays.items() if of is not None}, **texts)

    write_output(path, write)
