"""Readers of users' data: CSV, NPZ and MNIST's IDX; any defect of a file is a ConfigError."""

import gzip
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from optrun.arrays import Array
from optrun.errors import ConfigError
from optrun.problems.data.dataset import Dataset
from optrun.problems.data.layout import Layout
from optrun.problems.data.no_table import unread_kind
from optrun.problems.data.parquet import read_parquet
from optrun.problems.data.parts import no_part, part_named
from optrun.problems.data.shared import attached, keep
from optrun.problems.data.tables import read_table
from optrun.problems.data.text import RawTable, error_in, read_text
from optrun.regular_files import open_regular

MAX_BYTES = 1 << 29
"""Largest size of a file, also when unpacked, so that a hostile file cannot fill the memory."""

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


TEXTS = (".csv", ".tsv", ".txt", ".data")
TABLES = (*TEXTS, *(f"{each}.gz" for each in TEXTS), ".parquet")


def files_of(path: Path) -> list[Path]:
    """Return the existing files that `read` reads; ConfigError for an empty directory."""
    if path.is_dir():
        path = _training_images(path)
    found = [path]
    if "idx" in path.name and "images" in path.name:
        with suppress(ConfigError):  # raised again by `read`, after errors of the first file
            found.append(_beside(path))
    return found


def read(name: str, path: Path, layout: Layout) -> Dataset:
    """Return the data set in a file: a text table, an NPZ archive or MNIST's IDX.

    Raises ConfigError if the file is of an unknown type or malformed.
    """
    path = _existing(path)
    if (raw := read_raw(path)) is not None:
        return read_table(name, path, raw, layout)
    is_archive = path.suffix.lower() == ".npz"
    check_no_layout(replace(layout, split=None) if is_archive else layout, path.name)
    features, targets, parts = _arrays(path, layout.split, labelled=True)
    assert targets is not None
    split = "" if parts is None else repr(layout.split)
    return Dataset(name, features, targets, parts=parts, split=split, is_labelled=not is_archive)


def read_raw(path: Path, texts: Collection[str] = ()) -> RawTable | None:
    """Return the cells of a table, of which some columns remain texts; None for a file of arrays."""
    if not path.name.lower().endswith(TABLES):
        return None
    stats = _existing(path).stat()
    if texts and path.suffix.lower() != ".parquet":
        return read_text(path, _bytes(path), texts)
    return _raw_table(path, (stats.st_mtime_ns, stats.st_size))


def read_arrays(path: Path) -> tuple[Array, Array | None]:
    """Return the samples ``[N, *shape]`` of a file of arrays, and their targets ``[N]``, None if it has none."""
    return _arrays(_existing(path), None, labelled=False)[:2]


def _existing(path: Path) -> Path:
    if path.is_dir():
        path = _training_images(path)
    if not path.is_file():
        raise error_in(path, "not a regular file" if path.exists() else "no such file")
    return path


def _arrays(
    path: Path, split: str | int | None, *, labelled: bool
) -> tuple[Array, Array | None, Array | None]:
    try:
        if path.suffix.lower() == ".npz":
            return read_npz(path, split, labelled=labelled)
        if "idx" in path.name:
            return *read_idx(path, labelled=labelled), None
    # Damaged files may make NumPy and Python raise any exception.
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        SyntaxError,
        TypeError,
        ValueError,
        tokenize.TokenError,
    ) as error:
        if isinstance(error, ConfigError):
            raise
        raise error_in(path, f"not readable ({type(error).__name__}: {error})") from None
    raise error_in(path, unread_kind(path.suffix))


# Cached, since a sweep may read other columns of the same file.
@lru_cache(maxsize=4)
def _raw_table(path: Path, version: tuple[int, int]) -> RawTable:
    key = (str(path.absolute()), *version)
    table = attached(key)
    if table is None:
        table = read_parquet(path) if path.suffix.lower() == ".parquet" else read_text(path, _bytes(path))
        keep(key, table)
    return table


def check_no_layout(layout: Layout, name: str) -> None:
    """Raise ConfigError if a config describes columns of a file that is not a text table."""
    for option, value in vars(layout).items():
        if value is not None:
            what = "or an NPZ file says its split" if option == "split" else "has columns to choose from"
            raise ConfigError(f"{option}: only a table {what}, not {name!r}", field=option)


