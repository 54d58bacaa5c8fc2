"""Coverage-guided search for archives that get out, hang, or end in an error that is none of the system's.

It is run by hand (``python tests/adversary/fuzz_archives.py tar -max_total_time=300``, and with ``zip``), and needs
atheris. It begins with the attacks of `test_archives.py`. The arguments after the first are libFuzzer's; folders among
them hold more archives to begin with.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

FORMS = (1, 2)  # tarfile's GNU_FORMAT and PAX_FORMAT: it is imported later, to be instrumented
BLOCK = 512
CHECKSUM = slice(148, 156)
SEARCHED = 64  # every so often, all of the root and of the host is looked at


def summed(data: bytearray) -> bytes:
    """A tar archive with headers whose checksums are right: with wrong ones, nothing behind them is read."""
    at = 0
    while at + BLOCK <= len(data):
        header = data[at : at + BLOCK]
        if any(header):
            header[CHECKSUM] = b" " * 8
            data[at + CHECKSUM.start : at + CHECKSUM.stop] = b"%06o\0 " % sum(header)
        try:
            size = int(bytes(header[124:136]).strip(b"\0 ") or b"0", 8)
        except ValueError:
            size = 0
        at += BLOCK + -(-max(size, 0) // BLOCK) * BLOCK
    return bytes(data)


def mutated(data: bytes, most: int, seed: int) -> bytes:
    found = bytearray(atheris.Mutate(data, most))
    return summed(found) if random.Random(seed).random() < 0.9 else bytes(found)


def main() -> int:
    kind, *arguments = sys.argv[1:]
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    with atheris.instrument_imports(include=["verytmp", "tarfile", "zipfile"]):
        from support import canary
        from support.archives import packed
        from test_archives import (  # type: ignore[import-not-found, unused-ignore]  # in this folder
            ROWS,
            Stream,
            farm,
            seeds,
            zipped,
        )

        from verytmp import VeryTmpRoot

    with canary.planted() as bird, tempfile.TemporaryDirectory() as corpus:
        os.chdir(bird.cwd)
        os.environ["HOME"] = str(bird.home)
        small = [packed(*row.members(bird), form=form).getvalue() for row in ROWS.values() for form in FORMS]
        small += [zipped(entry, links=links).getvalue() for entry in farm(bird) for links in (False, True)]
        for number, seed in enumerate([*seeds(bird), *small]):
            if seed.startswith(b"PK") == (kind == "zip"):
                Path(corpus, str(number)).write_bytes(seed.rstrip(b"\0") + bytes(2 * BLOCK) if kind == "tar" else seed)
        pid = os.fork()
        if pid == 0:  # libFuzzer ends its process itself
            root = VeryTmpRoot(size="1m", nr_inodes=200)
            count = 0

            def example(data: bytes) -> None:
                nonlocal count
                count += 1
                with contextlib.suppress(OSError):  # and no other
                    (root / "out" if count % 2 else root.path).unpack(io.BytesIO(data) if count % 3 else Stream(data))
                assert bird.touched() == []
                if count % SEARCHED == 0:
                    bird.look(root.fileno())
                    bird.check()
                root.clear()

            how = {"custom_mutator": mutated} if kind == "tar" else {}
            atheris.Setup([sys.argv[0], corpus, "-timeout=10", "-max_len=8192", *arguments], example, **how)
            atheris.Fuzz()
        _, status = os.waitpid(pid, 0)
        bird.check()
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
