"""Roots and paths on their way through multiprocessing: they mean the same tree there, and nothing of them stays.

What multiprocessing starts (its tracker, its fork server, its sharing thread) stays in a process for good. So each test
is a program of its own: `main` runs in it, the other functions in its children, and they assert there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
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
    return os.fstat(root.fileno()).st_dev

def held(pid, number):
    '''Which of a process's descriptors are in a root, as /proc tells it.'''
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.stat(f"/proc/{pid}/fd/{name}").st_dev == number:
                found.append(int(name))
        except OSError:
            pass
    return found

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
    assert holders(number) == {os.getpid(): [root.fileno()]}
    main(root)
    assert not multiprocessing.active_children()
    root.close()
    deadline = time.monotonic() + 60
    while holders(number):
        assert time.monotonic() < deadline, holders(number)
        time.sleep(0.01)
"""


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(host: Path, method: str, code: str, head: str = HEAD, tail: str = TAIL) -> None:
    script = host / "script.py"
    script.write_text(f"{head}\n{textwrap.dedent(code)}\n{tail}")
    program = [sys.executable, "-B", "-W", "error", str(script), method]
    environment = os.environ | {"TMPDIR": str(host)}
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(host) == ["script.py"]


# -- the ways to travel ------------------------------------------------------------------------------------------------


def test_arguments(host: Path, method: str) -> None:
    code = """
    def work(root, path, other):
        assert type(root) is VeryTmpRoot
        assert type(path) is type(other) is VeryTmpPath
        assert path == root / "d" / "f"
        assert hash(path) == hash(root / "d" / "f")
        assert path.parent.parent == root.path
        assert path.relative_to(root.path).parts == ("d", "f")
        assert repr(path) == "VeryTmpPath('/d/f')"
        assert str(path) == f"/proc/{os.getpid()}/fd/{root.fileno()}/d/f"
        assert other != root / "f"
        assert path.read_text() == "from the parent"
        assert [p.name for p in root.path.iterdir()] == ["d"]
        path.write_text("from the child")
        (path.parent / "new").mkdir()
        other.write_text("another root")
        assert not (root / "f").exists()

    def main(root):
        with VeryTmpRoot() as second:
            path = root / "d" / "f"
            path.parent.mkdir()
            path.write_text("from the parent")
            end(start(work, root, path, second / "f"))
            assert path.read_text() == "from the child"
            assert (root / "d" / "new").is_dir()
            assert os.listdir(os.fspath(second)) == ["f"]
    """
    run(host, method, code)


def test_a_pipe(host: Path, method: str) -> None:
    code = """
    def work(here):
        first = here.recv()
        second = here.recv()
        root = here.recv()
        again = here.recv()
        assert first.parent == second.parent == root.path
        assert again == first and len({first, second, again}) == 2
        first.rename(second)
        assert second.read_text() == "by name" and not again.exists()
        assert len(held(os.getpid(), device(root))) == 1
        here.send(second)
        here.send(root)
        here.recv()

    def main(root):
        (root / "f").write_text("by name")
        here, there = context.Pipe()
        child = start(work, there)
        for thing in (root / "f", root / "g", root, root / "f"):
            here.send(thing)
        path, back = here.recv(), here.recv()
        assert path == root / "g"
        assert path.read_text() == "by name"
        assert back.path == root.path
        assert held(os.getpid(), device(root)) == [root.fileno()]
        here.send("done")
        end(child)
    """
    run(host, method, code)


def test_queues(host: Path, method: str) -> None:
    code = """
    def work(there, back):
        while path := there.get():
            (path / "new").mkdir()
            back.put(path / "new")
        back.put(None)
        there.get()

    def main(root):
        pairs = [(kind(), kind()) for kind in (context.Queue, context.SimpleQueue, context.JoinableQueue)]
        children = [start(work, *pair) for pair in pairs]
        for number, (there, back) in enumerate(pairs):
            folders = [root / f"{number}{name}" for name in "abc"]
            for folder in folders:
                folder.mkdir()
                there.put(folder)
            there.put(None)
            assert [*iter(back.get, None)] == [folder / "new" for folder in folders]
            assert all((folder / "new").is_dir() for folder in folders)
            there.put(None)
        end(*children)
        for pair in pairs:
            for queue in pair:
                queue.close()
                if hasattr(queue, "join_thread"):
                    queue.join_thread()
    """
    run(host, method, code)


