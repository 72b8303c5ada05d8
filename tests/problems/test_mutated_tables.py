"""Tables that are damaged at random: each is refused in words with its file, or is used and said how."""

import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems.data import _load, files, text
from optrun.problems.networks import MLP
from tests.problems.real_tables import REAL_TABLES, RealTable

COUNT = int(os.environ.get("OPTRUN_MUTATED_TABLES", "200"))
"""20,000 take about ten minutes."""

PIECES = [
    *(
        b"",
        b'"',
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xe2\x82\xac",
    ),
    *(b"NA", b"nan", b"inf", b"-inf", b"1e999", b"1e-400", b"1_0", b"-", b"0", b"1,5", b"1.234,5", b"1 234"),
    *(
        b"2020-01-01",
        b"9" * 30,
        b"x" * 50,
        b'""',
        b"sep=;\n",
        b"#",
        b"=1+1",
        b"\x1a",
        "\u0661".encode(),
        b"\xe9",
    ),
    *(b"true", b"TRUE", b"False", b"007", b"+1", b" 2 ", b"0x1F", b"1e5", b".5", b"5.", b"1d3", b"Infinity"),
]

CELLS = [
    ["true", "TRUE", "True", "false"],
    ["999999999999999998", "1000000000000000000", "-0", "0"],
    ["9223372036854775808", "-18446744073709551616", "18446744073709551615", "7"],
    ["1.234", "-2.345", "371.838"],
    ["1.5", "1e5", ".5", "5.", "-0.0"],
    ["1", "+5", " 12 ", "007", "\v018"],
    ["1", "2", ""],
    ["NA", "inf", "3", "1_0"],
    ["a", '"b,c"', '"d\ne"', "' 1'"],
    ["\u00a0", "\u00fc", "1"],
    ['"5"', "1 234", "0x1F"],
]
"""Of a column each, in which pandas may see something else than the csv module."""


