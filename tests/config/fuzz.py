"""Mutations of configs by a dictionary of YAML: whatever comes in, a config or ConfigErrors comes out.

`python -m tests.config.fuzz 1000000` tries that many, and tells the slowest and the memory.
"""

import random
import resource
import sys
import time
from pathlib import Path

from optrun.config import ConfigErrors, parse
from optrun.config.yaml.reader import decode

WORDS = """
: - , ? [ ] { } & * ! | > ' " % @ ` # ~ = << --- ... %YAML %TAG |2- >+ &a *a <<:
null true no on yes 0 -1 010 0x1F 0o8 0b_ 1e-3 1E999 .inf .nan -.inf 1_000 1:30 2024-13-45 30s 1e400
!!int !!str !!binary !!timestamp !!set !!omap !!float !!null !!python/object:os.system !!map !!seq !<x> !x!y
name: problem: optimizer: scheduler: steps: epochs: seed: stop: param_groups: params: lr: betas: milestones:
Adam SGD SequentialLR StepLR rosenbrock mlp hidden: data: digits every: metrics: loss
extends: digits_mlp.yaml quadratic.yaml fuzz.yaml digits_wide.yaml nowhere.yaml .. /dev/zero ~nobody/x.yaml
expect: final_loss: test_accuracy: tset_loss: min: max:
"""
TOKENS = [
    *WORDS.split(),
    "\n", "\n  ", "\n    - ", "\t", " ", "\n---\n", "\0", "\x85", "\u2028", "\ufeff", "é", "😀", "\ud800", "\x7f",
    "\\x", '"\\u0041"', '"\\ud800"', "[" * 50, "{a: " * 40, "- " * 50, "9" * 30, "9" * 5000, "? ", ": ", "\r",
    "&a [*a]", "{*a : 1}", "? [a]\n: b", "'\n", "# c\n",
]  # fmt: skip

CONFIGS = Path(__file__).parents[2] / "configs"
SEEDS = [path.read_text("utf-8") for path in sorted(CONFIGS.glob("*.yaml"))]
SOURCE = str(CONFIGS / "fuzz.yaml")  # no file, but its neighbours can be extended


def mutated(rng: random.Random) -> str:
    """Return a config with a few random changes."""
    text = rng.choice(SEEDS)
    for _ in range(rng.randint(1, 5)):
        i, j = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        j = min(j, i + rng.choice((0, 1, 8, 60)))
        piece = rng.choice((rng.choice(TOKENS), rng.choice(TOKENS), text[i:j] * 2, ""))
        text = text[:i] + piece + text[j:]
    return text


def check(text: str) -> bool:
    """Return whether a text is a config; fail where it is neither that nor refused with a place."""
    try:
        config = parse(text, SOURCE)
    except ConfigErrors as errors:
        for issue in errors.issues:
            written = text if issue.file == SOURCE else Path(issue.file).read_text("utf-8")
            lines = written.splitlines() or [""]
            assert issue.line is not None
            assert issue.column is not None
            assert 1 <= issue.line <= len(lines) + 1, issue
            assert 1 <= issue.column <= max(map(len, lines)) + 2, issue
            str(issue).encode()
        return False
    assert parse(config.to_yaml(), "again.yaml") == config
    return True


def check_bytes(raw: bytes) -> bool:
    """Return whether bytes are a config; fail where they are neither that nor refused."""
    try:
        text = decode(raw, SOURCE)
    except ConfigErrors:
        return False
    return check(text)


def run(count: int, seed: int = 0) -> tuple[int, float]:
    """Check mutated texts and bytes; return how many of them were configs, and the seconds of the slowest."""
    rng = random.Random(seed)
    valid, slowest = 0, 0.0
    for i in range(count):
        began = time.perf_counter()
        text = mutated(rng)
        if i % 10:
            valid += check(text)
        else:
            raw = bytearray(text, "utf-8", "replace")
            at = rng.randrange(len(raw) + 1)
            raw[at : at + 1] = rng.randbytes(rng.randint(0, 3))
            valid += check_bytes(bytes(raw))
        slowest = max(slowest, time.perf_counter() - began)
    return valid, slowest


if __name__ == "__main__":
    total = int(sys.argv[1])
    valid, slowest = run(total)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{valid:,} of {total:,} were configs; the others were refused with a place")
    print(f"slowest {1000 * slowest:.0f} ms, {memory} MiB in all")
