"""Arrays as npy and npz blobs, documents as JSON: written canonically, read without trusting a byte.

The same arrays always give the same blob, and a blob never makes the reader allocate more than its own size.
"""

import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from io import BytesIO
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from optrun.arrays import Array
from optrun.errors import StoreError

KINDS = "biuf"
NO_TEXTS: Mapping[str, str] = MappingProxyType({})
PIECE = 1 << 17
"""How many elements of a long array are written at a time."""
MOST_PATTERNED = 1 << 14
"""The bytes of small arrays, whose archives are made by filling in a pattern."""
DEEPEST = 64
"""How deep a document is nested at most: whoever walks through one may go down a level for each."""
MOST_DIGITS = 300
"""Those of a whole number, so that it is one of the floats too."""
MAX_ITEMSIZE = 8  # a long double has other bits on other machines

# Exactly the header that `encode` writes. NumPy's own reader parses the text as Python, warns, and allocates
# what the shape asks for before it looks at the data.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][biuf][1248])', 'fortran_order': False, "
    rb"'shape': \(((?:[0-9]{1,18}, ?)*(?:[0-9]{1,18})?)\), \} *\n",
    re.DOTALL,
)


def encode(array: Any) -> bytes:
    """Return an array of numbers or booleans as an npy blob, in C order and little-endian.

    Raises StoreError where the elements are of another type.
    """
    values = canonical(array)
    is_small = values.nbytes <= MOST_PATTERNED  # a copy more takes less time than the view does
    return b"".join(
        (_header(values.dtype.str, values.shape), values.tobytes() if is_small else _bytes_of(values))
    )


def pieces(array: Array) -> Iterator[bytes | memoryview]:
    """Yield the blob of an array ``[n]`` in pieces; the array itself may be a view that repeats a number."""
    values = canonical(array)
    yield _header(values.dtype.str, values.shape)
    for first in range(0, len(values), PIECE):
        yield _bytes_of(values[first : first + PIECE])


def decode(blob: bytes, what: str) -> Array:
    """Return the array of an npy blob.

    Raises StoreError, which begins with ``what``, where the blob is not one that `encode` writes.
    """
    header = _HEADER.match(blob)
    if header is None:
        raise StoreError(f"{what} is not an array of numbers in npy format")
    dtype = _dtype(header[1].decode(), what)
    shape = tuple(int(length) for length in header[2].replace(b",", b" ").split())
    if math.prod(shape) * dtype.itemsize != len(blob) - header.end():
        raise StoreError(f"{what} declares another number of bytes than it holds")
    try:
        return np.ndarray(shape, dtype, blob, header.end()).copy()
    except ValueError as error:  # too many dimensions, or an empty one beside one too large
        raise StoreError(f"{what} declares an impossible shape: {error}") from error


def write_npz(
    stream: BinaryIO, arrays: Iterable[tuple[str, Any]], texts: Mapping[str, str] = NO_TEXTS
) -> None:
    """Write arrays by name as an uncompressed npz archive; any name will do, unlike with `numpy.savez`.

    Last come ``texts`` by name, as arrays of one text, which `decode_npz` does not read.

    Raises StoreError where an array holds anything but numbers or booleans.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays:
            values = canonical(array)
            # A ZipInfo made by hand carries no clock and no permissions.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                member.write(_header(values.dtype.str, values.shape))
                member.write(_bytes_of(values))
        for name, text in texts.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.array(text), allow_pickle=False)


def encode_npz(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays as an uncompressed npz blob: the one that `write_npz` writes."""
    known = {name: canonical(array) for name, array in arrays.items()}
    if sum(values.nbytes for values in known.values()) > MOST_PATTERNED:
        stream = BytesIO()
        write_npz(stream, known.items())
        return stream.getvalue()
    pattern, members = _pattern(tuple((str(name), of.dtype.str, of.shape) for name, of in known.items()))
    blob = bytearray(pattern)
    for (first, header_crc, crc_places), values in zip(members, known.values(), strict=True):
        data = values.tobytes()
        blob[first : first + len(data)] = data
        crc = zlib.crc32(data, header_crc).to_bytes(4, "little")
        for place in crc_places:
            blob[place : place + 4] = crc
    return bytes(blob)


