"""Readers of a user's own data: CSV, NPZ and MNIST's IDX; every problem of a file is a ConfigError."""

import csv
import gzip
import io
import math
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.regular_files import open_regular

MAX_BYTES = 1 << 29
"""A file, or what it unpacks to, may be this large: a hostile one must end in an error, not fill the memory."""

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: Path, target: str | int | None) -> tuple[Array, Array]:
    """Return the features ``[N, d]`` (float64) and the targets ``[N]`` (float64, int64 or str) of a file.

    Raises ConfigError where the file is of no known kind or malformed.
    """
    if path.is_dir():
        path = _training_images(path)
    if not path.is_file():
        raise _error(path, "not a regular file")
    if path.suffix in (".csv", ".tsv"):
        return read_csv(path, target)
    if target is not None:
        raise ConfigError(
            f"target: only a CSV file has columns to choose from, not {path.name!r}", field="target"
        )
    if path.suffix == ".npz":
        return read_npz(path)
    if "idx" in path.name:
        return read_idx(path)
    raise _error(path, "known are .csv, .tsv, .npz and MNIST's files (…-images-idx3-ubyte, also .gz)")


def read_csv(path: Path, target: str | int | None = None) -> tuple[Array, Array]:
    """Return the columns of a text table, of which ``target`` (a header name or an index) is the target.

    Cells are separated by commas, semicolons or tabs, whichever the first line has most of. The first line
    is a header where none of its cells is a number. Targets are names where none of them is a number.
    """
    rows = _csv_rows(path)
    first_line, first = next(rows, (0, []))
    if not first:
        raise _error(path, "no line to read")
    header = first if not any(_is_number(cell) for cell in first) else None
    column = _target_column(path, header, len(first), target)
    features, labels, lines = array("d"), [], []
    for line, cells in _with_first(rows, first_line, first, header):
        if len(cells) != len(first):
            raise _error(path, f"{len(cells)} cells, where the first line has {len(first)}", line)
        lines.append(line)
        labels.append(cells[column].strip())
        features.extend(_number(path, line, i, cell) for i, cell in enumerate(cells) if i != column)
    matrix = np.array(features).reshape(len(labels), len(first) - 1)
    return matrix, _csv_targets(path, labels, lines, column)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        text = _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(path, f"not UTF-8 text at byte {error.start}") from None
    start = text[: text.find("\n")] if "\n" in text else text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=start.count), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise _error(path, str(error), reader.line_num) from None


def _with_first(
    rows: Iterator[tuple[int, list[str]]], line: int, first: list[str], header: list[str] | None
) -> Iterator[tuple[int, list[str]]]:
    if header is None:
        yield line, first
    yield from rows


def _target_column(path: Path, header: list[str] | None, width: int, target: str | int | None) -> int:
    if isinstance(target, str):
        names = [name.strip() for name in header or ()]
        if names.count(target) != 1:
            known = f"its columns are {', '.join(names)}" if names else "it has no header; give an index"
            raise ConfigError(
                f"target: no single column {target!r} in {path.name!r}: {known}", field="target"
            )
        return names.index(target)
    index = -1 if target is None else target
    if not -width <= index < width:
        raise ConfigError(
            f"target: {path.name!r} has {width} columns, so none has the index {index}", field="target"
        )
    return index % width


def _csv_targets(path: Path, labels: list[str], lines: list[int], column: int) -> Array:
    numeric = [_is_number(label) for label in labels]
    if not any(numeric):
        if "" in labels:
            raise _error(path, f"column {column + 1}: an empty target", lines[labels.index("")])
        return np.array(labels)
    if not all(numeric):
        odd = numeric.index(False)
        raise _error(
            path, f"column {column + 1}: {labels[odd]!r} is not a number, as other targets are", lines[odd]
        )
    if all(label.lstrip("+-").isdecimal() for label in labels):
        try:
            return np.array([int(label) for label in labels], np.int64)
        except OverflowError:
            pass  # too large for a class: read as real
    return np.array([_number(path, *at) for at in zip(lines, [column] * len(lines), labels, strict=True)])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python's own digit separator


