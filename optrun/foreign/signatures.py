"""Signatures of other libraries' optimizers, read as options."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Annotated, Any

from annotated_types import Ge, Le

from optrun.errors import ConfigError, MissingExtraError, did_you_mean, install
from optrun.plugin_code import guarded
from optrun.registry import REQUIRED, Added, Option

RATES = ("lr", "learning_rate")
"""What the learning rate is called."""

OWN = (
    "params",
    "name",
    "rule",
    "schedules",
    "gradient",
    "update",
    "wrap",
    "decay",
    "param_groups",
    "maximize",
)
"""Names that mean something else in a config; gradients of `maximize` are negated before a rule sees them."""

NO_RATE = Option("lr", Annotated[float, Ge(1), Le(1), "it has no learning rate"], 1.0)


@dataclass(frozen=True)
class Signature:
    """The options of a callable, and how its arguments are made of them."""

    options: Mapping[str, Option]
    tuples: Mapping[str, tuple[str, ...]]
    rate: str | None
    """What the callable calls the learning rate; None where it has none."""

    def arguments(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments, given the values of the options; one that is None has its own default."""
        parts = {part for of in self.tuples.values() for part in of}
        given = {
            name: values[name]
            for name, option in self.options.items()
            if name not in parts and name != "lr" and not (values[name] is None and option.marks(Added))
        }
        given |= {
            name: tuple(values[part] for part in of) for name, of in self.tuples.items() if name != self.rate
        }
        return given if self.rate is None else {**given, self.rate: values["lr"]}


def signature_of(function: Callable[..., Any], positional: int) -> Signature:
    """Return the signature of a callable whose first arguments, so many, are no options."""
    options: dict[str, Option] = {}
    tuples: dict[str, tuple[str, ...]] = {}
    rate = None
    for name, parameter in list(inspect.signature(function).parameters.items())[positional:]:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or name in OWN:
            continue
        if name in RATES and rate is None:
            rate, default = name, parameter.default
            options["lr"] = Option("lr", float, float(default) if _is_number(default) else REQUIRED)
        elif _is_pair(parameter.default):
            stem = name[:-1] if name.endswith("s") and name != "eps" else name
            parts = tuple(f"{stem}{i}" for i in range(1, len(parameter.default) + 1))
            tuples[name] = parts
            options |= {
                part: Option(part, float, float(value))
                for part, value in zip(parts, parameter.default, strict=True)
            }
        else:
            options[name] = _option(name, parameter)
    if rate is None:
        options = {"lr": NO_RATE, **options}
    elif rate != "lr":
        tuples[rate] = ("lr",)
    return Signature(options, tuples, rate)


def _option(name: str, parameter: inspect.Parameter) -> Option:
    default, annotation = parameter.default, parameter.annotation
    if default is REQUIRED:
        return Option(name, Any, REQUIRED)
    if isinstance(default, (bool, str)):
        return Option(name, type(default) | None, default)
    if isinstance(default, float) and math.isfinite(default):
        return Option(name, float, default)
    if isinstance(default, int):
        # An array-like number may have to stay whole, as a count of iterations has to.
        if "float" in str(annotation) and "rray" not in str(annotation):
            return Option(name, float, float(default))
        return Option(name, int if annotation in (int, "int") else Any, default)
    # What a config cannot have, such as a function or an infinity, is left out where it is not set.
    return Option(name, Annotated[Any, Added()], None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 1 and all(map(_is_number, value))


def imported(target: str, package: str, kind: str) -> Any:
    """Return what a dotted path names, below a package or anywhere.

    Raises ConfigError where there is no such thing, and PluginError where a package cannot be imported.
    """
    if not all(part.isidentifier() for part in target.split(".")):
        raise ConfigError(f"{target!r} is no dotted path of {kind}", field="name")
    with guarded(target):
        return _imported(target, package)


def _imported(target: str, package: str) -> Any:
    _package(package, package)
    for path in (f"{package}.{target}", target):
        module, _, name = path.rpartition(".")
        while module:
            try:
                found: Any = import_module(module)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                    raise
                module, _, before = module.rpartition(".")
                name = f"{before}.{name}"
                continue
            for part in name.split("."):
                found = getattr(found, part, None)
            if found is not None:
                return found
            break
    first = target.partition(".")[0]
    _package(first if "." in target else package, target)
    inside = import_module(target.rpartition(".")[0] or package)
    known = [name for name in dir(inside) if name[0] != "_" and callable(getattr(inside, name))]
    hint = did_you_mean(target.rpartition(".")[2], known)
    raise ConfigError(f"there is no {target} in {package} or elsewhere.{hint}", field="name")


def _package(name: str, asked: str) -> None:
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        said = f"{asked} needs a package that is not installed: {install(name)}"
        raise MissingExtraError(said) from None


_distributions = cache(packages_distributions)


def version_of(package: str) -> tuple[str, str]:
    """Return the distribution that a package is of, and its version, as far as they are known."""
    distribution = next(iter(_distributions().get(package, ())), package)
    try:
        return distribution, version(distribution)
    except PackageNotFoundError:
        return distribution, ""