@lru_cache(64)
def _pattern(
    members: tuple[tuple[str, str, tuple[int, ...]], ...],
) -> tuple[bytes, list[tuple[int, int, tuple[int, int]]]]:
    """Return an npz blob of zeros, by the names, dtypes and shapes of its arrays, and what differs in another one.

    Of each array where its values begin, the checksum of its header, and where its own checksum is written.
    `zipfile` takes ten times as long for a small archive as to fill in these places.
    """
    stream = BytesIO()
    write_npz(stream, ((name, np.zeros(shape, descr)) for name, descr, shape in members))
    blob = stream.getvalue()
    found = []
    with zipfile.ZipFile(stream) as archive:
        listed = archive.start_dir
        for info, (_, descr, shape) in zip(archive.infolist(), members, strict=True):
            header, start = _header(descr, shape), info.header_offset
            lengths = [int.from_bytes(blob[start + at : start + at + 2], "little") for at in (26, 28)]
            first = start + 30 + sum(lengths) + len(header)
            found.append((first, zlib.crc32(header), (start + 14, listed + 16)))
            listed += 46 + len(info.filename.encode()) + len(info.extra) + len(info.comment)
    return blob, found


def decode_npz(blob: bytes, what: str) -> dict[str, Array]:
    """Return the arrays of an npz blob, by name.

    Raises StoreError, which begins with ``what``, where the archive is damaged, compressed, larger inside
    than outside, or holds anything but arrays of numbers.
    """
    try:
        with zipfile.ZipFile(BytesIO(blob)) as archive:
            _check_members(archive.infolist(), len(blob), what)
            return {
                info.filename.removesuffix(".npy"): decode(archive.read(info), f"{what}: {info.filename!r}")
                for info in archive.infolist()
            }
    except StoreError:
        raise
    except Exception as error:  # zipfile meets damage with a dozen exceptions, few of them documented
        raise StoreError(f"{what} is not a readable npz archive: {error}") from error


def dumps(value: Any, what: str) -> str:
    """Return a value as strict JSON.

    Raises StoreError, which begins with ``what``, where JSON cannot say it: NaN, infinity, other types.
    """
    try:
        return _ENCODER.encode(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"{what} cannot be written as JSON: {error}") from error


def loads(text: str, what: str) -> dict[str, Any]:
    """Return the object of a strict JSON text.

    Raises StoreError, which begins with ``what``, where the text is anything else.
    """
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{what} is not strict JSON: {error}") from error
    if not isinstance(value, dict):
        raise StoreError(f"{what} is not a JSON object")
    if text.count("{") + text.count("[") > DEEPEST and _is_deeper(value, DEEPEST):
        raise StoreError(f"{what} is nested more than {DEEPEST} deep")
    return value


def canonical(array: Any) -> Array:
    """Return an array as one that may be stored: numbers or booleans, little-endian.

    Raises StoreError where the elements are of another type.
    """
    values = np.asarray(array)
    if values.dtype in _COMMON:
        return values
    if values.dtype.kind not in KINDS or values.dtype.itemsize > MAX_ITEMSIZE:
        raise StoreError(
            f"an array of {values.dtype} cannot be stored: only integers, floats and booleans can"
        )
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def _bytes_of(values: Array) -> memoryview:
    """Return the bytes of an array in C order, where it is so already without a copy."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


@lru_cache(1024)
def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _dtype(descr: str, what: str) -> np.dtype[Any]:
    try:
        return np.dtype(descr)
    except TypeError as error:
        raise StoreError(f"{what} declares an unknown dtype {descr!r}") from error


def _check_members(members: Iterable[zipfile.ZipInfo], size: int, what: str) -> None:
    names: set[str] = set()
    total = 0
    for info in members:
        total += info.file_size
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise StoreError(f"{what}: {info.filename!r} is compressed; only stored members are read")
        if total > size:
            raise StoreError(f"{what}: {info.filename!r} declares more bytes than the archive has")
        if not info.filename.endswith(".npy") or info.filename in names:
            raise StoreError(f"{what}: {info.filename!r} is not an array, or is there twice")
        names.add(info.filename)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _is_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for each in layer
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, (dict, list))
        ]
        if not layer:
            return False
    return True


_COMMON = frozenset(map(np.dtype, ("<f4", "<f8", "<i8")))
"""What most arrays are, and what is stored as it is."""

# Made once: `json.loads` makes one for each text.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_finite, parse_float=_finite, parse_int=_whole)
