"""What `config` prints: a complete config, or where each of its values comes from."""

import json as json_module

from optrun.config import Resolved
from optrun.config.writer import to_yaml


def print_config(resolved: Resolved, *, json: bool) -> None:
    """Print the complete config as YAML that can be run, or as JSON."""
    config = resolved.config
    print(
        json_module.dumps(config.to_dict(), ensure_ascii=False) + "\n" if json else config.to_yaml(), end=""
    )


def print_origins(resolved: Resolved, *, json: bool) -> None:
    """Print every value with the file, line and column or the override that set it, or `default`."""
    if json:
        found = [
            {"path": ".".join(map(str, each.path)), "value": each.value, "origin": str(each)}
            for each in resolved.origins
        ]
        print(json_module.dumps(found, ensure_ascii=False))
        return
    lines = [to_yaml({".".join(map(str, each.path)): each.value}).rstrip("\n") for each in resolved.origins]
    width = min(44, max(map(len, lines)))
    for line, origin in zip(lines, resolved.origins, strict=True):
        print(f"{line:<{width}}  {origin}")
