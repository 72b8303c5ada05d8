"""What `list` and `show` print: names, and what a name stands for."""

import inspect
import json as json_module
from typing import Any, get_args, get_origin

from optrun.errors import UnknownNameError, did_you_mean
from optrun.registry import Option, Registry, optimizers, problems, schedulers

REGISTRIES: dict[str, Registry[Any]] = {
    "optimizers": optimizers,
    "schedulers": schedulers,
    "problems": problems,
}


def print_list(kind: str | None, *, json: bool) -> None:
    """Print the names of one kind, or of all, each with its first sentence; UnknownNameError for another kind."""
    from optrun.problems.data import DATASETS

    tables: dict[str, dict[str, str]] = {
        name: {each: _first_sentence(registry.find(each)) for each in registry}
        for name, registry in REGISTRIES.items()
    }
    tables["datasets"] = dict(DATASETS)
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
        print(("\n" if index else "") + title)
        for name, text in table.items():
            print(f"  {name:<{width}}  {text}")


def print_description(name: str, *, json: bool) -> None:
    """Print a registered class: its documentation, its options and YAML to paste; UnknownNameError if there is none."""
    registry = next((registry for registry in REGISTRIES.values() if name in registry), None)
    if registry is None:
        everything = [each for registry in REGISTRIES.values() for each in registry]
        raise UnknownNameError(f"nothing is called {name!r}.{did_you_mean(name, everything)}")
    cls = registry.find(name)
    official = next(each for each in registry if registry.find(each) is cls)
    options: list[Option] = list(cls.options().values())
    if json:
        described = {
            option.name: {"type": _type(option), "default": None if option.required else option.default}
            for option in options
        }
        print(json_module.dumps({"name": official, "kind": registry.kind, "options": described}, default=str))
        return
    print(f"{official} ({registry.kind})\n\n{inspect.getdoc(cls)}\n")
    width = max((len(option.name) for option in options), default=0)
    for option in options:
        default = "required" if option.required else f"default {_yaml(option.default)}"
        print(
            f"  {option.name:<{width}}  {_type(option)}, {default}{'. ' if option.help else ''}{option.help}"
        )
    print(f"\n{registry.kind}:\n  name: {official}")
    for option in options:
        print(f"  {option.name}: {'…' if option.required else _yaml(option.default)}")


def _first_sentence(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")


def _type(option: Option) -> str:
    return " ".join([_type_name(option.type), *map(str, option.bounds)])


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    words = [_type_name(each) if isinstance(each, type) else str(each) for each in get_args(annotation)]
    return (
        f"list of {words[0]}"
        if get_origin(annotation) is list
        else " | ".join(words).replace("NoneType", "null")
    )


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, (list, tuple)) else str(value)
