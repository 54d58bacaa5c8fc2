"""Views, frozen roots and clones on their way to another process, which did not make them."""

from __future__ import annotations

from pathlib import Path

from support.travels import run


def test_a_view_is_not_taken_for_its_root(host: Path, method: str) -> None:
    """Both have one token. Each comes as what it is, also where the other one is there already."""
    code = """
    def work(here):
        root, view = here.recv(), here.recv()
        (root / "f").write_text("changed")
        assert (view / "f").read_text() == "changed"
        try:
            (view / "f").write_text("no")
        except OSError as error:
            assert error.errno == 30
        else:
            raise AssertionError
        again = here.recv()
        assert again.path == view.path != root.path

    def main(root):
        (root / "f").touch()
        view = root.read_only()
        here, there = context.Pipe()
        process = start(work, there)
        there.close()
        for each in (root, view, view):
            here.send(each)
        end(process)
        view.close()
    """
    run(host, method, code)


def test_a_clone_is_cloned_by_copying(host: Path, method: str) -> None:
    """Whoever has not made it has not the layers. It begins as the clone all the same."""
    code = """
    def work(frozen, clone):
        assert frozen.frozen and not clone.frozen
        clone.freeze() if os.geteuid() == 0 else None
        for root in (frozen, clone):
            with root.clone() as again:
                expected = "frozen" if root is frozen else "cloned"
                assert [(path.name, path.read_text()) for path in again.path.iterdir()] == [("f", expected)]
                (again / "f").write_text("changed")

    def main(root):
        (root / "f").write_text("frozen")
        root.freeze()
        with root.clone() as clone:
            (clone / "f").write_text("cloned")
            end(start(work, root, clone))
            assert (root / "f").read_text() == "frozen"
            assert (clone / "f").read_text() == "cloned"
    """
    run(host, method, code)


def test_a_root_that_is_closed_while_it_is_sent(host: Path, method: str) -> None:
    """Its numbers are other files' then, which the other process must not get."""
    code = """
    def work(here):
        path = here.recv()
        here.send(path.read_text())

    def main(root):
        from verytmp._confined import pickling

        send_handle, files = pickling.send_handle, []

        def closing(*arguments):
            if not files:
                root.close()
                files.extend(open("/etc/passwd") for _ in range(8))
            send_handle(*arguments)

        pickling.send_handle = closing
        (root / "f").write_text("its own")
        here, there = context.Pipe()
        process = start(work, there)
        there.close()
        here.send(root / "f")
        assert here.recv() == "its own"
        end(process)
        for file in files:
            file.close()
    """
    run(host, method, code)


def test_a_root_that_is_closed_while_a_process_is_started(host: Path) -> None:
    """The process gets its descriptors by their numbers, which are another root's then."""
    code = """
    def received(pickled):
        try:
            return repr(pickle.loads(pickled))
        except OSError as error:
            return str(error)

    class ClosedMeanwhile:
        def __init__(self, root):
            self.root, self.others = root, []

        def __reduce__(self):
            pickled = bytes(multiprocessing.reduction.ForkingPickler.dumps(self.root))
            self.root.close()
            self.others.extend(VeryTmpRoot() for _ in range(8))
            assert {*fds(self.root)} & {number for other in self.others for number in fds(other)}
            self.others.extend(open(os.devnull) for _ in range(16))  # multiprocessing's pipes take no number of ours
            return received, (pickled,)

    def work(answer):
        assert "the root is gone" in answer, answer

    def main(root):
        sent = ClosedMeanwhile(root)
        end(start(work, sent))
        for other in sent.others:
            other.close()
    """
    run(host, "spawn", code)


def test_a_root_whose_descriptors_the_receiver_has_closed(host: Path) -> None:
    """It has inherited the root, and closed all descriptors since. What it is sent is not taken for that one."""
    code = """
    def work(root, here):
        os.closerange(3, here.fileno())
        os.closerange(here.fileno() + 1, 1000)
        assert not os.path.exists(root)
        assert here.recv().joinpath("f").read_text() == "potatoes"

    def main(root):
        (root / "f").write_text("potatoes")
        here, there = context.Pipe()
        process = start(work, root, there)
        there.close()
        here.send(root.path)
        end(process)
    """
    run(host, "fork", code)
