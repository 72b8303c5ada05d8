"""What the parts of a `sweep:` block say about each other: paths that are swept twice, methods, trials."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optrun.config.extends import EXTENDS
from optrun.config.model.options import SWEEP
from optrun.config.sweep.axes import DRAWN
from optrun.config.sweep.examples import MISPLACED, forms, method_form
from optrun.config.yaml.tree import Path
from optrun.errors import did_you_mean, fold
from optrun.registry import methods

_OF_A_SPACE = {"parameters", "zip", "exclude", "trials"}
GRID = "grid"
"""The method of a sweep that names none."""
_FIXED = ("name", SWEEP, EXTENDS)

Found = Iterator[tuple[Path, str]]


def at_odds(data: Mapping[str, Any]) -> Found:
    """Yield what is wrong with the parts of a block beside each other, whatever else is wrong with them."""
    spaces = {i: each for i, each in enumerate(_list(data.get("spaces"))) if isinstance(each, dict)}
    shared: dict[str, Path] = {}
    yield from _swept_twice((), data, shared)
    swept = dict(shared)
    for i, space in spaces.items():
        own = dict(shared)
        yield from _swept_twice(("spaces", i), space, own)
        if not (space.get("parameters") or space.get("zip") or set(space) - _OF_A_SPACE):
            yield ("spaces", i), "is a space without parameters"
        yield from _excluded(("spaces", i), space, own)
        swept = {**own, **swept}
    if data.get("spaces") == []:
        yield ("spaces",), "is empty: give each space its parameters, or leave spaces out"
    yield from _methods(data, spaces, bool(swept))
    for i, each in enumerate(_list(data.get("include"))):
        for path in each if isinstance(each, dict) else ():
            swept.setdefault(path, ("include", i, path))
    for path, place in swept.items():
        if said := _unsweepable(path):
            yield place, said
    yield from _excluded((), data, swept)
    yield from _compared(_mapping(data.get("confirm")).get("by"), swept)


def _swept_twice(within: Path, data: Mapping[str, Any], swept: dict[str, Path]) -> Found:
    """Add what a space sweeps to what is swept already, and yield what is there twice."""
    places: list[tuple[str, Path]] = [
        (path, ("parameters", path)) for path in _mapping(data.get("parameters"))
    ]
    for i, group in enumerate(_list(data.get("zip"))):
        places += [(path, ("zip", i, path)) for path in _mapping(group)]
    for path, place in places:
        if path in swept:
            yield (*within, *place), "is swept already: choose one"
        swept[path] = (*within, *place)


def _methods(data: Mapping[str, Any], spaces: Mapping[int, Mapping[str, Any]], varies: bool) -> Found:
    for name in methods:
        if data.get(name) is not None and methods.find(name).options() and not _is(data, name):
            yield (name,), f"these are options of another method: add 'method: {name}'"
    name = data.get("method", GRID)
    if not isinstance(name, str) or name not in methods:
        return
    name = methods.spelled(name)
    method = methods.find(name)
    if any(option.required for option in method.options().values()) and not data.get(name):
        yield ("method",), f"needs options: give {name}, such as {method_form(name)}"
    with_trials = [i for i, space in spaces.items() if space.get("trials") is not None]
    everywhere: list[tuple[Path, Mapping[str, Any]]] = [((), data)]
    everywhere += [(("spaces", i), space) for i, space in spaces.items()]
    drawing = method.trials or (
        method.trials is None and (data.get("trials") is not None or bool(with_trials))
    )
    for within, space in everywhere:
        for path, value in _mapping(space.get("parameters")).items():
            kind = next(iter(value), None) if isinstance(value, dict) else None
            if kind in DRAWN and not drawing:
                add = "'trials'" if method.trials is None else "'method: random' and 'trials'"
                instead = (
                    "list its values" if kind == "choice" else "space its values: linspace, logspace, range"
                )
                yield (*within, "parameters", path, kind), f"is drawn at random: add {add}, or {instead}"
        if method.trials is False and space.get("trials") is not None:
            yield (*within, "trials"), f"{name} draws nothing: add 'method: random', or leave trials out"
        if method.grows and space.get("exclude"):
            yield (*within, "exclude"), f"{name} chooses the settings itself: leave exclude out"
    if data.get("cross"):
        yield from _crossed(data, everywhere, name, drawing=bool(drawing), grows=method.grows)
    if drawing:
        yield from _trials(data, name if method.grows else "", list(spaces), with_trials)
        if not varies:
            yield ("method",), "there is nothing to draw: give parameters"


def _crossed(
    data: Mapping[str, Any],
    everywhere: Sequence[tuple[Path, Mapping[str, Any]]],
    method: str,
    *,
    drawing: bool,
    grows: bool,
) -> Found:
    """Yield what is wrong with the paths that are crossed with draws; ``everywhere`` is what is swept, by its place."""
    if not drawing or grows:
        does = "chooses the settings itself" if grows else "combines all values"
        yield ("cross",), f"{method} {does}: leave cross out"
        return
    crossed = [each for each in _list(data["cross"]) if isinstance(each, str)]
    swept = {within: list(_paths(space)) for within, space in everywhere}
    known = [path for paths in swept.values() for group in paths for path in group]
    for i, path in enumerate(crossed):
        if path not in known:
            yield ("cross", i), f"is not swept.{did_you_mean(path, known) or ' Swept: ' + ', '.join(known)}"
        for _, space in everywhere:
            value = _mapping(space.get("parameters")).get(path)
            kind = next(iter(value), None) if isinstance(value, dict) else None
            if kind in DRAWN and kind != "choice":
                yield ("cross", i), "is drawn from a distribution: list its values, or leave it out of cross"
    for within in list(swept)[1:] or [()]:
        groups = [*swept[()], *(swept[within] if within else ())]
        if groups and all(set(group) & set(crossed) for group in groups):
            yield ("cross",), f"leaves nothing to draw{f' in space {within[1]}' if within else ''}"
            return


def _paths(space: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the swept paths of a space; those whose values are paired are together."""
    yield from ((path,) for path in _mapping(space.get("parameters")))
    yield from (tuple(_mapping(group)) for group in _list(space.get("zip")))


