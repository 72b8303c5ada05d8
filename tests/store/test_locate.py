"""Which run is meant."""

import os
import shutil
from pathlib import Path

import pytest

from optrun.errors import StoreError
from optrun.store.locate import find_run, run_directories


@pytest.fixture
def runs():
    """Three directories that look like runs, each made a second after the one before."""
    for age, name in enumerate(["alpha-1", "alpha-2", "beta"]):
        path = Path("runs") / name
        path.mkdir(parents=True)
        (path / "config.yaml").touch()
        os.utime(path / "config.yaml", (1000 + age, 1000 + age))
    Path("runs/.new-123").mkdir()
    (Path("runs/.new-123") / "config.yaml").touch()
    Path("runs/notes").mkdir()


def test_the_newest_run_comes_first_and_nothing_else_is_one(runs):
    assert [path.name for path in run_directories()] == ["beta", "alpha-2", "alpha-1"]
    assert run_directories(Path("nowhere")) == []


def test_a_link_that_leads_nowhere_hides_no_run(runs):
    for name, to in (("loop", "loop"), ("gone", "nothing"), ("linked", "beta")):
        Path("runs", name).symlink_to(to)
    assert sorted(path.name for path in run_directories()) == ["alpha-1", "alpha-2", "beta", "linked"]


@pytest.mark.parametrize("text", ["runs/beta", "beta", "b", "runs/b", "latest", Path("beta")])
def test_a_run_is_found_by_path_id_prefix_or_as_the_latest(runs, text):
    assert find_run(text) == Path("runs/beta")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha", "begins 2 runs: alpha-2, alpha-1"),
        ("bate", "Did you mean 'beta'"),
        ("lastest", "Did you mean 'latest'"),
        ("zzz", "optrun ls"),
        ("", "no such run"),
    ],
)
def test_what_is_no_run_is_an_error_that_helps(runs, text, message):
    with pytest.raises(StoreError, match=message):
        find_run(text)


def test_there_is_no_latest_run_before_the_first():
    with pytest.raises(StoreError, match="no runs yet"):
        find_run("latest")


def test_the_latest_run_is_the_one_made_last_whatever_was_copied_since(small):
    older, newer = small(), small()
    shutil.copytree(older, older.with_name("a-copy"))
    (older / "config.yaml").touch()
    assert find_run("latest") == newer
    assert run_directories()[0].name == newer.name


def test_a_directory_called_latest_does_not_stand_for_the_latest_run(small):
    run = small()
    small(directory="latest")
    with pytest.raises(StoreError, match=f"write {run} or {Path('latest').absolute()}"):
        find_run("latest")
    assert find_run(Path("latest").absolute()) == Path("latest").absolute()
