"""Tables as programs export them, beside the data frames that they are of."""

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

pandas = pytest.importorskip("pandas")
datasets = pytest.importorskip("sklearn.datasets")


@dataclass(frozen=True)
class Exported:
    """A file; what its error says, if it is refused, and the options that mend it."""

    frame: Any
    """What is to be learned from: the features, then the target; a missing cell is NaN."""
    content: bytes
    suffix: str = ".csv"
    options: dict[str, Any] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()
    mended: dict[str, Any] = field(default_factory=dict)
    groups: Any = None
    """A number for each row: where it is equal, rows stay in one part."""


def _csv(frame: Any, *, encoding: str = "utf-8", **options: Any) -> bytes:
    return bytes(frame.to_csv(**{"index": False, **options}).encode(encoding))


def _people(rows: int = 240, seed: int = 0) -> tuple[Any, Any, np.random.Generator]:
    """Return features, a score that they explain but for noise, and a generator for more."""
    draw = np.random.default_rng(seed)
    frame = pandas.DataFrame(
        {
            "age": draw.integers(18, 90, rows),
            "income": draw.normal(3000, 800, rows).round(2),
            "city": draw.choice(["Bern", "Oslo", "Rome"], rows),
            "height": draw.normal(170, 9, rows).round(1),
        }
    )
    score = (frame["age"] - 54) / 20 + (frame["income"] - 3000) / 800 + 1.5 * (frame["city"] == "Oslo") - 0.5
    return frame, score + draw.normal(0, 0.6, rows), draw


def _classes(frame: Any, score: Any, yes: str = "yes", no: str = "no") -> Any:
    return frame.assign(outcome=np.where(score > 0, yes, no))


def _prices(frame: Any, score: Any, unit: float = 1.0) -> Any:
    return frame.assign(price=(2_500_000 + 400_000 * score).div(unit).round(2))


def _iris() -> Exported:
    data = datasets.load_iris(as_frame=True)
    frame = data.frame.drop(columns="target").assign(kind=data.target_names[data.target])
    return Exported(frame, _csv(frame))


def _wine_of_a_spreadsheet() -> Exported:
    frame = datasets.load_wine(as_frame=True).frame
    content = _csv(frame, sep=";", decimal=",", lineterminator="\r\n")
    return Exported(frame, b"\xef\xbb\xbfsep=;\r\n" + content)


def _breast_cancer_packed() -> Exported:
    frame = datasets.load_breast_cancer(as_frame=True).frame
    return Exported(frame, gzip.compress(_csv(frame, sep="\t")), ".tsv.gz")


def _diabetes() -> Exported:
    frame = datasets.load_diabetes(as_frame=True).frame.astype({"target": int})
    wrong = ("different whole numbers as targets: set task: classification or task: regression",)
    return Exported(frame, _csv(frame), wrong=wrong, mended={"task": "regression"})


def _index_of_a_shuffled_frame() -> Exported:
    frame = _classes(*_people(seed=1)[:2]).sample(frac=0.9, random_state=0)
    return Exported(frame, _csv(frame, index=True))


def _latin() -> Exported:
    frame, score, _ = _people(seed=2)
    frame["größe"] = frame.pop("height")
    frame["city"] = frame["city"].replace("Rome", "Zürich")
    frame = _classes(frame, score, "schön", "nicht schön")
    return Exported(frame, _csv(frame, encoding="latin-1"))


def _without(frame: Any, column: str, share: float, draw: np.random.Generator) -> None:
    frame[column] = frame[column].astype(object if frame[column].dtype.kind not in "fi" else float)
    frame.loc[draw.random(len(frame)) < share, column] = np.nan


def _missing_cells() -> Exported:
    frame, score, draw = _people(seed=3)
    for column in ("age", "city", "height"):
        _without(frame, column, 0.1, draw)
    frame = _classes(frame, score)
    wrong = ("3 faults", "'age' lacks", "'city' lacks", "'height' lacks", "missing: median")
    return Exported(frame, _csv(frame, na_rep="n/a"), wrong=wrong, mended={"missing": "median"})


def _missing_cells_marked() -> Exported:
    frame, score, draw = _people(seed=4)
    _without(frame, "income", 0.2, draw)
    frame = _prices(frame, score)
    wrong = ("'income' lacks", "indicator")
    return Exported(frame, _csv(frame, na_rep="?"), wrong=wrong, mended={"missing": "indicator"})


def _uci() -> Exported:
    frame, score, draw = _people(seed=5)
    _without(frame, "city", 0.1, draw)
    frame = _classes(frame, score, ">50K", "<=50K")
    content = _csv(frame, na_rep="?", header=False).replace(b",", b", ")
    return Exported(
        frame.dropna(),
        content,
        ".data",
        wrong=("column 3 lacks",),
        mended={"missing": "drop", "header": False},
    )


def _of_r() -> Exported:
    frame, score, draw = _people(seed=6)
    frame["member"] = draw.choice(["TRUE", "FALSE"], len(frame))
    _without(frame, "age", 0.1, draw)
    frame = _classes(frame, score)
    content = _csv(frame, na_rep="NA").replace(b"Oslo", b'"Oslo"').replace(b"age,income", b'"age","income"')
    return Exported(frame, content, wrong=("'age' lacks",), mended={"missing": "mode"})


def _imbalanced() -> Exported:
    frame, score, _ = _people(400, seed=7)
    frame = _classes(frame, score - 2.6)
    return Exported(frame, _csv(frame))


def _few_rows() -> Exported:
    frame = _classes(*_people(36, seed=8)[:2])
    return Exported(frame, _csv(frame))


