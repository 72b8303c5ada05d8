"""Sums by halves whose first additions are made where the terms are, before these are written to memory."""

from collections.abc import Mapping
from functools import lru_cache

from optrun.arrays import Array
from optrun.kernels.lower import Instruction, Listing

LEVELS = 4
"""Halvings that are made at once: of 2⁴ terms one number is written."""

LEAST = 1 << 14
"""Elements of all lanes from which on a tensor is worth a loop of its own."""

MOST = 96
"""Instructions of that loop, which has to be compiled."""


def levels_of(listing: Listing, parameters: Array) -> int:
    """Return how many halvings of a tensor's elements `[B, n]` are to be made at once; they have to come out even."""
    if parameters.ndim != 2 or parameters.size < LEAST:
        return 0
    n, instructions = parameters.shape[1], len(listing.instructions)
    possible = range(LEVELS, 0, -1)
    return next((each for each in possible if n % (1 << each) == 0 and instructions << each <= MOST), 0)


@lru_cache(1024)
def halved(listing: Listing, terms: frozenset[str], levels: int) -> Listing:
    """Return the listing that computes, of elementwise ``terms``, the array that so many passes of `lane_sum` leave.

    What it reads are parts of buffers, see `parts`.
    """
    if not levels:
        return listing
    instructions: list[Instruction] = []
    count = len(listing.shapes)
    free: list[str] = []

    def fresh() -> str:
        nonlocal count
        if not free:
            free.append(f"_s{count}")
            count += 1
        return free.pop()

    def added(level: int, place: int) -> dict[str, str]:
        """Append the instructions of a sum of 2ˡᵉᵛᵉˡ parts; return where it is, by the name of its terms."""
        if not level:
            at = {name: fresh() for name in sorted(terms)}
            for each in listing.instructions:
                target, *operands = (_part(name, place, at) for name in (each.target, *each.operands))
                instructions.append(Instruction(each.op, target, tuple(operands)))
            return at
        left, right = (added(level - 1, side) for side in (place, place + (1 << levels >> level)))
        for name in left:
            target = name if level == levels else left[name]
            instructions.append(Instruction("add", target, (left[name], right[name])))
            free.append(right[name])
        return left

    added(levels, 0)
    scratch = ((f"_s{index}", ()) for index in range(len(listing.shapes), count))
    return Listing(tuple(instructions), (*listing.shapes, *scratch))


def parts(buffers: Mapping[str, Array], terms: frozenset[str], levels: int) -> dict[str, Array]:
    """Return the buffers `[B, n / 2ᵏ]` that the halved listing reads and writes, of those `[B, n]` of its tensor."""
    found = {}
    for name, buffer in buffers.items():
        size = buffer.shape[1] >> levels
        for place in range(1 if name in terms else 1 << levels):
            found[_part(name, place, {})] = buffer[:, place * size : (place + 1) * size]
    return found


def _part(name: str, place: int, at: Mapping[str, str]) -> str:
    if name.startswith("_"):
        return name
    return at.get(name, f"{name}_part{place}" if place else name)