def test_a_pool(host: Path, method: str) -> None:
    """It is closed, not terminated: workers that are killed leave multiprocessing's own temporary directories."""
    code = """
    def begin(root):
        global mine
        mine = root

    def work(path):
        assert path == mine / path.name
        path.write_text(path.name)
        return path

    def main(root):
        paths = [root / str(number) for number in range(40)]
        with context.Pool(2, begin, (root,)) as pool:
            assert pool.map(work, paths) == paths
            assert set(pool.imap_unordered(work, paths, 3)) == set(paths)
            assert pool.apply(work, (root / "last",)) == root / "last"
            pool.close()
            pool.join()
        assert {p.name: p.read_text() for p in root.path.iterdir()} == {p.name: p.name for p in [*paths, root / "last"]}
    """
    run(host, method, code)


def test_an_executor(host: Path, method: str) -> None:
    code = """
    def work(path, root):
        assert path.parent == root.path
        path.write_text(path.name)
        return path

    def main(root):
        paths = [root / str(number) for number in range(20)]
        with ProcessPoolExecutor(2, context) as executor:
            assert list(executor.map(work, paths, [root] * 20)) == paths
        assert all(path.read_text() == path.name for path in paths)
    """
    run(host, method, code)


def test_a_manager(host: Path, method: str) -> None:
    code = """
    def main(root):
        with context.Manager() as manager:
            kept = manager.dict(a=root / "a")
            kept["b"] = root / "b"
            assert dict(kept) == {"a": root / "a", "b": root / "b"}
    """
    run(host, method, code)


# -- what they mean at the other end -----------------------------------------------------------------------------------


def test_one_that_comes_back_is_the_same(host: Path, method: str) -> None:
    """Also when the parent has never sent it: a forked child has it without."""
    code = """
    def work(root, path, there):
        there.send(path)
        there.send(root)
        there.send([path.parent, root / "new"])
        there.recv()

    def main(root):
        here, there = context.Pipe()
        child = start(work, root, root / "f", there)
        path, back, (parent, new) = here.recv(), here.recv(), here.recv()
        assert path == root / "f" and hash(path) == hash(root / "f")
        assert parent == root.path == back.path == path.parent
        new.write_text("x")
        assert (root / "new").read_text() == "x"
        assert new.rename(root / "f") == root / "f"
        here.send(None)
        end(child)
    """
    run(host, method, code)


def test_from_child_to_child(host: Path, method: str) -> None:
    code = """
    def first(path, there):
        there.send(path / "f")
        there.recv()

    def second(root, here, back):
        path = here.recv()
        here.send(None)
        assert path == root / "f"
        path.write_text("passed on")
        back.send(path)
        back.recv()

    def main(root):
        (one, other), (here, back) = context.Pipe(), context.Pipe()
        children = start(first, root.path, one), start(second, root, other, back)
        assert here.recv() == root / "f"
        here.send(None)
        end(*children)
        assert (root / "f").read_text() == "passed on"
    """
    run(host, method, code)


def test_one_that_a_child_has_made(host: Path, method: str) -> None:
    """It outlives the child."""
    code = """
    def work(there):
        root = VeryTmpRoot(size="1m")
        (root / "f").write_text("a child's")
        there.send(root)
        there.send(root / "f")
        there.recv()

    def main(_):
        here, there = context.Pipe()
        child = start(work, there)
        root, path = here.recv(), here.recv()
        here.send(None)
        end(child)
        assert path == root / "f"
        assert path.read_text() == "a child's"
        assert root.usage().total == 1 << 20
        number = device(root)
        assert holders(number) == {os.getpid(): [root.fileno()]}
        del root
        assert path.read_text() == "a child's"
        del path
        assert not holders(number)
    """
    run(host, method, code)


def test_symlinks_there(host: Path, method: str) -> None:
    """Both kinds of mount know themselves again."""
    code = """
    def work(*roots):
        assert [root.nosymfollow for root in roots] == [True, False]
        for root in roots:
            assert (root / "link").read_text() == "inside"
            assert (root / "out").resolve() == root / "etc" / "passwd"
            assert not (root / "out").exists()

    def main(root):
        with VeryTmpRoot(nosymfollow=False) as other:
            for made in (root, other):
                (made / "f").write_text("inside")
                (made / "link").symlink_to("/f")
                (made / "out").symlink_to("/etc/passwd")
            end(start(work, root, other))
    """
    run(host, method, code)


def test_a_number_that_is_used_again(host: Path, method: str) -> None:
    """The kernel gives the device number of a root that is gone to the next one."""
    code = """
    def work(there):
        while path := there.recv():
            there.send(path)

    def main(_):
        here, there = context.Pipe()
        child = start(work, there)
        numbers, old = [], []
        for _ in range(5):
            root = VeryTmpRoot()
            numbers.append(device(root))
            here.send(root / "f")
            back = here.recv()
            assert back == root / "f"
            assert back not in old
            back.write_text("x")
            assert (root / "f").read_text() == "x"
            del back
            root.close()
            old.append(root / "f")
        here.send(None)
        end(child)
        assert len(set(numbers)) < 5  # or this test tests nothing
    """
    run(host, method, code)