def _many_columns() -> Exported:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(120, 150)).round(3)
    frame = pandas.DataFrame(values, columns=[f"gene {i}" for i in range(150)])
    frame["ill"] = (values[:, :5].sum(axis=1) > 0).astype(int)
    return Exported(frame, _csv(frame))


def _thousands_in_quotes() -> Exported:
    frame, score, _ = _people(seed=9)
    frame = _prices(frame, score).astype({"price": int})
    shown = frame.assign(price=[f"{price:,}" for price in frame["price"]])
    return Exported(frame, _csv(shown), options={"task": "regression"})


def _german_thousands() -> Exported:
    frame, score, _ = _people(seed=10)
    frame = _prices(frame, score, 100)
    shown = frame.assign(
        price=[f"{price:,.2f}".translate(str.maketrans(",.", ".,")) for price in frame["price"]]
    )
    return Exported(frame, _csv(shown, sep=";", decimal=",", encoding="cp1252"))


def _dates() -> Exported:
    frame = _classes(*_people(seed=11)[:2])
    days = pandas.date_range("2023-05-01", periods=len(frame)).strftime("%d.%m.%Y")
    shown = frame.copy()
    shown.insert(0, "seen", days)
    wrong = ("'seen' holds dates or times, such as '01.05.2023' (line 2): drop it",)
    return Exported(frame, _csv(shown), wrong=wrong, mended={"drop": ["seen"]})


def _identifiers_and_texts() -> Exported:
    frame = _prices(*_people(seed=12)[:2])
    shown = frame.copy()
    shown.insert(0, "id", [f"P{i:05}" for i in range(len(frame))])
    shown.insert(2, "note", [f"a house, the {i}th" for i in range(len(frame))])
    wrong = ("2 faults", "'id' holds 240 different words", "'note' holds 240", "drop it")
    return Exported(frame, _csv(shown), wrong=wrong, mended={"drop": ["id", "note"]})


def _rows_of_patients() -> Exported:
    frame = _classes(*_people(300, seed=13)[:2])
    groups = np.random.default_rng(1).integers(1000, 1060, len(frame))
    shown = frame.copy()
    shown.insert(0, "patient", groups)
    return Exported(frame, _csv(shown), options={"group": "patient"}, groups=groups)


def _years_as_names() -> Exported:
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame(draw.integers(100, 999, (200, 3)), columns=["2019", "2020", "2021"])
    frame["2022"] = (frame["2019"] + draw.normal(0, 150, 200) > frame["2021"]).astype(int)
    wrong = ("are 2019, 2020, 2021, 2022 the names of columns, or a sample?",)
    return Exported(frame, _csv(frame), wrong=wrong, mended={"header": True})


def _no_header() -> Exported:
    frame = _classes(*_people(seed=14)[:2])
    shown = frame[["outcome", *frame.columns[:-1]]]
    return Exported(frame, _csv(shown, header=False, sep="|"), ".txt", options={"target": 0, "header": False})


def _parquet() -> Exported:
    pytest.importorskip("pyarrow")
    frame, score, draw = _people(seed=15)
    frame["new"] = draw.random(len(frame)) < 0.5
    frame = _classes(frame, score)
    stream = io.BytesIO()
    frame.astype({"city": "category", "age": "Int64"}).to_parquet(stream)
    return Exported(frame.astype({"new": str}), stream.getvalue(), ".parquet")


def _separators_and_lines_in_cells() -> Exported:
    frame, score, _ = _people(seed=16)
    frame["city"] = frame["city"].replace({"Bern": "Bern, CH", "Oslo": 'Oslo\n"on the fjord"'})
    frame = _prices(frame.rename(columns={"height": "height, cm"}), score)
    return Exported(frame, _csv(frame))


def _constant_and_empty_columns() -> Exported:
    frame, score, _ = _people(seed=17)
    frame.insert(0, "country", 41)
    frame = _classes(frame, score)
    shown = frame.copy()
    shown.insert(2, "comment", "")
    return Exported(frame, _csv(shown), wrong=("'comment' is empty: drop it",), mended={"drop": ["comment"]})


def _utf16_of_a_spreadsheet() -> Exported:
    frame = _classes(*_people(seed=18)[:2], "да", "нет")
    return Exported(frame, _csv(frame, sep="\t", encoding="utf-16"), ".txt")


def _codes_of_areas() -> Exported:
    frame, score, draw = _people(seed=19)
    frame.insert(1, "zip", draw.choice(["01067", "1067", "8001"], len(frame)))
    frame = _classes(frame, score + 2 * (frame["zip"] == "01067") - 1)
    return Exported(frame, _csv(frame), options={"categories": ["auto", "zip"]})


EXPORTED: dict[str, Callable[[], Exported]] = {
    make.__name__.strip("_").replace("_", " "): make
    for make in (
        _iris,
        _wine_of_a_spreadsheet,
        _breast_cancer_packed,
        _diabetes,
        _missing_cells,
        _german_thousands,
        _index_of_a_shuffled_frame,
        _latin,
        _missing_cells_marked,
        _uci,
        _of_r,
        _imbalanced,
        _few_rows,
        _many_columns,
        _thousands_in_quotes,
        _dates,
        _identifiers_and_texts,
        _rows_of_patients,
        _years_as_names,
        _no_header,
        _parquet,
        _separators_and_lines_in_cells,
        _constant_and_empty_columns,
        _utf16_of_a_spreadsheet,
        _codes_of_areas,
    )
}
"""What makes each table."""
