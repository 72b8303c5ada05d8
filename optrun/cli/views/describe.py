"""`list` and `show NAME`: registered names, and the options of one."""

import inspect
import json as json_module
from pathlib import Path
from textwrap import fill
from typing import Any, get_args, get_origin

from rich.table import Table
from rich.text import Text

from optrun.cli.text.console import WIDTH, console, emit, suggest
from optrun.errors import UnknownNameError, did_you_mean, fold
from optrun.registry import REGISTRIES, TRANSFORMS, Option, Registry, methods, metrics, prediction_metrics


def print_list(kind: str | None, *, json: bool) -> None:
    """Print the names of one kind or of all, with their summaries; UnknownNameError for an unknown kind."""
    tables = _tables()
    if kind is not None and kind not in tables:
        raise UnknownNameError(
            f"there are no {kind!r}: list {', '.join(tables)}.{did_you_mean(kind, tables)}"
        )
    chosen = {kind: tables[kind]} if kind else tables
    if json:
        print(json_module.dumps(chosen, ensure_ascii=False))
        return
    width = max(len(name) for table in chosen.values() for name in table)
    for index, (title, table) in enumerate(chosen.items()):
        emit(Text(("\n" if index else "") + title, "bold"))
        made = Table.grid(padding=(0, 2, 0, 0))
        made.add_column(width=2)
        made.add_column(width=width, no_wrap=True, style="cyan")
        made.add_column(overflow="fold")
        for name, text in table.items():
            made.add_row("", Text(name), Text(text))
        emit(made)
    suggest("show NAME")


def names() -> list[str]:
    """Return all names that `show` can describe."""
    return [name for table in _tables().values() for name in table]


def is_name(text: str) -> bool:
    """Whether `show` can describe this name."""
    return fold(text) in {fold(name) for name in names()} or any(text in each for each in REGISTRIES)


def print_description(name: str, *, json: bool) -> None:
    """Print the docstring and the options of a name, with YAML to paste; UnknownNameError if it is unknown."""
    registry = next((each for each in REGISTRIES if each is not metrics and name in each), None)
    if registry is prediction_metrics:
        _print_prediction_metric(registry.find(name), registry.spelled(name), json=json)
        return
    if registry is not None:
        _print_class(registry, name, json=json)
        return
    from optrun.problems.data import DATASETS, GENERATORS
    from optrun.registry import options_of

    stubs = {"dataset": "problem:\n  name: mlp\n  data: {}", "metric": "record:\n  metrics: [{}]"}
    for kind, table in (("dataset", DATASETS), ("metric", _metrics())):
        for known, text in table.items():
            if fold(known) == fold(name):
                make = GENERATORS.get(known) if kind == "dataset" else None
                options = list(options_of(make).values()) if make else []
                if json:
                    document: dict[str, Any] = {"name": known, "kind": kind, "doc": text}
                    document |= {"options": _documented(options)} if make else {}
                    print(json_module.dumps(document, default=str, ensure_ascii=False))
                    return
                _print_heading(known, kind)
                print(f"\n{_wrapped(text)}\n")
                if options:
                    emit(_option_table(options))
                    print()
                given = f"{known}({options[0].name}={options[0].default})" if options else known
                print(stubs[kind].format(given))
                return
    raise UnknownNameError(f"nothing is called {name!r}.{did_you_mean(name, names())}")


def _tables() -> dict[str, dict[str, str]]:
    from optrun.problems.data import DATASETS

    tables: dict[str, dict[str, str]] = {}
    for registry in REGISTRIES:
        if registry not in (metrics, prediction_metrics):
            # Transforms of the gradient and of the update are one table.
            kind = f"{registry.kind.partition(' ')[0]}: " if registry.kind.endswith(" transform") else ""
            described = {each: kind + _first_sentence(registry.find(each)) for each in registry}
            tables[registry.plural] = tables.get(registry.plural, {}) | described
    return {
        **tables,
        "datasets": dict(DATASETS),
        "metrics": _metrics(),
    }


def _metrics() -> dict[str, str]:
    from optrun.config.model.run import ALWAYS

    return ALWAYS | {
        name: _first_sentence(registry.find(name))
        for registry in (metrics, prediction_metrics)
        for name in registry.in_order()
    }


def _print_prediction_metric(cls: Any, name: str, *, json: bool) -> None:
    figures = [f"{part}_{name}" for part in ("train", "val", "test")]
    if json:
        document = {
            "name": name,
            "kind": prediction_metrics.kind,
            "doc": _doc(cls),
            "file": _place(cls),
            "goal": cls.goal,
            "task": cls.task,
            "figures": figures,
        }
        print(json_module.dumps(document, ensure_ascii=False))
        return
    _print_heading(name, prediction_metrics.kind)
    print(f"\n{_wrapped(_doc(cls))}\n" if _doc(cls) else "")
    better = "Higher" if cls.goal == "maximize" else "Lower"
    print(f"{better} is better. Of a {cls.task}: {', '.join(figures)}.")
    print(f"\nDefined in {_place(cls)}\n\nevaluate:\n  metrics: [{name}]")