def _number(path: Path, line: int, column: int, cell: str) -> float:
    if not _is_number(cell):
        raise _error(path, f"column {column + 1}: {cell!r} is not a number", line)
    number = float(cell)
    if not math.isfinite(number):
        raise _error(path, f"column {column + 1}: {cell.strip()} is not finite", line)
    return number


def read_npz(path: Path) -> tuple[Array, Array]:
    """Return the arrays ``X`` (``[N, …]``, flattened to ``[N, d]``) and ``y`` of an archive without pickles."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise _error(path, f"unpacks to more than {MAX_BYTES:,} bytes")
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            missing = [name for name in ("X", "y") if name not in arrays.files]
            if missing:
                raise _error(path, f"no array {missing[0]!r}; it has {', '.join(arrays.files) or 'none'}")
            x, y = arrays["X"], arrays["y"]
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, MemoryError) as error:
        if isinstance(error, ConfigError):
            raise
        raise _error(path, f"not a readable archive of plain arrays ({error})") from None
    if x.dtype.kind not in "fiub" or x.ndim < 2:
        raise _error(path, f"X: numbers [N, features] expected, not {x.dtype} of shape {x.shape}")
    if y.dtype.kind not in "fiubU" or y.shape != x.shape[:1]:
        raise _error(path, f"y: {len(x)} targets expected, as X has rows, not {y.dtype} of shape {y.shape}")
    return x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float64), _plain(y)


def _plain(targets: Array) -> Array:
    kind = targets.dtype.kind
    return targets if kind == "U" else targets.astype(np.float64 if kind == "f" else np.int64)


def read_idx(path: Path) -> tuple[Array, Array]:
    """Return MNIST-style images, each flattened, and the labels found beside them.

    Unsigned bytes are divided by 255. The labels of ``train-images-idx3-ubyte.gz`` are in
    ``train-labels-idx1-ubyte.gz``, either file with or without ``.gz``.
    """
    if "images" not in path.name:
        raise _error(path, "the images file is wanted, with the labels beside it")
    images = _idx_array(path)
    labels_path = _beside(path)
    labels = _idx_array(labels_path)
    if images.ndim < 2:
        raise _error(path, f"images expected, not an array of shape {images.shape}")
    if labels.shape != images.shape[:1]:
        raise _error(labels_path, f"{len(images)} labels expected, not an array of shape {labels.shape}")
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    features = images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float64)
    features /= scale
    return features, _plain(labels)


def _training_images(directory: Path) -> Path:
    found = sorted(directory.glob("train-images*idx*"))
    if not found:
        raise _error(directory, "a directory without an IDX file train-images-idx3-ubyte, also .gz")
    return found[0]


def _beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for candidate in (images.with_name(name), images.with_name(f"{name}.gz")):
        if candidate.is_file():
            return candidate
    raise _error(images, f"no labels beside it: {name} or {name}.gz")


def _idx_array(path: Path) -> Array:
    data = _bytes(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise _error(path, "not an IDX file")
    dimensions = data[3]
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    dtype = np.dtype(IDX_TYPES[data[2]])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise _error(path, f"{len(data):,} bytes, where its header promises {expected:,}")
    return np.frombuffer(data[start:], dtype).reshape(shape)


def _bytes(path: Path) -> bytes:
    """Return a file's content, unpacked where it is gzipped, or raise ConfigError where it is too large."""
    try:
        with open_regular(path) as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _error(path, f"not a readable gzip file ({error})") from None
    if len(data) > MAX_BYTES:
        raise _error(path, f"more than {MAX_BYTES:,} bytes")
    return data


def _error(path: Path, message: str, line: int | None = None) -> ConfigError:
    where = f"{str(path)!r}, line {line}" if line else repr(str(path))
    return ConfigError(f"data: {where}: {message}", field="data")
