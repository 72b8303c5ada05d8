"""The manual on the command line: a list, the pages, and what a terminal shows."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.looking import call

__all__ = ["call"]

GUIDE = Path(__file__).parents[2] / "optrun" / "guide"
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in GUIDE.glob("*.md")}


def test_the_pages_are_listed_with_what_they_are_about(call):
    listed = call("guide")
    assert listed.code == 0
    assert listed.out.splitlines() == [f"{name:12}  {PAGES[name].splitlines()[2]}" for name in sorted(PAGES)]
    assert listed.err == "next: optrun guide PAGE\n"


def test_a_page_in_a_pipe_is_its_markdown(call):
    assert call("guide", "sweeps") == (0, PAGES["sweeps"], "")
    assert call("guide", "Sweeps").out == PAGES["sweeps"]


@pytest.mark.parametrize(
    ("page", "hint"),
    [("swepes", " Did you mean 'sweeps'?"), ("zzz", f" There are: {', '.join(sorted(PAGES))}.")],
)
def test_a_page_that_is_not_there_is_refused_with_those_that_are(call, page, hint):
    assert call("guide", page) == (2, "", f"the guide has no page {page!r}.{hint}\n")


@pytest.mark.full
def test_a_terminal_shows_a_page_as_wide_as_it_is_read_easily_in_the_pager():
    shown = {columns: on_terminal(columns, PAGER="cat") for columns in (60, 80, 200)}
    for columns, text in shown.items():
        lines = re.sub(r"\x1b(\[[0-9;]*m|\]8;.*?\x1b\\\\)", "", text).splitlines()
        assert 0.9 * min(columns, 100) < max(map(len, lines)) <= min(columns, 100)
        assert "Which update rules" in text
        assert "```" not in text
    assert on_terminal(80, PAGER="wc -l").strip().isdigit()
    assert "\x1b[" not in on_terminal(80, PAGER="cat", NO_COLOR="1", TERM="dumb")


def on_terminal(columns: int, **variables: str) -> str:
    """Return what `optrun guide optimizers` writes to a terminal of so many columns."""
    here, there = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **variables}
    command = [sys.executable, "-m", "optrun", "guide", "optimizers"]
    child = subprocess.Popen(command, stdin=there, stdout=there, stderr=there, env=environment)
    os.close(there)
    written = b""
    try:
        while part := os.read(here, 1 << 16):
            written += part
    except OSError:  # Linux says so that the other end is closed
        pass
    assert child.wait() == 0
    os.close(here)
    return written.decode().replace("\r\n", "\n")