def read_npz(
    path: Path, split: str | int | None = None, *, labelled: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """Return the arrays ``X`` (``[N, *shape]``) and ``y`` of an archive, without pickle.

    Unless it must be ``labelled``, y may be absent. The third one is the part of each sample ``[N]``, of which the
    array called ``split`` has the words.
    """
    if isinstance(split, int):
        raise ConfigError("split: the arrays of an NPZ file have names, not numbers", field="split")
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise error_in(path, f"unpacks to more than {MAX_BYTES:,} bytes")
        with open_regular(path) as file, np.load(file, allow_pickle=False) as arrays:
            needed = ("X", "y") if labelled else ("X",)
            missing = [name for name in needed if name not in arrays.files]
            if missing:
                raise error_in(path, f"no array {missing[0]!r}; it has {', '.join(arrays.files) or 'none'}")
            if split is not None and split not in arrays.files:
                raise ConfigError(
                    f"split: no array {split!r} in {path.name!r}; it has {', '.join(arrays.files)}",
                    field="split",
                )
            x, y = arrays["X"], arrays["y"] if "y" in arrays.files else None
            words = None if split is None else arrays[split]
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, MemoryError) as error:
        if isinstance(error, ConfigError):
            raise
        raise error_in(path, f"not a readable archive of plain arrays ({error})") from None
    if x.dtype.kind not in "fiub" or x.ndim < 2:
        raise error_in(path, f"X: numbers [N, features] expected, not {x.dtype} of shape {x.shape}")
    if y is None:
        return x.astype(np.float64), None, None
    if y.dtype.kind not in "fiubU" or y.shape != x.shape[:1]:
        raise error_in(path, f"y: {len(x)} targets expected, as X has rows, not {y.dtype} of shape {y.shape}")
    parts = None if words is None else _parts(path, words, len(x), split or "")
    return x.astype(np.float64), _plain(y), parts


def _parts(path: Path, words: Array, samples: int, name: str) -> Array:
    if words.dtype.kind != "U" or words.shape != (samples,):
        raise error_in(
            path, f"{name}: {samples} words expected, as X has rows, not {words.dtype} of shape {words.shape}"
        )
    parts = [part_named(word) for word in words.tolist()]
    if None in parts:
        row = parts.index(None)
        raise error_in(path, f"{name}: sample {row}: {no_part(str(words[row])[:40])}")
    return np.array(parts)


def _plain(targets: Array) -> Array:
    kind = targets.dtype.kind
    return targets if kind == "U" else targets.astype(np.float64 if kind == "f" else np.int64)


def read_idx(path: Path, *, labelled: bool = True) -> tuple[Array, Array | None]:
    """Return MNIST images ``[N, *shape]`` and their labels, which may be absent unless they must be ``labelled``.

    Unsigned bytes are divided by 255. The labels of ``train-images-idx3-ubyte.gz`` are in
    ``train-labels-idx1-ubyte.gz``, either file with or without ``.gz``.
    """
    if "images" not in path.name:
        raise error_in(path, "not an images file: give the images, with the labels in the same directory")
    images = _idx_array(path)
    labels = None
    with suppress(*([] if labelled else [ConfigError])):
        labels_path = _beside(path)
        labels = _idx_array(labels_path)
    if images.ndim < 2:
        raise error_in(path, f"images expected, not an array of shape {images.shape}")
    if labels is not None and labels.shape != images.shape[:1]:
        raise error_in(labels_path, f"{len(images)} labels expected, not an array of shape {labels.shape}")
    scale = 255.0 if images.dtype == np.uint8 else 1.0
    features = images.astype(np.float64)
    features /= scale
    return features, None if labels is None else _plain(labels)


def images_for_testing(directory: Path) -> Path | None:
    """Return the images of the test part in a directory of MNIST's files; None if it has none."""
    found = sorted(directory.glob("t10k-images*idx*")) if directory.is_dir() else []
    return found[0] if found else None


def _training_images(directory: Path) -> Path:
    found = sorted(directory.glob("train-images*idx*"))
    if not found:
        raise error_in(directory, "a directory without an IDX file train-images-idx3-ubyte, also .gz")
    return found[0]


def _beside(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    for candidate in (images.with_name(name), images.with_name(f"{name}.gz")):
        if candidate.is_file():
            return candidate
    raise error_in(images, f"no labels in the same directory: {name} or {name}.gz")


def _idx_array(path: Path) -> Array:
    data = _bytes(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise error_in(path, "not an IDX file")
    dimensions = data[3]
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    dtype = np.dtype(IDX_TYPES[data[2]])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise error_in(path, f"{len(data):,} bytes, where its header promises {expected:,}")
    return np.frombuffer(data[start:], dtype).reshape(shape)


def _bytes(path: Path) -> bytes:
    """Return a file's content, unpacked if gzipped; ConfigError if it is too large."""
    try:
        with open_regular(path) as raw, gzip.open(raw) if path.suffix.lower() == ".gz" else raw as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise error_in(path, f"not a readable gzip file ({error})") from None
    if len(data) > MAX_BYTES:
        raise error_in(path, f"more than {MAX_BYTES:,} bytes")
    return data
