"""Roots and paths at the other end of their way: what they mean there, and whose the descriptor is."""

from __future__ import annotations

from pathlib import Path

from support.travels import run

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
        assert holders(number) == {os.getpid(): fds(root)}
        del root
        assert path.read_text() == "a child's"
        del path
        assert not holders(number)
    """
    run(host, method, code)


def test_a_sender_that_has_ended(host: Path, method: str) -> None:
    code = """
    def work(there):
        there.send(VeryTmpRoot().path)

    def main(_):
        here, there = context.Pipe()
        end(start(work, there))
        before = os.listdir("/proc/self/fd")
        try:
            here.recv()
        except FileNotFoundError as error:
            assert "ended before it was received. Let that process wait" in str(error)
        else:
            raise AssertionError
        assert os.listdir("/proc/self/fd") == before
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
        while len(set(numbers)) == len(numbers) < 100 or len(numbers) < 5:  # unless another process gets it
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
        assert len(set(numbers)) < len(numbers)  # or this test tests nothing
    """
    run(host, method, code)


# -- the descriptor ----------------------------------------------------------------------------------------------------


def test_the_descriptor_is_not_inherited(host: Path, method: str) -> None:
    """Whether it came as an argument, or by a pipe: first, or again."""
    code = """
    def check(path):
        numbers = held(os.getpid(), path.stat().st_dev)
        assert len(numbers) == 2
        for number in numbers:
            assert not os.get_inheritable(number)
            assert fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC

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
        assert len(held(os.getpid(), paths[0].parent.stat().st_dev)) == 2

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
            assert holders(device(root)) == {os.getpid(): fds(root)}
    """
    run(host, method, code)
