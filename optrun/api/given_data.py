"""Data that Python gives: a data frame or arrays, in a file that the config of a run can name."""

import hashlib
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError, MissingExtraError, brief, install
from optrun.store.directory import make_parent, replace_file
from optrun.store.locate import CONFIG, RUNS

FOLDER = "data"
"""Of such files, beside the directories of runs."""

_NAME = re.compile(r"(?:frame-[0-9a-f]{12}\.parquet|arrays-[0-9a-f]{12}\.npz)")


@contextmanager
def given(
    data: Any, overrides: Sequence[str], *, save: bool, directory: str | Path | None
) -> Iterator[Sequence[str]]:
    """Return the overrides of a config whose samples are these, a data frame or arrays ``(X, y)``; None changes none.

    They are in a file beside the run, whose name depends on them alone, or, if the run is not saved, in one that is
    deleted at the end. Raises ConfigError for anything else, and MissingExtraError without PyArrow.
    """
    if data is None:
        yield overrides
        return
    name, content = _file(data)
    with tempfile.TemporaryDirectory(prefix="optrun-") as temporary:
        parent = RUNS if directory is None else Path(directory).absolute().parent
        folder = parent / FOLDER if save else Path(temporary)
        if save:
            make_parent(parent)
            folder.mkdir(exist_ok=True)
        path = (folder / name).absolute()
        if not path.exists():

            def write(stream: BinaryIO) -> None:
                stream.write(content)

            replace_file(path, write)
        try:
            yield [*overrides, f"problem.data={json.dumps(str(path), ensure_ascii=False)}"]
        except ConfigError as error:
            kind = "the data frame" if path.suffix == ".parquet" else "(X, y)"
            said = re.sub(rf"'[^']*{path.name}'", kind, str(error))  # the caller has not named the file
            error.args = (said,)
            raise


def kept_for(runs: Iterable[Path]) -> set[Path]:
    """Return the files of such data that the configs of runs name; all files beside a run that has no config."""
    found: set[Path] = set()
    for run in runs:
        folder = run.parent / FOLDER
        try:
            names = _NAME.findall((run / CONFIG).read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            names = [each.name for each in folder.glob("*") if _NAME.fullmatch(each.name)]
        found.update(folder / name for name in names)
    return {each for each in found if each.is_file()}


def _file(data: Any) -> tuple[str, bytes]:
    """Return the name and the content of a file of samples."""
    stream = io.BytesIO()
    if hasattr(data, "columns") and hasattr(data, "to_parquet"):
        names = list(map(str, data.columns))
        if len({*names}) < len(names):
            raise ConfigError(
                "data: several columns have one name: give each a name of its own", field="data"
            )
        try:
            data.set_axis(names, axis=1).to_parquet(stream, index=False, engine="pyarrow")
        except ImportError as error:
            raise MissingExtraError(f"a data frame needs PyArrow: {install('optrun[data]')}") from error
        except (
            ValueError,
            TypeError,
            NotImplementedError,
        ) as error:  # an ArrowException is a ValueError or TypeError
            said = " ".join("; ".join(map(str, error.args)).split())[:200]
            raise ConfigError(f"data: no table can be made of the data frame: {said}", field="data") from None
        content = stream.getvalue()
        return f"frame-{hashlib.sha256(content).hexdigest()[:12]}.parquet", content
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ConfigError(
            f"data: a data frame or a pair of arrays (X, y) is expected, not {brief(data)}; the name of a data set, or "
            "a path, is problem.data of the config",
            field="data",
        )
    x, y = _plain(data[0]), _plain(data[1])
    digest = hashlib.sha256()
    for each in (x, y):
        digest.update(f"{each.dtype}{each.shape}".encode())
        digest.update(np.ascontiguousarray(each).tobytes())
    np.savez(stream, X=x, y=y)
    return f"arrays-{digest.hexdigest()[:12]}.npz", stream.getvalue()


def _plain(values: Any) -> Array:
    array = np.asarray(values)
    if array.dtype.kind == "O":
        array = np.array([str(each) for each in array.ravel().tolist()]).reshape(array.shape)
    return array