def small(draw: random.Random) -> bytes:
    """Return a table of few such columns, in which cells of two lines may be too many and too few."""
    columns = draw.sample(CELLS, draw.choice([1, 2, 2, 3]))
    rows = [
        [draw.choice(draw.choice([column[:1], column])) for column in columns]
        for _ in range(draw.choice([1, 2, 5]))
    ]
    if draw.random() < 0.3:
        rows[0].append("4")
        rows[-1].pop()
    separator, end = draw.choice([",", ";", "\t"]), draw.choice(["\n", "\r\n"])
    lines = [[f"c{i}" for i in range(len(columns))], *rows]
    content = end.join(separator.join(cells) for cells in lines) + draw.choice([end, ""])
    return content.encode(draw.choice(["utf-8-sig", "cp1252"]))


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return a file in which bytes, cells, lines or columns are replaced, doubled, moved or lost."""
    for _ in range(draw.choice([1, 1, 2, 5])):
        lines = content.split(b"\n")
        i = draw.randrange(len(lines))
        match draw.randrange(8):
            case 0:
                at = draw.randrange(len(content) + 1)
                content = content[:at] + draw.choice(PIECES) + content[at + draw.choice([0, 1, 3]) :]
            case 1:
                content = content[: draw.randrange(len(content) + 1)]
            case 2:
                content = b"\n".join([*lines[:i], lines[draw.randrange(len(lines))], *lines[i:]])
            case 3:
                content = b"\n".join([*lines[:i], *lines[i + 1 :]])
            case 4:
                cells = lines[i].split(b",")
                cells[draw.randrange(len(cells))] = draw.choice(PIECES)
                content = b"\n".join([*lines[:i], b",".join(cells), *lines[i + 1 :]])
            case 5:
                piece = draw.choice(PIECES)
                content = b"\n".join(line + piece if draw.random() < 0.5 else line for line in lines)
            case 6:
                old, new = draw.choice([b",", b";", b".", b"\n", b'"']), draw.choice(PIECES)
                content = content.replace(old, new)
            case 7:
                content = bytes(
                    byte ^ (1 << draw.randrange(8)) if draw.random() < 0.01 else byte for byte in content
                )
    return content


def options_of(table: RealTable, draw: random.Random) -> dict[str, object]:
    """Return options that a person may have set, in most cases those by which the undamaged table is used."""
    drawn: dict[str, object] = {
        "missing": draw.choice(["error", "drop", "median", "mode", "indicator"]),
        "header": draw.choice([None, None, True, False]),
        "decimal": draw.choice([None, None, ".", ","]),
        "categories": draw.choice(["auto", [0], ["auto", 0]]),
        "task": draw.choice([None, None, "classification"]),
        "class_weight": draw.choice([None, "balanced"]),
        "validation_fraction": draw.choice([0.0, 0.2]),
    }
    if draw.random() < 0.25:
        return drawn
    kept = {name: value for name, value in drawn.items() if draw.random() < 0.3}
    return {"missing": drawn["missing"], **kept, **table.options, **table.mended}


def outcome(path: Path, options: dict[str, object]) -> tuple[str, bytes]:
    """Return what a problem says of its data, or why it is refused, and the numbers of its parts."""
    files._raw_table.cache_clear()
    _load.cache_clear()
    try:
        made = MLP(Arrays(dtype="float64"), data=str(path), hidden=[3], **options)
    except ConfigError as error:
        return f"{error.field}: {error}", b""
    arrays = [each for part in made.parts.values() for each in part]
    assert all(np.isfinite(each).all() for each in arrays)
    samples = sum(len(x) for x, _ in made.parts.values())
    assert made.inferred.startswith(f"data d.csv: {samples:,} samples")
    return "; ".join([made.inferred, *made.notes]), b"".join(each.tobytes() for each in arrays)


def understood(content: bytes, kept: list[str]) -> list[object]:
    """Return all that a text table may be read as, or why it is refused."""
    try:
        raw = text.read_text(Path("d.csv"), content, kept)
    except ConfigError as error:
        return [str(error)]
    columns = []
    for cells in raw.cells:
        for sign in (None, ".", ","):
            columns += [cells.column("", sign), cells.column("", sign, keep_codes=True)]
            columns += [each.column("", sign) for each in map(cells.with_first, ("7", "1.234", "w"))]
            columns += [cells.read_as("numbers", "", sign)]
    found = [(each.words, each.is_whole, each.values.dtype, each.values.tobytes()) for each in columns]
    return [raw.first, raw.lines.tolist(), raw.faults, *found]


@pytest.mark.parametrize("part", range(2))
def test_either_engine_reads_the_same_cells(part, monkeypatch):
    pytest.importorskip("pandas")
    draw = random.Random(part)
    by_pandas = []
    engine = text.cells_by_pandas
    monkeypatch.setattr(
        text,
        "cells_by_pandas",
        lambda *args, **options: by_pandas.append(engine(*args, **options)) or by_pandas[-1],
    )
    for _ in range(COUNT // 2):
        content, kept = small(draw), draw.choice([[], ["c0"]])
        found = []
        for smallest in (0, 1 << 40):
            monkeypatch.setattr(text, "PANDAS_FROM", smallest)
            found.append(understood(content, kept))
        assert found[0] == found[1]
    assert sum(each is not None for each in by_pandas) > COUNT // 8


@pytest.mark.full
@pytest.mark.parametrize("part", range(4))
def test_a_damaged_table_is_refused_in_words_or_used_and_said(part, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    draw = random.Random(part)
    path = tmp_path / "d.csv"
    used = 0
    for _ in range(COUNT // 4):
        table = draw.choice(list(REAL_TABLES.values()))
        path.write_bytes(mutated(table.content, draw))
        options = options_of(table, draw)
        found = []
        for smallest in (0, 1 << 40):  # by pandas where it can, and without it
            monkeypatch.setattr(text, "PANDAS_FROM", smallest)
            found.append(outcome(path, options))
        assert found[0] == found[1]
        if found[0][1]:
            used += 1
        else:
            assert found[0][0].partition(":")[0] in {
                "data",
                "target",
                "header",
                "decimal",
                "test_fraction",
                *options,
            }
            assert re.search(r"d\.csv|of \d+ samples? is no sample", found[0][0])
    assert COUNT // 100 <= used < COUNT // 6
