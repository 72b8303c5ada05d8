"""What lies in the cache is used only where nobody else could have put it there."""

import os
import sys

import pytest

from optrun.kernels import user_cache

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files to others"
)
NOBODY = 65534


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = user_cache.directory("kernels") / "a.py"
    user_cache.write(path, b"x = 1\n")
    assert user_cache.read(path) == b"x = 1\n"
    return path


@pytest.mark.parametrize("level", range(4))
def test_a_level_of_somebody_else_is_not_trusted(kept, level):
    whose = [kept, *kept.parents][level]
    os.chown(whose, NOBODY, -1)
    assert user_cache.read(kept) is None


@pytest.mark.parametrize("level", range(4))
def test_a_level_that_all_can_write_is_not_trusted(kept, level):
    whose = [kept, *kept.parents][level]
    whose.chmod(0o777)
    assert user_cache.read(kept) is None
    if level == 3:
        whose.chmod(0o1777)  # as /tmp is: others may not touch what is there
        assert user_cache.read(kept) == b"x = 1\n"


def test_a_link_of_somebody_else_to_a_directory_of_ones_own_is_not_followed(kept, tmp_path):
    planted = tmp_path / "planted"
    kept.parent.rename(planted)
    kept.parent.symlink_to(planted)
    assert user_cache.read(kept) == b"x = 1\n"
    os.chown(kept.parent, NOBODY, -1, follow_symlinks=False)
    assert user_cache.read(kept) is None


def test_what_a_killed_process_has_left_goes_with_the_next_file(kept):
    old, young = kept.with_name("tmpabcdefgh"), kept.with_name("tmp12345678")
    for left in (old, young):
        left.touch()
    os.utime(old, (0, 0))
    user_cache.write(kept, b"x = 2\n")
    assert sorted(kept.parent.iterdir()) == sorted([kept, young])
