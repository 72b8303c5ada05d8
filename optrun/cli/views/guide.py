"""The pages of the manual on a terminal."""

import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from optrun.errors import UnknownNameError, did_you_mean, fold

WIDEST = 100
"""Columns of prose: longer lines are hard to read."""


@cache
def pages() -> Mapping[str, str]:
    """Return the pages by name: Markdown, a title on the first line and what it is about on the third."""
    found = (files("optrun") / "guide").iterdir()
    texts = {
        each.name.removesuffix(".md"): each.read_text("utf-8") for each in found if each.name.endswith(".md")
    }
    return dict(sorted(texts.items()))


def print_pages() -> None:
    """Print each page's name with what it is about."""
    width = max(map(len, pages()))
    for name, text in pages().items():
        print(f"{name:{width}}  {text.splitlines()[2]}")
    print("next: optrun guide PAGE", file=sys.stderr)


def print_page(name: str) -> None:
    """Show a page in the pager of a terminal; elsewhere print its Markdown.

    Raises UnknownNameError with the nearest page.
    """
    text = {fold(each): text for each, text in pages().items()}.get(fold(name))
    if text is None:
        hint = did_you_mean(name, pages()) or f" There are: {', '.join(pages())}."
        raise UnknownNameError(f"the guide has no page {name!r}.{hint}")
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    os.environ.setdefault("LESS", "FRX")  # as git does: colours, and no pager for what fits the screen
    with console.pager(styles=True):
        console.print(Markdown(text, code_theme="ansi_dark"), width=min(console.width, WIDEST))
