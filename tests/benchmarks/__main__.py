"""What optrun and its peers take for the same work: `python -m tests.benchmarks [--write] [WORD …]`; no test.

Peers that are not installed are left out. `--write` puts the tables into `RESULTS.md` beside this file; words choose
those whose titles have one of them. `main_path` and `sweep`, commands of their own, measure from the YAML to the store.
"""

import argparse
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from tests.benchmarks import engines, problems, widths
from tests.benchmarks.tables import Table, machine, markdown

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="of a title")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} too, with all tables")
    given = parser.parse_args()
    if given.write and given.words:
        parser.error(f"{RESULTS.name} has all tables")
    sections = chain(engines.sections(), problems.sections(), widths.sections())
    chosen: list[tuple[str, Callable[[], Table]]] = [
        section
        for section in sections
        if not given.words or any(word.lower() in section[0].lower() for word in given.words)
    ]
    if not chosen:
        parser.error("no title has such a word")
    texts = [f"# Measured\n\n{machine()} Made by `python -m tests.benchmarks --write`.\n"]
    print(texts[0], flush=True)
    for title, measured in chosen:
        texts.append(f"## {title}\n\n{markdown(measured())}\n")
        print(texts[-1], flush=True)
    if given.write:
        RESULTS.write_text("\n".join(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
