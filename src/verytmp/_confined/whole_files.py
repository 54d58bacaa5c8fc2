"""What is in a file or a directory that is open: all of it at once, by its descriptor. No name is looked up here."""

from __future__ import annotations

import os
from stat import S_IFDIR, S_IFLNK, S_ISREG

SMALL_BYTES = 1 << 14  # read without asking for the size
FILE_BYTES = 1 << 16  # read at once from what does not know its size
LINKS_OF_A_LEAF = 2  # of a directory: its name, and its own "."


def read(descriptor: int) -> bytes:
    """A file's bytes."""
    # Most files are small. To read one, and then nothing, takes 0.4 us less than to ask for its size first.
    data = os.read(descriptor, SMALL_BYTES)
    chunks = [data]
    if len(data) == SMALL_BYTES:
        status = os.fstat(descriptor)
        if S_ISREG(status.st_mode):  # all of it at once: joining it to the rest would copy it once more
            chunks = [os.pread(descriptor, status.st_size + 1, 0)]
            if len(chunks[0]) == status.st_size:  # and not one byte more
                return chunks[0]
            os.lseek(descriptor, len(chunks[0]), os.SEEK_SET)
    while data:
        data = os.read(descriptor, FILE_BYTES)
        chunks.append(data)
    return chunks[0] if len(chunks) == 2 else b"".join(chunks)


def write(data: bytes | memoryview, descriptor: int) -> None:
    """Write these bytes from where the file is. An error has a note of how many there were."""
    written = 0
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    except OSError as error:
        error.add_note(f"{written} of {len(data)} bytes were written.")
        raise


def list_with_types(descriptor: int) -> list[tuple[str, int]]:
    """A directory's names, each with S_IFDIR, or 0 for anything else: the kernel tells it along with the name."""
    names = names_if_no_subdirs(descriptor)
    if names is not None:
        return [(name, 0) for name in names]
    with os.scandir(descriptor) as entries:
        return [(entry.name, S_IFDIR if entry.is_dir(follow_symlinks=False) else 0) for entry in entries]


def list_with_types_and_links(descriptor: int) -> list[tuple[str, int]]:
    """As `kinds`, with S_IFLNK for symlinks. (A function of ours for each entry would take as long again.)"""
    with os.scandir(descriptor) as entries:
        return [
            (entry.name, S_IFDIR if is_dir else S_IFLNK if entry.is_symlink() else 0)
            for entry in entries
            for is_dir in (entry.is_dir(follow_symlinks=False),)
        ]


def list_dirs_and_files(descriptor: int) -> tuple[list[str], list[str]]:
    """The names of a directory's directories, and those of all else in it."""
    names = names_if_no_subdirs(descriptor)
    if names is not None:
        return [], names
    with os.scandir(descriptor) as scanned:
        entries = list(scanned)  # going through them twice takes less than appending each
    return (
        [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)],
        [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)],
    )


def names_if_no_subdirs(directory: int) -> list[str] | None:
    """A directory's names, if none of them is a directory's; else None.

    Each directory in one is a link more to it, by its ``..``. So nobody has to be asked for the types of what is in
    one that has but its own two. What went while its name was read counts as a file.
    """
    if os.fstat(directory).st_nlink != LINKS_OF_A_LEAF:
        return None
    names = os.listdir(directory)
    return names if os.fstat(directory).st_nlink == LINKS_OF_A_LEAF else None


def joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
