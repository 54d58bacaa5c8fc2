"""CPython's own tests that a `VeryTmpPath` must fail, by the decision of the design that each of them contradicts."""

from __future__ import annotations

# The classes to run, by version, and how many of their tests pass: fewer would mean that something else went wrong.
SUITES = {
    (3, 11): (["PosixPathTest", "PosixPathAsPureTest"], 76),
    (3, 12): (["PosixPathTest", "PosixPathAsPureTest"], 78),
    (3, 13): (["PosixPathTest"], 115),
}

ROOTED = "every path begins at a root: there are no relative ones, no empty one, and '.' and '//' are the root"
DRIVE = "the root is the path's drive, so it stands in str(), parts, drive, anchor and the URI"
MADE = "paths come only from a root: there is no constructor, and repr() shows the path within the root"
PURE = "relative_to() and readlink() give pure paths"
REFUSED = "cwd(), home(), from_uri() and '~' are the host's, and a plain pickle has no name to find a root by"
FAILS_CLOSED = "a program that asks for its working directory in a root is told that there is none"
NEWEST = "the newest pathlib's names are there on every Python"
ONE_CALL = "the test replaces an os or os.path function by one that cannot take dir_fd, or that is not asked"

CONTRADICTED = {
    "test_absolute": ROOTED,
    "test_absolute_common": ROOTED,
    "test_absolute_posix": DRIVE,
    "test_anchor_common": ROOTED,
    "test_as_bytes_common": ROOTED,
    "test_as_posix_common": ROOTED,
    "test_as_uri": DRIVE,
    "test_as_uri_common": ROOTED,
    "test_as_uri_non_ascii": DRIVE,
    "test_as_uri_posix": DRIVE,
    "test_complex_symlinks_absolute": ROOTED,
    "test_complex_symlinks_relative": ROOTED,
    "test_complex_symlinks_relative_dot_dot": ROOTED,
    "test_constructor_nested": ROOTED,
    "test_cwd": REFUSED,
    "test_div_common": ROOTED,
    "test_div_nested": ROOTED,
    "test_drive_common": DRIVE,
    "test_drive_root_parts": DRIVE,
    "test_drive_root_parts_common": DRIVE,
    "test_empty_path": ROOTED,
    "test_eq": ROOTED,
    "test_eq_common": ROOTED,
    "test_eq_posix": ROOTED,
    "test_equivalences": ROOTED,
    "test_expanduser": REFUSED,
    "test_expanduser_common": REFUSED,
    "test_expanduser_posix": REFUSED,
    "test_from_uri_pathname2url_posix": REFUSED,
    "test_from_uri_posix": REFUSED,
    "test_full_match_common": ROOTED,
    "test_glob_dot": FAILS_CLOSED,
    "test_glob_pathlike": ROOTED,
    "test_home": REFUSED,
    "test_is_absolute": ROOTED,
    "test_is_absolute_posix": ROOTED,
    "test_is_junction": ONE_CALL,
    "test_is_relative_to_common": ROOTED,
    "test_join_nested": ROOTED,
    "test_match_common": ROOTED,
    "test_matches_pathbase_api": NEWEST,
    "test_mkdir_concurrent_parent_creation": ONE_CALL,
    "test_parse_windows_path": ROOTED,
    "test_parts_common": ROOTED,
    "test_passing_kwargs_deprecated": MADE,
    "test_pickling_common": REFUSED,
    "test_readlink": PURE,
    "test_relative_to_common": PURE,
    "test_relative_to_several_args": ROOTED,
    "test_repr_common": MADE,
    "test_repr_roundtrips": MADE,
    "test_resolve_common": ROOTED,
    "test_resolve_root": DRIVE,
    "test_rglob_pathlike": ROOTED,
    "test_root": ROOTED,
    "test_root_common": ROOTED,
    "test_root_posix": ROOTED,
    "test_str_common": ROOTED,
    "test_with_segments": MADE,
    "test_with_segments_common": MADE,
}

# Only before these Pythons: the test is another one since.
CONTRADICTED_BEFORE = {
    "test_constructor_common": ((3, 13), ROOTED),
    "test_join_common": ((3, 13), ROOTED),
}