def _print_class(registry: Registry[Any], name: str, *, json: bool) -> None:
    cls = registry.find(name)
    official = registry.spelled(name)
    options: list[Option] = list(cls.options().values())
    if json:
        document: dict[str, Any] = {
            "name": official,
            "kind": registry.kind,
            "doc": _doc(cls),
            "file": _place(cls),
            "options": _documented(options),
        }
        for known in ("search_space", "passes"):
            if value := getattr(cls, known, None):
                document[known] = value
        if start := _usual_start(cls):
            document["usual_start"] = start
        print(json_module.dumps(document, default=str, ensure_ascii=False))
        return
    _print_heading(official, registry.kind)
    print(f"\n{_wrapped(_doc(cls))}\n" if _doc(cls) else "")
    if options:
        emit(_option_table(options))
    if space := getattr(cls, "search_space", None):
        axes = [(name, *next(iter(axis.items()))) for name, axis in space.items()]
        drawn = ", ".join(f"{name} {kind} {ends[0]:g} … {ends[1]:g}" for name, kind, ends in axes)
        print(f"\nSearch space: {drawn}")
    if start := _usual_start(cls):
        print(f"\nUsual start: ({', '.join(f'{each:.6g}' for each in start)})")
    if passes := getattr(cls, "passes", None):
        print(f"\nA run has passed, and the figure passed is 1, if its final_loss is at most {passes:g}.")
    print(f"\nDefined in {_place(cls)}\n")
    indent = "  "
    listed = next((key for key, known in TRANSFORMS.items() if known is registry), "")
    if registry is methods:
        print(f"sweep:\n  method: {official}" + (f"\n  {official}:" if options else ""))
        indent = "    "
    elif listed:
        print(f"optimizer:\n  name: SGD\n  {listed}:\n  - name: {official}")
        indent = "    "
    else:
        print(f"{registry.kind}:\n  name: {official}")
    for option in options:
        required = f"…  # required: {' '.join([_type(option.type), _bounds(option)]).strip()}"
        given = required if option.required else _yaml(option.default)
        print(f"{indent}{option.name}: {given}")


def _usual_start(cls: Any) -> list[float]:
    """Return where runs of a function start by default, with its usual number of dimensions; empty if there is none."""
    options = cls.options()
    if not hasattr(cls, "usual_start") or options["start"].required:
        return []
    start: list[float] = cls.usual_start(options["dim"].default if "dim" in options else cls.dim).tolist()
    return start


def _documented(options: list[Option]) -> dict[str, dict[str, Any]]:
    """Return the options as plain values for JSON."""
    return {
        option.name: {
            "type": _type(option.type),
            "bounds": _bounds(option),
            "default": None if option.required else option.default,
            "required": option.required,
            "help": option.help,
        }
        for option in options
    }


def _print_heading(name: str, kind: str) -> None:
    emit(Text.assemble((name, "bold"), f" ({kind})"))


def _option_table(options: list[Option]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("option", "type", "bounds", "default"):
        made.add_column(title, no_wrap=title != "type", style="cyan" if title == "option" else "")
    if any(option.help for option in options):
        made.add_column("", overflow="fold")
    for option in options:
        default = "required" if option.required else _yaml(option.default)
        cells = [option.name, _type(option.type), _bounds(option), default, option.help]
        made.add_row(*map(Text, cells[: len(made.columns)]))
    return made


def _wrapped(doc: str) -> str:
    """Wrap a docstring to the terminal; blocks with indented lines (maths) are kept."""
    width = min(console().width, WIDTH)
    blocks = [block if f"\n{block}".count("\n ") else fill(block, width) for block in doc.split("\n\n")]
    return "\n\n".join(blocks)


def _doc(cls: type[Any]) -> str:
    """Return the docstring of a class, which is not that of the class that it inherits from."""
    return inspect.cleandoc(cls.__doc__ or "")


def _first_sentence(cls: type[Any]) -> str:
    return _doc(cls).split("\n\n")[0].replace("\n", " ").replace("``", "")


def _place(cls: type[Any]) -> str:
    cls = inspect.unwrap(cls)  # of another library
    file = Path(inspect.getsourcefile(cls) or "")
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{shown}:{inspect.getsourcelines(cls)[1]}"


def _bounds(option: Option) -> str:
    return ", ".join(map(str, option.bounds))


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return "null" if annotation is type(None) else annotation.__name__
    words = [each if isinstance(each, str) else _type(each) for each in get_args(annotation)]
    if get_origin(annotation) is dict:
        return "mapping"
    if get_origin(annotation) is list and get_args(annotation) == (Any,):
        return "list"
    if get_origin(annotation) is list:
        return f"list of {words[0]}"
    if get_origin(annotation) is dict:
        return f"mapping to {words[1]}"
    if hasattr(annotation, "__metadata__"):
        return _type(get_args(annotation)[0])
    return " | ".join(words) if words else str(annotation)


def _yaml(value: Any) -> str:
    from optrun.config.yaml.writer import to_yaml

    return to_yaml({"": value}).partition(":")[2].strip()
