"""What optrun and its peers take for the same work: `python -m tests.benchmarks [--write] [WORD …]`; no test.

Peers that are not installed are left out. `--write` puts the tables into `RESULTS.md` beside this file; words choose
those whose titles have one of them. `main_path` and `sweep`, commands of their own, measure from the YAML to the store.
"""

import argparse
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from tests.benchmarks import composition, engines, networks, problems, trajectories
from tests.benchmarks.tables import Table, has, machine, markdown

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="of a title")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} too, with all tables")
    given = parser.parse_args()
    if given.write and given.words:
        parser.error(f"{RESULTS.name} has all tables")
    sections = list(
        chain(
            engines.sections(),
            composition.sections(),
            problems.sections(),
            networks.sections(),
            trajectories.sections(),
        )
    )
    chosen: list[tuple[str, Callable[[], Table]]] = [
        section
        for section in sections
        if not given.words or any(word.lower() in section[0].lower() for word in given.words)
    ]
    for word in given.words:
        if not any(word.lower() in title.lower() for title, _ in sections):
            parser.error(f"no title has {word!r}: {'; '.join(title for title, _ in sections)}")
    if missing := [name for name in ("numba", "torch", "jax", "optax") if not has(name)]:
        print(f"Not installed, so left out: {', '.join(missing)}.\n", file=sys.stderr)
    texts = [f"# Measured\n\n{machine()} Made by `python -m tests.benchmarks --write`.\n"]
    print(machine(), end="\n\n", flush=True)
    for title, measured in chosen:
        texts.append(f"## {title}\n\n{markdown(measured())}\n")
        print(texts[-1], flush=True)
    if given.write:
        RESULTS.write_text("\n".join(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
