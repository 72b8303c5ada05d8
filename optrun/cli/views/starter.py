"""What `init` and `schema` write: a starter config, and the schema that editors read."""

import json
import re
import shlex
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from optrun.config.model.json_schema import json_schema
from optrun.errors import ConfigError
from optrun.plugins import load_plugins

SCHEMA_FILE = ".optrun-schema.json"

# The first is read by the YAML plug-ins of VS Code, Vim and Emacs, the second by JetBrains; relative to the file,
# both work without a network.
HEADER = f"# yaml-language-server: $schema={SCHEMA_FILE}\n# $schema: {SCHEMA_FILE}\n"

NEXT = {
    "smoke": ("optrun run {file}",),
    "train": ("optrun run {file}", "optrun run {file} optimizer.lr=1e-2"),
    "compare": (
        "optrun run {file}",
        "optrun run {file} name=adam optimizer=Adam optimizer.lr=1e-2",
    ),
    "function": ("optrun run {file}", "optrun sweep {file} problem.parameters.a=1,10,100"),
    "sweep": ("optrun sweep {file} --dry-run", "optrun sweep {file}"),
    "optimizer": (
        "optrun run {file} --plugin {plugin}",
        "optrun smoke --optimizer MyOptimizer --plugin {plugin}",
    ),
    "problem": ("optrun run {file} --plugin {plugin}", "optrun smoke --problem my_problem --plugin {plugin}"),
    "scheduler": (
        "optrun run {file} --plugin {plugin}",
        "optrun smoke --scheduler MyScheduler --plugin {plugin}",
    ),
}
PLUGINS = ("optimizer", "problem", "scheduler")
"""The templates that are a plugin, and a config that uses it."""


def schema_text() -> str:
    """Return the schema of configs as it is written to a file."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=1) + "\n"


def written(path: Path, text: str, *, mode: str = "w") -> None:
    """Write a text file; ConfigError, with the reason, where that cannot be."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def start(file: Path | None, template: str, *, force: bool) -> None:
    """Write a starter config, its schema and, where it is for one, a plugin; say what to type next.

    Raises ConfigError where a file cannot be written or, unless ``force``, is there already.
    """
    is_plugin = template in PLUGINS
    file = file or Path(f"my_{template}.yaml" if is_plugin else "optrun.yaml")
    plugin = file.with_suffix(".py")
    file = file.with_suffix(".yaml") if is_plugin and file == plugin else file
    if file.suffix == ".py":
        raise ConfigError(f"{file}: a config is YAML; for a plugin: --template {', '.join(sorted(PLUGINS))}")
    if is_plugin and plugin.name == "optrun.py":
        raise ConfigError(f"{plugin}: Python would take it for optrun itself: name another file")
    if is_plugin and plugin.exists() and not force:
        raise _exists(plugin)
    names = {"file": shlex.quote(str(file)), "plugin": shlex.quote(str(plugin))}
    mode = "w" if force else "x"
    written(file, HEADER + _filled(template, ".yaml", names), mode=mode)
    print(file)
    if is_plugin:
        written(plugin, _filled(template, ".py", names), mode=mode)
        print(plugin)
        load_plugins([str(plugin)])  # the schema knows its names
    schema = file.parent / SCHEMA_FILE
    written(schema, schema_text())
    print(f"{schema} lets an editor complete, explain and check it", file=sys.stderr)
    print("next: " + "\n      ".join(NEXT[template]).format(**names), file=sys.stderr)


def _filled(template: str, suffix: str, names: Mapping[str, str]) -> str:
    """Return a template with the names of the files in the commands that it mentions."""
    text = (files("optrun.config") / "templates" / f"{template}{suffix}").read_text("utf-8")
    if suffix == ".py" and {'"', "\\"} & set("".join(names.values())):
        return text  # they would end the docstring
    return re.sub(r"\b(FILE|PLUGIN)\b", lambda word: names[word[0].lower()], text)


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path}: exists already: name another, or replace it with --force")
