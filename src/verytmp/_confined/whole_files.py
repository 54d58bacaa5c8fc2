"""The whole contents of an open file or directory. No name is looked up here."""

from __future__ import annotations

import os
from stat import S_IFDIR, S_IFLNK, S_ISREG

SMALL_BYTES = 1 << 14  # read without asking for the size
FILE_BYTES = 1 << 16  # read at once where the size is not known
LINKS_OF_A_LEAF = 2  # of a directory without directories in it: its name, and its own "."


def read(descriptor: int) -> bytes:
    """A file's bytes."""
    # Most files are small. To read until nothing is left takes 0.4 us less than to get the size first.
    data = os.read(descriptor, SMALL_BYTES)
    chunks = [data]
    if len(data) == SMALL_BYTES:
        status = os.fstat(descriptor)
        if S_ISREG(status.st_mode):  # all of it at once, because joining parts would copy it again
            chunks = [os.pread(descriptor, status.st_size + 1, 0)]
            if len(chunks[0]) == status.st_size:  # and not one byte more
                return chunks[0]
            os.lseek(descriptor, len(chunks[0]), os.SEEK_SET)
    while data:
        data = os.read(descriptor, FILE_BYTES)
        chunks.append(data)
    return chunks[0] if len(chunks) == 2 else b"".join(chunks)


def write(data: bytes | memoryview, descriptor: int) -> None:
    """Write these bytes at the file's position. An error has a note of how many were written."""
    written = 0
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    except OSError as error:
        error.add_note(f"{written} of {len(data)} bytes were written.")
        raise


def list_with_types(descriptor: int) -> list[tuple[str, int]]:
    """A directory's names, each with S_IFDIR, or 0 for anything else: getdents(2) returns the type with the name."""
    names = names_if_no_subdirs(descriptor)
    if names is not None:
        return [(name, 0) for name in names]
    with os.scandir(descriptor) as entries:
        return [(entry.name, S_IFDIR if entry.is_dir(follow_symlinks=False) else 0) for entry in entries]


def list_with_types_and_links(descriptor: int) -> list[tuple[str, int]]:
    """As `list_with_types`, with S_IFLNK for symlinks. (A Python call for each would take twice as long.)"""
    with os.scandir(descriptor) as entries:
        return [
            (entry.name, S_IFDIR if is_dir else S_IFLNK if entry.is_symlink() else 0)
            for entry in entries
            for is_dir in (entry.is_dir(follow_symlinks=False),)
        ]


def list_dirs_and_files(descriptor: int) -> tuple[list[str], list[str]]:
    """The names of a directory's directories, and those of all else in it."""
    directories: list[str] = []
    others: list[str] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            (directories if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
    return directories, others


def list_dirs_and_many_files(descriptor: int) -> tuple[list[str], list[str]]:
    """As `list_dirs_and_files`: from some 40 names on, it takes less time to see first whether one is a directory's."""
    names = names_if_no_subdirs(descriptor)
    return list_dirs_and_files(descriptor) if names is None else ([], names)


def names_if_no_subdirs(directory: int) -> list[str] | None:
    """A directory's names, if no directory is in it; else None.

    Each directory in it adds a link to it, by its ``..``. So if it has only its own two, no types have to be read. An
    entry that was removed while the names were read counts as a file.
    """
    if os.fstat(directory).st_nlink != LINKS_OF_A_LEAF:
        return None
    names = os.listdir(directory)
    return names if os.fstat(directory).st_nlink == LINKS_OF_A_LEAF else None


def joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
