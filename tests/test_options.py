"""From Python's values to a spec, and to mount(8)'s words."""

from __future__ import annotations

import pytest

from verytmp._mounting.options import make_spec


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 4096}, ["size=4096"]),
        ({"size": (1 << 63) - 1}, ["size=9223372036854775807"]),
        ({"size": "64m"}, ["size=64m"]),
        ({"size": 0}, ["size=0"]),
        ({"size": None, "huge": None}, []),
        ({"nr_inodes": "10k", "nr_blocks": 7}, ["nr_inodes=10k", "nr_blocks=7"]),
        ({"mode": 0o700}, []),
        ({"mode": 0}, ["mode=0"]),
        ({"mode": 0o7777}, ["mode=7777"]),
        ({"uid": 0, "gid": 65534}, ["uid=0", "gid=65534"]),
        ({"huge": "within_size", "mpol": "bind:0-3,5"}, ["huge=within_size", "mpol=bind:0-3,5"]),
        ({"noexec": True, "nosymfollow": True, "noswap": True}, ["noswap", "noexec"]),
        ({"noexec": False, "nosymfollow": False, "noswap": False}, []),
        ({"inode64": True}, ["inode64"]),
        ({"inode64": False}, ["inode32"]),
    ],
)
def test_words(given: dict[str, object], words: list[str]) -> None:
    assert make_spec(given).asked() == words  # what is so by itself was not asked for


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"size": 1.5}, TypeError, "size must be an int, or a str as in mount.8., not float"),
        ({"size": True}, TypeError, "size must be .* not bool"),
        ({"size": []}, TypeError, "size must be .* not list"),
        ({"size": b"64m"}, TypeError, "size must be .* not bytes"),
        ({"size": -1}, ValueError, "size must not be negative"),
        ({"size": "1\0"}, ValueError, "null byte in size"),
        ({"size": 1, "nr_blocks": 1}, ValueError, "give one of them"),
        ({"size": "99999999999999999999"}, ValueError, "size=9+ is larger than a file system can be"),
        ({"nr_inodes": "16e"}, ValueError, "nr_inodes=16e is larger"),
        ({"nr_blocks": "0x8000000000000000"}, ValueError, "nr_blocks=0x80+ is larger"),
        ({"size": "10000000000%"}, ValueError, "size=10+% is larger"),
        ({"size": 1 << 63}, ValueError, "size=9223372036854775808 is larger"),
        ({"mode": "700"}, TypeError, "mode must be an int"),
        ({"mode": 0o10000}, ValueError, "mode has bits that are no permissions: 0o10000"),
        ({"mode": -1}, ValueError, "mode must not be negative"),
        ({"uid": "root"}, TypeError, "uid must be an int"),
        ({"huge": 1}, TypeError, "huge must be a str"),
        ({"mpol": "a\0b"}, ValueError, "null byte in mpol"),
        ({"noexec": 1}, TypeError, "noexec must be a bool"),
        ({"inode64": "yes"}, TypeError, "inode64 must be a bool"),
    ],
)
def test_what_makes_no_words(given: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make_spec(given)


def test_settings_make_room_for_the_directories_above_the_root() -> None:
    """In inodes alone, and not where there is no limit, or no number."""
    given = {"size": "1m", "nr_inodes": "0x10", "huge": "never", "uid": 5}
    spec = make_spec(given).replace(directory="dev/null")
    assert [*spec.settings()] == [("size", "1m"), ("nr_inodes", "19"), ("huge", "never"), ("uid", "5")]
    assert dict(spec.settings(more_inodes=2))["nr_inodes"] == "21"
    for word in ("0", "banana", "1kb"):
        assert [*make_spec({"nr_inodes": word}).settings()] == [("nr_inodes", word)]
