"""The house: imports go down only, and only the rooms that may know a library know it."""

import ast
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

import optrun

PACKAGE = Path(optrun.__file__).parent
FLOORS = [
    "cli",
    "api",
    "plots",
    "analysis",
    "diagnostics",
    "selftest",
    "sweeps",
    "training",
    "config",
    "problems",
    "schedulers",
    "foreign",
    "optim",
    "store",
    "ops",
    "kernels",
    "plugins",
    "hyperparameters",
    "intervals",
    "arithmetic",
    "arrays",
    "registry",
    "checks",
    "plugin_code",
    "sources",
    "errors",
    "regular_files",
    "forks",
    "frames",
    "fallbacks",
]
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(file):
    """Yield every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_go_down_only():
    upward = [
        f"{file.relative_to(PACKAGE)} imports {module}"
        for file in FILES
        if not room(file).startswith("__")
        for module in imports(file)
        if module.startswith("optrun.")
        and module.split(".")[1] in FLOORS
        and FLOORS.index(module.split(".")[1]) < FLOORS.index(room(file))
    ]
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize("room_name", ["optim", "schedulers", "problems"])
def test_optimizers_schedulers_and_problems_do_not_know_each_other(room_name):
    others = {"optim", "schedulers", "problems"} - {room_name}
    for file in FILES:
        if room(file) == room_name:
            assert (
                not {module.split(".")[1] for module in imports(file) if module.startswith("optrun.")}
                & others
            )


@pytest.mark.full
def test_only_arrays_and_kernels_know_the_devices():
    for file in FILES:
        known = {module.split(".")[0] for module in imports(file)} & {"cupy", "numba"}
        assert not known or room(file) in ("arrays", "kernels"), file


@pytest.mark.full
def test_only_cli_and_plots_print():
    for file in FILES:
        if room(file) in ("cli", "plots"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Name) and node.id == "print"), file


@pytest.mark.full
def test_nothing_is_pickled_and_only_the_engines_compile():
    for file in FILES:
        assert not {"pickle", "shelve", "marshal"} & {module.split(".")[0] for module in imports(file)}, file
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name) and node.id in ("exec", "eval"):
                assert file.name in ("numpy_engine.py", "machine_code.py"), file


@pytest.mark.full
@pytest.mark.parametrize("command", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_neither_numpy_nor_pydantic_models(command):
    code = (
        "import sys; from optrun.cli.app import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'optrun.config', 'optrun.optim', 'yaml'} & set(sys.modules), 'too much is imported'"
    )
    subprocess.run([sys.executable, "-c", code, *command], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.full
def test_a_worker_process_imports_no_command_line():
    code = (
        "import sys; from importlib import import_module; from runpy import run_module\n"
        "run_module('optrun.__main__', run_name='__mp_main__')\n"
        "import_module('optrun.sweeps.workers.worker_process')\n"
        "assert not {'typer', 'rich', 'optrun.cli'} & set(sys.modules), 'too much is imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_public_name_hides_a_module():
    """As the function `sweep` would hide a package of its name, of which nothing could be imported."""
    for name in optrun.__all__:
        if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file():
            assert getattr(optrun, name) is import_module(f"optrun.{name}")


def test_no_two_public_classes_share_a_name():
    names = Counter(
        node.name
        for file in FILES
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