def _is(data: Mapping[str, Any], method: str) -> bool:
    given = data.get("method")
    return isinstance(given, str) and fold(given) == fold(method)


def _trials(data: Mapping[str, Any], grows: str, spaces: Sequence[int], with_trials: Sequence[int]) -> Found:
    """Yield what is wrong with the numbers of trials; ``grows`` is the method, where it adds settings on the way."""
    trials = data.get("trials")
    if trials is None and not with_trials:
        yield ("method",), "how many settings are drawn? Give trials"
    for i in spaces:
        place: Path = ("spaces", i, "trials") if i in with_trials else ("spaces", i)
        if i in with_trials and grows:
            yield place, f"{grows} chooses among the spaces itself: give trials beside them"
        elif i in with_trials and trials is not None:
            yield place, "there are trials beside the spaces, which are divided among them: choose one"
        elif i not in with_trials and with_trials and trials is None:
            yield place, "how many of its settings are drawn? Give trials, as in other spaces"
    if type(trials) is int and 0 < trials < len(spaces) and not grows:
        yield ("trials",), f"{trials} {'is' if trials == 1 else 'are'} too few for {len(spaces)} spaces"


def _excluded(within: Path, data: Mapping[str, Any], swept: Mapping[str, Path]) -> Found:
    for i, each in enumerate(_list(data.get("exclude"))):
        for path in _mapping(each):
            if path not in swept:
                yield (*within, "exclude", i, path), f"is not swept.{did_you_mean(path, swept)}"
        if each == {}:
            yield (*within, "exclude", i), "leaves everything out"


def _compared(by: Any, swept: Mapping[str, Path]) -> Found:
    """Yield what is wrong with a path whose values are compared: they vary where it, its name or its part is swept."""
    for path in (each.strip() for each in by.split(",")) if isinstance(by, str) and by else ():
        is_swept = any(each in (path, f"{path}.name") or path.startswith(f"{each}.") for each in swept)
        if not is_swept:
            known = f" Swept: {', '.join(swept)}" if swept else ""
            what = "" if path == by else f"{path!r} "
            yield ("confirm", "by"), f"{what}is not swept.{did_you_mean(path, swept) or known}"


def _unsweepable(path: str) -> str:
    if not path.isprintable() or not all(path.split(".")):
        return "a parameter is a path of the config, such as optimizer.lr"
    if path == "seed":
        return (
            "seeds are not compared but repeated: give repeats, such as 'repeats: 5', "
            "or seed=0,1 on the command line"
        )
    if path in forms():
        return MISPLACED.format(path)
    return "is one for all runs of a sweep" if path.split(".")[0] in _FIXED else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
