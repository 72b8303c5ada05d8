"""How soon the report of 10,000 runs is there: `python -m tests.benchmarks.report`; nothing here is a test."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optrun
from tests.plots.browser import BROWSER, TEN_THOUSAND, open_page

TIMES = 5


def main() -> None:
    """Print the size of the page, and how long it takes to write and to open."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved = optrun.sweep(TEN_THOUSAND, directory=folder / "sweep")
        page, blank = folder / "page.html", folder / "blank.html"
        blank.write_text("<!DOCTYPE html><title>blank</title>", encoding="utf-8")
        written, _ = seconds(lambda: optrun.report(saved.path, path=page))
        print(f"{len(saved.states):,} runs: {page.stat().st_size / 1e6:.1f} MB, written in {written:.1f} s")
        if BROWSER is None:
            print("no browser to open it in")
            return
        (start, start_cpu), (opened, opened_cpu) = (
            seconds(lambda each=each: open_page(each, folder)) for each in (blank, page)
        )
        print(f"opened, with the charts near the window, in {opened - start:.2f} s of the clock")
        print(
            f"and {opened_cpu - start_cpu:.2f} s of all cores; without the start of the browser, {start:.2f} s"
        )


def seconds(measured: Callable[[], object]) -> tuple[float, float]:
    """Return medians of several times, by the clock and of all cores of the processes that are started."""
    times = []
    for _ in range(TIMES):
        start, before = time.perf_counter(), os.times()
        measured()
        after = os.times()
        cores = sum(after[2:4]) - sum(before[2:4])
        times.append((time.perf_counter() - start, cores))
    clock, cores = (statistics.median(each) for each in zip(*times, strict=True))
    return clock, cores


if __name__ == "__main__":
    main()
