"""Mutations of configs by a dictionary of YAML: whatever comes in, a config or ConfigErrors comes out.

`python -m tests.config.fuzz 1000000` tries that many.
"""

import random
import sys
from pathlib import Path

from optrun.config import ConfigErrors, parse
from optrun.config.reader import decode

WORDS = """
: - , ? [ ] { } & * ! | > ' " % @ ` # ~ = << --- ... %YAML %TAG |2- >+ &a *a <<:
null true no on yes 0 -1 010 0x1F 0o8 0b_ 1e-3 1E999 .inf .nan -.inf 1_000 1:30 2024-13-45 30s 1e400
!!int !!str !!binary !!timestamp !!set !!omap !!float !!null !!python/object:os.system !!map !!seq !<x> !x!y
name: problem: optimizer: scheduler: steps: epochs: seed: stop: param_groups: params: lr: betas: milestones:
Adam SGD SequentialLR StepLR rosenbrock mlp hidden: data: digits every: metrics: loss
"""
TOKENS = [
    *WORDS.split(),
    "\n", "\n  ", "\n    - ", "\t", " ", "\n---\n", "\0", "\x85", "\u2028", "\ufeff", "é", "😀", "\ud800", "\x7f",
    "\\x", '"\\u0041"', '"\\ud800"', "[" * 50, "{a: " * 40, "- " * 50, "9" * 30, "9" * 5000, "? ", ": ", "\r",
    "&a [*a]", "{*a : 1}", "? [a]\n: b", "'\n", "# c\n",
]  # fmt: skip

SEEDS = [path.read_text("utf-8") for path in sorted(Path(__file__).parents[2].glob("configs/*.yaml"))]


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
        config = parse(text, "fuzz.yaml")
    except ConfigErrors as errors:
        lines = text.splitlines() or [""]
        for issue in errors.issues:
            assert issue.file == "fuzz.yaml"
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
        text = decode(raw, "fuzz.yaml")
    except ConfigErrors:
        return False
    return check(text)


def run(count: int, seed: int = 0) -> int:
    """Check mutated texts and bytes, and return how many of them were configs."""
    rng = random.Random(seed)
    valid = 0
    for i in range(count):
        text = mutated(rng)
        if i % 10:
            valid += check(text)
        else:
            raw = bytearray(text, "utf-8", "replace")
            at = rng.randrange(len(raw) + 1)
            raw[at : at + 1] = rng.randbytes(rng.randint(0, 3))
            valid += check_bytes(bytes(raw))
    return valid


if __name__ == "__main__":
    total = int(sys.argv[1])
    print(f"{run(total):,} of {total:,} were configs; the others were refused with a place")
