"""Roots and paths on their way to another process: arguments, pipes, queues, pools, managers; and what is refused."""

from __future__ import annotations

from pathlib import Path

from support.travels import run

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
        assert str(path) == f"/proc/{os.getpid()}/fd/{root.path._tree.fd}/{root.path._tree.token}/d/f"
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
        assert len(held(os.getpid(), device(root))) == 2
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
        assert held(os.getpid(), device(root)) == fds(root)
        here.send("done")
        end(child)
    """
    run(host, method, code)


def test_a_subclass(host: Path, method: str) -> None:
    code = """
    class Marked(VeryTmpPath):
        __slots__ = ()

    def work(here):
        path = here.recv()
        assert type(path) is type(path.parent) is Marked
        here.send(path.read_text())

    def main(root):
        (root / "f").write_text("potatoes")
        marked = object.__new__(Marked)
        marked._tree, marked._rel, marked._name = root.path._tree, "f", None
        here, there = context.Pipe()
        child = start(work, there)
        here.send(marked)
        assert here.recv() == "potatoes"
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
