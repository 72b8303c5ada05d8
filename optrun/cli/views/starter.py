"""What `init` and `schema` write: a starter config, and the schema that editors read."""

import json
import shlex
import sys
from importlib.resources import files
from pathlib import Path

from optrun.config.model.json_schema import json_schema
from optrun.errors import ConfigError

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
    "sweep": ("optrun sweep {file} --dry-run", "optrun sweep {file}"),
}


def schema_text() -> str:
    """Return the schema of configs as it is written to a file."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=1) + "\n"


def written(path: Path, text: str, *, mode: str = "w") -> None:
    """Write a text file; ConfigError, with the reason, where that cannot be."""
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path}: exists already: name another, or replace it with --force") from None
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def start(file: Path, template: str, *, force: bool) -> None:
    """Write a starter config and its schema, and say what to type next."""
    name = shlex.quote(str(file))
    text = (files("optrun.config") / "templates" / f"{template}.yaml").read_text("utf-8")
    written(file, HEADER + text.replace("FILE", name), mode="w" if force else "x")
    schema = file.parent / SCHEMA_FILE
    written(schema, schema_text())
    print(file)
    print(f"{schema} lets an editor complete, explain and check it", file=sys.stderr)
    print("next: " + "\n      ".join(NEXT[template]).format(file=name), file=sys.stderr)
