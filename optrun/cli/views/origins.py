"""`config`: a complete config, or the origin of each value."""

import json as json_module
from collections.abc import Sequence

from optrun.config import Resolved
from optrun.config.model.options import SWEEP
from optrun.config.resolution import Origin, origins_of
from optrun.config.sweep.expect import EXPECT
from optrun.config.yaml.writer import to_yaml
from optrun.sweeps.plan.expand import Plan


def print_config(resolved: Resolved, *, json: bool) -> None:
    """Print the complete config as YAML that can be run, or as JSON."""
    config = resolved.config
    print(
        json_module.dumps(config.to_dict(), ensure_ascii=False) + "\n" if json else config.to_yaml(), end=""
    )


def print_origins(resolved: Resolved, *, json: bool) -> None:
    """Print every value with its origin: file, line and column, an override, or `default`."""
    _print(resolved.origins, json=json)


def print_sweep(plan: Plan, *, json: bool) -> None:
    """Print the config that all runs of a sweep share, and the sweep."""
    document = plan.swept.to_dict()
    print(json_module.dumps(document, ensure_ascii=False) + "\n" if json else to_yaml(document), end="")


def print_sweep_origins(plan: Plan, *, json: bool) -> None:
    """Print the origins of the values that all runs of a sweep share, and of the values of the sweep."""
    swept = {path for setting in plan.nodes for path in setting}
    # The defaults of e.g. the optimizer are not shared if its name is swept.
    renamed = {path.removesuffix(".name") for path in swept if path.endswith(".name")}
    common = [
        each
        for each in plan.swept.resolved(plan.nodes[0]).origins
        if not _within(each, swept) and not (each.place is None and _within(each, renamed))
    ]
    expected = plan.swept.expected
    if expected is not None:
        common += origins_of((EXPECT, SWEEP), expected.node.plain(), expected.node)
    _print([*common, *origins_of((SWEEP,), plan.swept.node.plain(), plan.swept.node)], json=json)


def _within(origin: Origin, paths: set[str]) -> bool:
    steps = list(map(str, origin.path))
    return any(".".join(steps[:depth]) in paths for depth in range(1, len(steps) + 1))


def _print(origins: Sequence[Origin], *, json: bool) -> None:
    if json:
        found = [
            {"path": ".".join(map(str, each.path)), "value": each.value, "origin": str(each)}
            for each in origins
        ]
        print(json_module.dumps(found, ensure_ascii=False))
        return
    lines = [to_yaml({".".join(map(str, each.path)): each.value}).rstrip("\n") for each in origins]
    width = min(44, max(map(len, lines)))
    for line, origin in zip(lines, origins, strict=True):
        print(f"{line:<{width}}  {origin}")
