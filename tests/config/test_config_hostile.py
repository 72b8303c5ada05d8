"""Whatever is fed to it, the reader answers at once, with a place, and without running anything."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from optrun.config import ConfigErrors, load, parse
from tests.config import fuzz

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 31))
HOSTILE = {
    "an alias bomb": (BOMB, "more than 10,000 values, aliases expanded"),
    "an alias of a large list, many times": (
        f"a: &a [{'x, ' * 5000}]\nb: [*a, *a]\n",
        "more than 10,000 values, aliases expanded",
    ),
    "a million values": ("a: [" + "1," * 500_000 + "]", "more than 10,000 values"),
    "a million brackets": ("[" * 1_000_000, "nested deeper than 32 levels"),
    "a million braces": ("{a: " * 250_000, "nested deeper than 32 levels"),
    "a million dashes": ("- " * 500_000, "nested deeper than 32 levels"),
    "a million questions": ("? " * 500_000, "nested deeper than 32 levels"),
    "an anchor within itself": ("a: &a {b: *a}", "nothing before this is marked &a"),
    "an integer of many digits": ("steps: " + "9" * 1_000_000, "is too large"),
    "a float of many digits": ("steps: 0." + "9" * 1_000_000, "is too long"),
    "a long key": ("k" * 1_000_000 + ": 1", "a key"),
    "a long value": ("dtype: " + "k" * 1_000_000, "dtype: must be"),
    "a Python object": ("a: !!python/object/apply:os.system ['exit 1']", "means nothing in a config"),
    "a Python name": ("a: !!python/name:os.system", "means nothing in a config"),
    "a tag of its own": (
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system x",
        "means nothing in a config",
    ),
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Fail where reading takes more than 100 MiB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_refused_with_its_place(case: str) -> None:
    text, message = HOSTILE[case]
    with pytest.raises(ConfigErrors) as caught:
        parse(text, "f.yaml")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 5_000
    assert all(issue.line and issue.column for issue in caught.value.issues)


@pytest.mark.parametrize(
    "raw", [bytes(range(256)), b"\x89PNG\r\n\x1a\n", b"\x7fELF", b"\xff\xfe", b"\x00" * 100]
)
def test_binary_files_are_refused_with_a_place(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigErrors) as caught:
        load(file)
    assert all(issue.line and issue.column for issue in caught.value.issues)


@pytest.mark.full
def test_mutated_configs_are_configs_or_refused_with_a_place() -> None:
    valid, _ = fuzz.run(3000, seed=1)
    assert 100 < valid < 2900


def test_no_more_mistakes_are_told_than_anyone_reads() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse("a: 1\n" * 60_000)
    messages = [issue.message for issue in caught.value.issues]
    assert (len(messages), messages[-1]) == (101, "more than 100 mistakes: the rest is not read")