# -- the descriptor ----------------------------------------------------------------------------------------------------


def test_the_descriptor_is_not_inherited(host: Path, method: str) -> None:
    """Whether it came as an argument, or by a pipe: first, or again."""
    code = """
    def check(path):
        (number,) = held(os.getpid(), path.stat().st_dev)
        assert not os.get_inheritable(number)
        assert fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert fcntl.fcntl(number, fcntl.F_GETFL) & os.O_PATH

    def work(path, here):
        check(path)
        again, other = here.recv(), here.recv()
        check(again)
        check(other)
        assert again.parent == path.parent != other.parent

    def main(root):
        (root / "f").touch()
        here, there = context.Pipe()
        child = start(work, root / "f", there)
        with VeryTmpRoot() as second:
            here.send(root / "f")
            here.send(second.path)
            end(child)
    """
    run(host, method, code)


def test_many_paths_are_one_descriptor(host: Path, method: str) -> None:
    code = """
    def work(paths, here):
        more = here.recv()
        assert paths == more and len(paths) == 1000
        assert len(held(os.getpid(), paths[0].parent.stat().st_dev)) == 1

    def main(root):
        paths = [root / str(number) for number in range(1000)]
        here, there = context.Pipe()
        child = start(work, paths, there)
        here.send(paths)
        end(child)
    """
    run(host, method, code)


def test_it_stays_as_long_as_the_child_uses_it(host: Path, method: str) -> None:
    """The parent's root may be closed by then."""
    code = """
    def work(path, here):
        here.send("ready")
        here.recv()
        assert path.read_text() == "still there"
        path.parent.joinpath("g").touch()

    def main(root):
        (root / "f").write_text("still there")
        here, there = context.Pipe()
        child = start(work, root / "f", there)
        here.recv()
        root.close()
        here.send("closed")
        end(child)
    """
    run(host, method, code)


def test_the_childs_end_is_its_own(host: Path, method: str) -> None:
    code = """
    ACTS = [
        (lambda root: None, 0),
        (lambda root: root.close(), 0),
        (lambda root: os._exit(3), 3),
        (lambda root: sys.exit(4), 4),
        (lambda root: os.kill(os.getpid(), signal.SIGKILL), -9),
    ]

    def work(root, number):
        (root / "f").write_text(str(number))
        ACTS[number][0](root)

    def main(root):
        for number, (_, exitcode) in enumerate(ACTS):
            end(start(work, root, number), exitcode=exitcode)
            assert not root.closed
            assert (root / "f").read_text() == str(number)
            assert holders(device(root)) == {os.getpid(): [root.fileno()]}
    """
    run(host, method, code)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_closed_root_does_not_travel(host: Path, method: str) -> None:
    code = """
    def work(*_):
        raise AssertionError("nobody was to be started")

    def refused(call, *args):
        try:
            call(*args)
        except ValueError as error:
            assert str(error) == "operation on a closed VeryTmpRoot", error
        else:
            raise AssertionError(call)

    def main(root):
        path = root / "f"
        here, there = context.Pipe()
        queue = context.SimpleQueue()
        here.send(path)
        assert there.recv() == path
        root.close()
        for thing in (path, root, [path]):
            refused(here.send, thing)
            refused(queue.put, thing)
            if METHOD != "fork":  # which sends nothing
                refused(start, work, thing)
        assert not there.poll() and queue.empty()
    """
    run(host, method, code)


def test_a_plain_pickle_is_refused(host: Path, method: str) -> None:
    """Before anything has travelled, and after."""
    code = """
    def refused(thing):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            try:
                pickle.dumps(thing, protocol)
            except TypeError as error:
                assert "cannot be pickled" in str(error), error
            else:
                raise AssertionError(thing)

    def work(root, path):
        for thing in (root, path):
            refused(thing)

    def main(root):
        for _ in range(2):
            for thing in (root, root / "f", [root.path]):
                refused(thing)
            here, there = context.Pipe()
            here.send(root / "f")
            assert there.recv() == root / "f"
        if METHOD != "fork":  # there is a thread now
            end(start(work, root, root / "f"))
    """
    run(host, method, code)


def test_multiprocessing_may_come_later(host: Path, method: str) -> None:
    """The first thing that it ever pickles is a path, of a root that is older than it."""
    code = """
    import sys
    from verytmp import VeryTmpRoot

    def work(path):
        path.write_text("x")

    if __name__ == "__main__":
        root = VeryTmpRoot()
        assert "multiprocessing" not in sys.modules
        import multiprocessing
        for start in range(2):
            process = multiprocessing.get_context(sys.argv[1]).Process(target=work, args=(root / str(start),))
            process.start()
            process.join()
            assert process.exitcode == 0
            assert (root / str(start)).read_text() == "x"
    """
    run(host, method, code, "", "")
