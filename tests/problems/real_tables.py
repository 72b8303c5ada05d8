"""Tables as people have them: each with what is understood, or all that is wrong."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ROWS = 60


@dataclass(frozen=True)
class RealTable:
    """A file, and what its line says, or the error does, in this order; ``mended`` are options by which it trains."""

    content: bytes
    said: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    mended: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    first: tuple[float | str, ...] = ()
    """The first cells of the columns that are features, and of the target."""


def table(
    columns: dict[str, Callable[[random.Random, int], Any]],
    *,
    separator: str = ",",
    decimal: str = ".",
    encoding: str = "utf-8",
    rows: int = ROWS,
    header: bool = True,
    end: str = "\n",
) -> bytes:
    """Return a text table of columns that draw a cell from a generator and the number of its row."""
    draw = random.Random(0)
    lines = [separator.join(columns)] if header else []
    for i in range(rows):
        cells = [each(draw, i) for each in columns.values()]
        texts = [f"{cell}".replace(".", decimal) if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(separator.join(texts))
    return (end.join(lines) + end).encode(encoding)


def real(draw: random.Random, i: int) -> float:
    return round(draw.uniform(1, 90), 2)


def whole(draw: random.Random, i: int) -> int:
    return draw.randrange(18, 90)


def among(*words: Any) -> Callable[[random.Random, int], Any]:
    return lambda draw, i: words[i % len(words)] if i < len(words) else draw.choice(words)


def sometimes(of: Callable[[random.Random, int], Any], rows: tuple[int, ...], instead: Any = "") -> Any:
    return lambda draw, i: instead if i in rows else of(draw, i)


YES_NO = among("yes", "no")
FIRST, LAST = ["Ann", "Bob", "Cat", "Dan", "Eve", "Fay", "Gil"], ["Ito", "Lee", "Kim"]
NAMES = among(*(f"{first} {last}" for first in FIRST for last in LAST))
PLAIN = {"age": whole, "height": real, "outcome": YES_NO}

REAL_TABLES = {
    "plain": RealTable(
        table(PLAIN),
        ("of 2 features age, height (header), target 'outcome': 2 classes",),
        first=(67, 68.46, "yes"),
    ),
    "mixed types": RealTable(
        table(
            {
                "age": whole,
                "sex": among("m", "f"),
                "income": real,
                "city": among("Oslo", "Bern", "Rom"),
                "y": YES_NO,
            }
        ),
        ("4 columns age, sex (2 categories), income, city (3 categories) as 7 features",),
        first=(67, "m", 68.46, "Oslo", "yes"),
    ),
    "missing cells": RealTable(
        table({"age": sometimes(whole, (3, 9)), "sex": sometimes(among("m", "f"), (4,), "NA"), "y": YES_NO}),
        ("missing 2 of age, 1 of sex filled in by the median",),
        (
            "2 faults",
            "'age' lacks 2 of 60 cells (lines 5, 11)",
            "'sex' lacks 1 of 60 cells (line 6), where 'NA' counts as missing",
            "missing: median",
            "if 'NA' is a word like the others, write another one",
        ),
        {"missing": "median"},
    ),
    "question marks": RealTable(
        table({"a": sometimes(real, (0,), "?"), "b": real, "y": YES_NO}),
        ("missing 1 of a filled in by the median and marked", "as 3 features"),
        ("'a' lacks 1 of 60 cells (line 2)",),
        {"missing": "indicator"},
    ),
    "target missing": RealTable(
        table({"a": real, "y": sometimes(YES_NO, (1, 2))}),
        ("58 samples",),
        ("'y', the target, lacks 2 of 60 cells (lines 3, 4): missing: drop leaves out such rows",),
        {"missing": "drop"},
    ),
    "a few words in a number": RealTable(
        table({"a": sometimes(real, (5,), "about 7"), "b": real, "y": YES_NO}),
        ("of 1 feature b",),
        ("'a': 1 of 60 cells is no finite number: 'about 7' (line 7)", "drop the column"),
        {"drop": ["a"]},
    ),
    "semicolons and decimal commas": RealTable(
        table({"a": real, "b": real, "y": YES_NO}, separator=";", decimal=","),
        ("of 2 features a, b (header; separated by ;, decimal commas)",),
        first=(76.15, 68.46, "yes"),
    ),
    "an Excel export": RealTable(
        b"\xef\xbb\xbfsep=;\r\n"
        + table(
            {"Preis": lambda d, i: f"1.{d.randrange(100, 999)},50", "n": whole, "y": YES_NO},
            separator=";",
            end="\r\n",
        ),
        ("separated by ;, decimal commas, thousands are separated",),
        first=(1964.5, 67, "yes"),
    ),
    "three decimals after a comma": RealTable(
        table({"a": lambda d, i: f'"0,{123 + i}"', "b": whole, "y": lambda d, i: f'"{i},5"'}),
        ("decimal commas), target 'y': real, 0.5 … 59.5",),
        first=(0.123, 67, 0.5),
    ),
    "three decimals after a point": RealTable(
        table(
            {"a": lambda d, i: f"{i},5", "b": lambda d, i: f"0.{123 + i} m", "y": YES_NO}, separator=";"
        ).replace(b" m", b""),
        (),
        ("'a': the comma of '0,5' may be a decimal sign",),
    ),
    "codes that begin with 0": RealTable(
        table({"a": real, "code": among("01", "1", "A1"), "y": among("01", "1", "x")}),
        ("code (3 categories)", "3 classes"),
        options={"categories": ["code", "y"]},
        first=(76.15, "01", "01"),
    ),
    "thousands or decimals in quotes": RealTable(
        table({"a": lambda d, i: f'"{1 + i % 9},{123 + i}"', "b": whole, "y": YES_NO}),
        ("thousands are separated",),
        ("'a': the comma of '1,123' may be a decimal sign or separate thousands",),
        {"decimal": "."},
        first=(1123, 67, "yes"),
    ),
    "points that are decimal signs or separate thousands": RealTable(
        table({"a": whole, "price": lambda d, i: f"{700 + 5 * i // 1000}.{100 + i}"}).replace(b".100", b""),
        ("decimal commas, thousands are separated), target 'price': real, 700 … 700159",),
        ("'price', the target: the point of '700.101' may be a decimal sign or separate thousands",),
        {"decimal": ",", "task": "regression"},
        first=(67, 700),
    ),
    "points that separate thousands twice": RealTable(
        table(
            {"a": lambda d, i: f"{1 + i % 9}.{123 + i}.000", "b": lambda d, i: f"1.{123 + i}", "y": YES_NO}
        ),
        ("decimal commas, thousands are separated)",),
        first=(1123000, 1123, "yes"),
    ),
    "three decimals of each number": RealTable(
        table({"a": lambda d, i: f"{1 + i % 9}.{123 + i}", "b": lambda d, i: f"0.{123 + i}", "y": YES_NO}),
        ("of 2 features a, b (header)",),
        first=(1.123, 0.123, "yes"),
    ),
    "three decimals of each number between commas": RealTable(
        table({"a": lambda d, i: f"{1 + i % 9}.{123 + i}", "b": lambda d, i: f"20.{123 + i}", "y": YES_NO}),
        ("of 2 features a, b (header)",),
        first=(1.123, 20.123, "yes"),
    ),
    "three decimals of each number between semicolons": RealTable(
        table({"a": lambda d, i: f"{1 + i % 9}.{123 + i}", "y": YES_NO}, separator=";"),
        ("of 1 feature a",),
        ("'a': the point of '1.123' may be a decimal sign or separate thousands",),
        {"decimal": "."},
        first=(1.123, "yes"),
    ),
    "thousands": RealTable(
        table(
            {"price": lambda d, i: f'"{d.randrange(1, 9)},{d.randrange(100, 999)}"', "b": real, "y": YES_NO}
        ),
        ("of 2 features price, b (header; thousands are separated)",),
        first=(7876, 80.23, "yes"),
    ),
    "thousands or decimals": RealTable(
        table(
            {"price": lambda d, i: f"{d.randrange(1, 9)},{d.randrange(100, 999)}", "y": YES_NO}, separator=";"
        ),
        ("decimal commas",),
        ("may be a decimal sign or separate thousands: set decimal: ',' or '.'",),
        {"decimal": ","},
        first=(7.876, "yes"),
    ),
    "quoted separators": RealTable(
        table({'"height, cm"': real, "place": among('"Bern, CH"', '"Oslo, NO"'), "y": YES_NO}),
        ("of 2 columns 'height, cm', place (2 categories) as 3 features",),
    ),
    "line breaks in cells": RealTable(
        table({"a": real, "note": among('"one\ntwo"', '"three"'), "y": YES_NO}), ("note (2 categories)",)
    ),
    "UTF-16": RealTable(
        table(PLAIN, encoding="utf-16", separator="\t"), ("encoding utf-16, separated by tabs",)
    ),
    "Latin-1": RealTable(
        table({"größe": real, "farbe": among("grün", "weiß"), "y": YES_NO}, encoding="latin-1"),
        ("of 2 columns größe, farbe (2 categories) as 3 features (header; encoding cp1252)",),
    ),
    "a mark at the start": RealTable(table(PLAIN, encoding="utf-8-sig"), ("features age, height (header)",)),
    "blanks": RealTable(table(PLAIN, separator="   "), ("age, height (header; separated by blanks)",)),
    "no header": RealTable(
        table(PLAIN, header=False), ("of 2 features (no header), target column 3: 2 classes",)
    ),
    "years as header": RealTable(
        table({"2019": whole, "2020": whole, "2021": among(0, 1)}),
        ("of 2 features 2019, 2020 (header)",),
        ("are 2019, 2020, 2021 the names of columns, or a sample? Set header: true or header: false",),
        {"header": True},
    ),
    "words without a header": RealTable(
        table({"a": among("red", "blue"), "b": among("big", "small"), "y": YES_NO}, header=False),
        ("60 samples",),
        ("are red, big, yes the names of columns, or a sample?",),
        {"header": False},
    ),
    "dates": RealTable(
        table({"when": lambda d, i: f"2024-{1 + i % 12:02}-{1 + i % 28:02}", "a": real, "y": YES_NO}),
        ("of 1 feature a",),
        ("'when' holds dates or times, such as '2024-01-01' (line 2): drop it, or make numbers of it",),
        {"drop": ["wh*"]},
    ),
    "identifiers, names and free text": RealTable(
        table(
            {
                "id": lambda d, i: f"P{i:05}",
                "name": lambda d, i: f"{NAMES(d, i)} {i}",
                "note": lambda d, i: f"seen on day {i}",
                "a": real,
                "y": YES_NO,
            }
        ),
        ("of 1 feature a",),
        ("3 faults", "'id' holds 60 different words in 60 cells", "'name' holds", "'note' holds", "drop it"),
        {"features": ["a"]},
    ),
    "an index and a number of the row": RealTable(
        table({"": lambda d, i: i, "nr": lambda d, i: 1 + i, "a": real, "y": YES_NO}),
        ("of 2 features nr, a",),
    ),
    "currencies": RealTable(
        table({"price": lambda d, i: f"${d.randrange(9)}", "a": real, "y": YES_NO}),
        ("of 1 feature a",),
        ("'price' holds numbers with a unit, such as '$", "remove the unit"),
        {"drop": ["price"]},
    ),
    "true and false": RealTable(
        table({"is_member": among("TRUE", "FALSE"), "a": real, "y": among("True", "False")}),
        ("is_member (2 categories)", "2 classes"),
        first=("True", 76.15, "True"),
    ),
    "infinities": RealTable(
        table({"a": sometimes(real, (7,), "inf"), "b": real, "y": YES_NO}),
        ("of 1 feature b",),
        ("'a': 1 of 60 cells is no finite number: 'inf' (line 9)",),
        {"drop": ["a"]},
    ),
    "ragged lines": RealTable(
        table(PLAIN) + b"1,2\n3,4.5,yes,9\n",
        (),
        ("2 lines with another number of cells than the 3 of the first: lines 62 (2), 63 (4)",),
    ),
    "lines with another separator": RealTable(
        table(PLAIN, separator=";") + b"30,4.5,no\n31,5.5,yes\n",
        (),
        ("d.csv' (separated by ;): 2 lines with", "lines 62 (1), 63 (1); there is , in lines 62, 63"),
    ),
    "two separators in each line": RealTable(
        table(
            {"a": real, "b,c": lambda d, i: f"{i},u", "d": real, "y,z": lambda d, i: f"{i},no"},
            separator=";",
        ),
        (),
        ("d.csv' (separated by ;): column 2 'b,c' holds 60 different words in 60 cells, such as '0,u'",),
    ),
    "names twice": RealTable(
        table(PLAIN).replace(b"age,height", b"age,age"),
        ("of 1 feature age (column 2)",),
        ("line 1: several columns are called 'age', those with the numbers 0, 1", "drop: [1]"),
        {"drop": [0]},
        first=(68.46, "yes"),
    ),
    "codes of digits alone": RealTable(
        table({"a": real, "code": among("01", "1", "02"), "city": among("Oslo", "Bern"), "y": YES_NO}),
        ("of 3 columns a, code (3 categories), city (2 categories) as 6 features",),
        options={"categories": ["auto", "code"]},
        first=(76.15, "01", "Oslo", "yes"),
    ),
    "classes of digits alone": RealTable(
        table({"a": real, "y": among("01", "1")}),
        ("2 classes",),
        options={"categories": ["y"]},
        first=(76.15, "01"),
    ),
    "a title": RealTable(
        b"Patients, 2024\n\n" + table(PLAIN),
        (),
        ("the first line, 'Patients, 2024', has 2 cells, and each below has 3: delete it if it is a title",),
    ),
    "titles": RealTable(
        b"Patients\nof all clinics\n" + table(PLAIN, separator=";"),
        (),
        ("the first 2 lines, 'Patients' …, have not the 3 cells of those below: delete titles",),
    ),
    "names above a short line": RealTable(
        b"a,b,y\n1.5,2.5\n" + b"1.5,2.5,no\n2.5,3.5,yes\n" * 10,
        (),
        ("1 line with another number of cells than the 3 of the first: line 2 (2)",),
    ),
    "a title above words alone": RealTable(
        b"Patients,,\n" + table({"a": among("x", "z"), "b": among("u", "v"), "y": YES_NO}),
        (),
        ("the first line is a title, 'Patients': delete it",),
    ),
    "words for missing cells alone": RealTable(
        table({"a": real, "grade": among("None"), "y": YES_NO}),
        (),
        ("'grade' is empty, where 'None' counts as missing: drop it",),
        {"drop": ["grade"]},
    ),
    "two encodings": RealTable(
        table({"town": among("Köln", "Bern"), "y": YES_NO})
        + table({"town": among("Köln", "Bern"), "y": YES_NO}, encoding="latin-1").partition(b"\n")[2],
        (),
        ("UTF-8 in line 2, and another encoding in line 62: save it in one",),
    ),
    "two encodings in each line": RealTable(
        table({"town": among("Köln", "Bern"), "land": among("???", "CH"), "y": YES_NO}).replace(
            b"???", b"\xd6"
        ),
        (),
        ("UTF-8 in line 2, and another encoding in line 2: save it in one",),
    ),
    "a quote behind a letter that begins others in UTF-8": RealTable(
        table({"time": among("«MANHÃ»", "«NOITE»"), "y": YES_NO}, encoding="cp1252"),
        ("time (2 categories)", "encoding cp1252"),
        first=("«MANHÃ»", "yes"),
    ),
    "numbers with letters as their unit": RealTable(
        table(
            {
                "kg": lambda d, i: f"{50 + i % 40}kg",
                "use": lambda d, i: f"{4 + i % 20 / 10} kmpl",
                "dose": among("5mg", "10mg"),
                "room": lambda d, i: f"{1 + i % 12}A",
                "y": YES_NO,
            }
        ),
        ("dose (2 categories), room (12 categories)",),
        (
            "2 faults",
            "'kg' holds numbers with a unit, such as '50kg' (line 2)",
            "'use' holds numbers with a unit, such as '4.0 kmpl' (line 2)",
        ),
        {"drop": ["kg", "use"]},
    ),
    "a blank in quotes in a single column": RealTable(
        table({"y": whole}).replace(b"\n67\n", b'\n""\n'), (), ("d.csv' has 59 samples of 0 features",)
    ),
    "the largest numbers": RealTable(
        table({"a": among("1.5e308", "-1.5e308", "0.5"), "y": YES_NO}),
        ("of 1 feature a",),
        first=(1.5e308, "yes"),
    ),
    "a title of a spreadsheet": RealTable(
        b"Patients,,\n,,\n" + table(PLAIN), (), ("the first line is a title, 'Patients': delete it",)
    ),
    "row names of R": RealTable(
        table({"age,height": lambda d, i: f"{i},{20 + i},{i}.5", "y": YES_NO}),
        (),
        ("has 3 cells, and each below has 4", "complete it if it names the columns"),
    ),
    "a page": RealTable(b"<!DOCTYPE html>\n<html>\n<p>1,2\n</html>\n", (), ("a page of HTML or XML",)),
    "JSON": RealTable(b'[{"a": 1, "y": 2},\n {"a": 2, "y": 3}]\n', (), ("JSON, no table",)),
    "a spreadsheet by name a table": RealTable(
        b"PK\x03\x04\x14\0",
        (),
        ("not a text file, but an Excel file or a ZIP archive: save the sheet as CSV",),
    ),
    "an empty column": RealTable(
        table({"a": real, "empty": lambda d, i: "", "y": YES_NO}),
        ("of 1 feature a",),
        ("'empty' is empty: drop it",),
        {"drop": ["empty"]},
    ),
    "few rows": RealTable(table(PLAIN, rows=6), ("6 samples",), options={"test_fraction": 0.34}),
    "many columns": RealTable(
        table({f"g{i}": real for i in range(300)} | {"y": YES_NO}), ("of 300 features g0, g1",)
    ),
    "imbalanced": RealTable(
        table({"a": real, "y": lambda d, i: "ill" if i in (4, 9, 30) else "well"}), ("2 classes 3 + 57",)
    ),
    "a wide target": RealTable(
        table({"a": real, "salary": lambda d, i: d.randrange(20_000, 90_000)}),
        ("target 'salary': real, 2",),
        ("60 different whole numbers as targets: set task: classification or task: regression",),
        {"task": "regression"},
    ),
    "codes of an area": RealTable(
        table({"zip": among("8001", "8002", "3000"), "a": real, "y": YES_NO}),
        ("zip (3 categories), a as 4 features",),
        first=(8001, 76.15, "yes"),
        options={"categories": ["zip"]},
    ),
}
