"""Shell completion. Imports are inside the functions, and invalid input gives no completions."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

if TYPE_CHECKING:
    from optrun.registry import Registry

_OWN = ("name", "options")


def configs(incomplete: str) -> list[str]:
    """Complete YAML files and directories; after a colon, the best run of a sweep."""
    if ":" in incomplete:
        return runs(incomplete)
    folder = incomplete[: incomplete.rfind("/") + 1]
    found = []
    with suppress(OSError):
        for path in sorted(Path(folder or ".").iterdir()):
            if path.name.startswith(".") and not incomplete.removeprefix(folder).startswith("."):
                continue
            if path.is_dir():
                found.append(f"{folder}{path.name}/")
            elif path.suffix in (".yaml", ".yml"):
                found.append(f"{folder}{path.name}")
    return [name for name in found if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Complete run directories, the newest first, and `latest`; after a colon, the best run of a sweep."""
    from optrun.store.locate import BEST, LATEST, run_directories

    if ":" in incomplete:
        word = f"{incomplete.rpartition(':')[0]}:{BEST}"
        return [word] * word.startswith(incomplete)
    folder = incomplete[: incomplete.rfind("/") + 1]
    directories = [str(path) for path in run_directories(Path(folder or "runs"))]
    return [name for name in [*directories, LATEST] if name.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """Complete the kinds of names that `list` accepts."""
    from optrun.registry import REGISTRIES

    every = dict.fromkeys([*(registry.plural for registry in REGISTRIES), "datasets"])
    return [kind for kind in every if kind.startswith(incomplete)]


def names(incomplete: str) -> list[str]:
    """Complete the argument of `show`: registered names, and runs."""
    from optrun.cli.views import describe

    return [*(name for name in describe.names() if name.startswith(incomplete)), *runs(incomplete)]


def optimizers(incomplete: str) -> list[str]:
    return [name for name in _registries()["optimizer"] if name.startswith(incomplete)]


def schedulers(incomplete: str) -> list[str]:
    """Complete schedulers, and `none`."""
    return [name for name in (*_registries()["scheduler"], "none") if name.startswith(incomplete)]


def problems(incomplete: str) -> list[str]:
    return [name for name in _registries()["problem"] if name.startswith(incomplete)]


def executors(incomplete: str) -> list[str]:
    return [name for name in ("local", "dask") if name.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """Complete the formats of tables."""
    from optrun.store import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


def export_formats(incomplete: str) -> list[str]:
    """Complete the formats of tables and of parameters."""
    from optrun.store import FORMATS, PARAM_FORMATS

    return [name for name in dict.fromkeys([*FORMATS, *PARAM_FORMATS]) if name.startswith(incomplete)]


def pages(incomplete: str) -> list[str]:
    """Return the pages of the guide."""
    from optrun.cli.views import guide

    return [name for name in guide.pages() if name.startswith(incomplete)]


def overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete KEY=VALUE: `key.path=` before the `=`, the known values after it."""
    before = [str(word) for word in ctx.params.get("overrides") or ()]
    # zsh and fish pass `key=val`; bash splits it into `key`, `=` and `val`, and may omit the last two.
    if before[-1:] == ["="]:
        return [value for value in _values("".join(before[-2:-1])) if value.startswith(incomplete)]
    if before and not incomplete and "=" not in before[-1] and before[-2:-1] != ["="]:
        return list(_values(before[-1]))
    key, equals, _ = incomplete.partition("=")
    offered = (f"{key}={value}" for value in _values(key)) if equals else _keys(ctx.params.get("config"))
    return [word for word in offered if word.startswith(incomplete)]


def _registries() -> "dict[str, Registry[Any]]":
    """Return the registries by what is set to a name of theirs."""
    from optrun.registry import SECTIONS, methods

    return {**SECTIONS, "sweep.method": methods}


def _keys(config: Path | None) -> Iterator[str]:
    """Yield the valid keys of a config, including the options of the classes that this config names."""
    from pydantic import BaseModel

    from optrun.config import RunConfig, load
    from optrun.errors import OptrunError

    chosen = None
    with suppress(OptrunError):
        chosen = load(config) if config else None
    yield "sweep.method="
    for name, field in RunConfig.model_fields.items():
        yield f"{name}="
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from (f"{name}.{key}=" for key in annotation.model_fields if key not in _OWN)
        if name in _registries():
            yield f"{name}.name="
            component = getattr(chosen, name, None)
            yield from (f"{name}.{option}=" for option in (component.options if component else ()))


def _values(key: str) -> Iterable[str]:
    """Return the known values of a key."""
    from optrun.config import RunConfig
    from optrun.kernels import ENGINES
    from optrun.problems.data import DATASETS

    kind = key.removesuffix(".name")
    if kind in _registries():
        return list(_registries()[kind])
    if key == "problem.data":
        return list(DATASETS)
    if key == "engine":
        return list(ENGINES)
    field = RunConfig.model_fields.get(key)
    return [value for value in get_args(field.annotation) if isinstance(value, str)] if field else []
