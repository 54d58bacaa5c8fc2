"""Programs that send roots and paths to their processes, by each of multiprocessing's methods."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from support.children import PATIENCE

HEAD = """
import contextlib
import fcntl, multiprocessing, os, pickle, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from verytmp import VeryTmpPath, VeryTmpRoot

METHOD = sys.argv[1]
context = multiprocessing.get_context(METHOD)

def start(work, *args):
    process = context.Process(target=work, args=args, daemon=True)
    process.start()
    return process

def end(*processes, exitcode=0):
    for process in processes:
        process.join(60)
        assert process.exitcode == exitcode, process.exitcode
        process.close()

def late(*_):
    raise TimeoutError("a child does not answer")

def device(root):
    return root.path.stat().st_dev

def fds(root):
    return sorted(root.path._tree.filenos)

def held(pid, number):
    '''Which of a process's descriptors are in a root, as /proc tells it.'''
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.stat(f"/proc/{pid}/fd/{name}").st_dev == number:
                found.append(int(name))
        except OSError:
            pass
    return sorted(found)

def family(pid):
    yield pid
    with contextlib.suppress(OSError):  # it has ended meanwhile
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    children = file.read().split()
                for child in children:
                    yield from family(int(child))

def holders(number):
    found = {}
    for pid in family(os.getpid()):
        with contextlib.suppress(OSError):
            if here := held(pid, number):
                found[pid] = here
    return found
"""

# Who sends a descriptor closes its own copy once the other side has it, so it may take a moment.
TAIL = """
if __name__ == "__main__":
    signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    root = VeryTmpRoot()
    number = device(root)
    assert holders(number) == {os.getpid(): fds(root)}
    main(root)
    assert not multiprocessing.active_children()
    root.close()
    deadline = time.monotonic() + 60
    while holders(number):
        assert time.monotonic() < deadline, holders(number)
        time.sleep(0.01)
"""


def run(host: Path, method: str, code: str, head: str = HEAD, tail: str = TAIL) -> None:
    script = host / "script.py"
    script.write_text(f"{head}\n{textwrap.dedent(code)}\n{tail}")
    program = [sys.executable, "-B", "-W", "error", str(script), method]
    environment = os.environ | {"TMPDIR": str(host)}
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert os.listdir(host) == ["script.py"]
