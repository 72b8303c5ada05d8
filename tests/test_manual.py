"""The manual is true: every command, config and Python block of the README and of the guide is run.

A page is one session in a folder that has `configs/`. Its blocks are taken in their order:

    yaml, python    that begin with a comment of one file name (`# mysign.py`) are written to that file
    yaml            otherwise is a config that is valid
    python          otherwise is a program that ends well; a text block right behind it is what it prints
    sh              each line that begins with `optrun ` ends with exit code 0
    text            that begins with `$ optrun …` shows commands and what they print
    py              is a program for another machine, such as a cluster: it is only compiled

In what is shown, `…` stands for anything.
"""

import ast
import importlib.util
import inspect
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from optrun import ops
from optrun.cli.app import app
from tests.forked import python

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "optrun" / "guide"
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"# ([\w.-]+\.(?:yaml|py|csv))\n")
NEEDS = {
    "optrun plot": "matplotlib",
    "optrun map": "matplotlib",
    "rates.png": "matplotlib",
    "optrun report": "plotly",
    "optrun.foreign": "torch",
    "optax:": "optax",
    "=sobol": "scipy",
    "=optuna": "optuna",
    "--executor dask": "distributed",
    ".parquet": "pyarrow",
    ".xlsx": "openpyxl",
    ".safetensors": "safetensors",
    "--to tensorboard": "tensorboardX",
    "--to mlflow": "mlflow",
}
"""The package that a command needs which has this in it."""
each_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


class Session:
    """What someone types who follows a page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "configs").symlink_to(ROOT / "configs")

    def run(self, *command: str) -> tuple[int, str]:
        """Return the exit code and all that is printed, in its order."""
        done = python(*command, merged=True, PYTHONUNBUFFERED="1", PYTHONPATH=str(ROOT), COLUMNS="100")
        return done.returncode, "\n".join(map(str.rstrip, done.stdout.splitlines()))

    def optrun(self, line: str) -> tuple[int, str]:
        """Run a command line."""
        return self.run("-m", "optrun", *shlex.split(line, comments=True)[1:])

    def transcript(self, text: str) -> None:
        """Run commands that are shown with what they print."""
        for shown in re.split(r"^\$ ", text, flags=re.M)[1:]:
            command, _, expected = shown.partition("\n")
            if is_possible(command):
                assert_like(self.optrun(command)[1], expected, command)


def is_possible(command: str) -> bool:
    return all(importlib.util.find_spec(name) for part, name in NEEDS.items() if part in command)


def assert_like(printed: str, expected: str, command: str) -> None:
    pattern = ".*?".join(map(re.escape, expected.strip().split("…")))
    assert re.fullmatch(pattern, printed.strip(), re.S), (
        f"{command}\n\n{printed}\n\nin place of\n\n{expected}"
    )


@pytest.mark.full
@each_page
def test_a_page_tells_the_truth(page: Path, tmp_path: Path) -> None:
    session = Session(tmp_path)
    before, printed = "", ""
    for language, text in BLOCK.findall(text_of(page)):
        name = FILE.match(text)
        if name and language in ("yaml", "python"):
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        elif language == "yaml":
            (tmp_path / "block.yaml").write_text(text, encoding="utf-8")
            code, printed = session.optrun("optrun validate block.yaml")
            assert code == 0, f"{text}\n{printed}"
        elif language == "python":
            (tmp_path / "block.py").write_text(text, encoding="utf-8")
            code, printed = session.run("block.py")
            assert code == 0, f"{text}\n{printed}"
        elif language == "sh":
            for command in re.findall(r"^optrun .*", text.replace("\\\n", ""), re.M):
                if is_possible(command):
                    code, printed = session.optrun(command)
                    assert code == 0, f"{command}\n{printed}"
        elif text.startswith("$ optrun"):
            session.transcript(text)
        elif language == "text" and before == "python":
            assert_like(printed, text, "what Python prints")
        before = language


@each_page
def test_a_page_is_well_formed(page: Path) -> None:
    text = text_of(page)
    title, summary = text.split("\n")[:3:2]
    assert title.startswith("# ")
    assert summary.endswith((".", "a"))
    assert text.count("\n```") == 2 * len(re.findall(r"^```.*?^```$", text, re.M | re.S))
    for language, block in BLOCK.findall(text):
        assert language in ("sh", "yaml", "python", "py", "text")
        too_long = [line for line in block.splitlines() if len(line) > 78 and language != "text"]
        assert too_long == [line for line in too_long if "venv" in line], "a terminal of 80 columns breaks it"
        if language in ("python", "py"):
            ast.parse(block)
    outside = BLOCK.sub("", text)
    for target in re.findall(r"\]\(([^)]+)\)", outside):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_readme_is_a_front_page_that_leads_to_every_page() -> None:
    readme = text_of(PAGES[0])
    assert len(readme.splitlines()) <= 150
    for page in PAGES[1:]:
        assert f"](optrun/guide/{page.name})" in readme, page


def helps() -> list[tuple[str, str]]:
    commands = get_command(app).commands
    return [(name, command.help or "") for name, command in commands.items()]


@pytest.mark.parametrize(("name", "text"), helps())
def test_every_help_has_an_example_of_its_command(name: str, text: str) -> None:
    assert re.search(rf"Examples?: optrun {name}\b", text)


def test_every_command_is_in_the_guide() -> None:
    for name, _ in helps():
        assert re.search(rf"`(optrun )?{name}\b", text_of(GUIDE / "commands.md")), name


def test_every_word_of_rules_is_in_the_guide() -> None:
    words = [
        name for name, each in inspect.getmembers(ops, inspect.isfunction) if each.__module__ == ops.__name__
    ]
    for name in words:
        assert name.startswith("_") or f"| `{name}(" in text_of(GUIDE / "plugins.md"), name
