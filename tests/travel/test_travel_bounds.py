"""Roots that were sent and are not received: what is kept for others is bounded, and nothing is dropped in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.travels import HEAD, run

pytestmark = pytest.mark.slow

KEPT = HEAD + "from verytmp._confined.pickling import KEPT_FOR_OTHERS\n"

# No root of the test's own: only what is sent counts.
TAIL = """
if __name__ == "__main__":
    signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    main()
"""


@pytest.mark.parametrize("end", ["del root", "root.close()"], ids=["dropped", "closed"])
def test_what_is_never_received_is_bounded(host: Path, method: str, end: str) -> None:
    code = f"""
    def main():
        here, there = context.Pipe()
        devices = []
        for number in range(60):
            root = VeryTmpRoot(size="1m")
            (root / "f").write_text(str(number))
            devices.append(device(root))
            here.send(root / "f")
            {end}
            if number % 10 == 9:
                received = [there.recv_bytes() for _ in range(10)]  # and nobody asks for what it names
        left = [fd for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{{fd}}")]
        assert len(left) < 2 * KEPT_FOR_OTHERS + 20, len(left)
    """
    run(host, method, code, KEPT, TAIL)


def test_the_last_ones_are_received_and_older_ones_are_an_error(host: Path, method: str) -> None:
    code = """
    def main():
        here, there = context.Pipe()
        many = KEPT_FOR_OTHERS + 5
        for number in range(many):
            root = VeryTmpRoot(size="1m")
            (root / "f").write_text(str(number))
            here.send(root / "f")
        del root
        texts, gone = [], 0
        for number in range(many):
            try:
                texts.append(there.recv().read_text())
            except FileNotFoundError as error:
                assert "the root is gone" in str(error)
                gone += 1
        assert texts == [str(number) for number in range(many - KEPT_FOR_OTHERS, many)], texts
        assert gone == 5
    """
    run(host, method, code, KEPT, TAIL)


def test_living_roots_are_sent_however_many_there_are(host: Path, method: str) -> None:
    code = """
    def main():
        here, there = context.Pipe()
        roots = [VeryTmpRoot(size="1m") for _ in range(3 * KEPT_FOR_OTHERS)]
        for root in roots:
            here.send(root.path)
            here.send(root)
        assert [there.recv() for _ in range(2 * len(roots))][::2] == [root.path for root in roots]
    """
    run(host, method, code, KEPT, TAIL)


def test_a_path_in_a_queue_whose_root_is_closed_arrives(host: Path, method: str) -> None:
    """As what it is by then: a path of a closed root. It was dropped, and the receiver waited for ever."""
    code = """
    def main():
        queue = context.Queue()
        root = VeryTmpRoot()
        path = root / "f"
        root.close()
        queue.put(path)
        queue.put("next")
        got = queue.get()
        assert got.name == "f" and type(got) is VeryTmpPath
        try:
            got.read_text()
        except ValueError as error:
            assert "closed VeryTmpRoot" in str(error)
        else:
            raise AssertionError("it can be read")
        assert queue.get() == "next"
        queue.close()
        queue.join_thread()
        here, there = context.Pipe()
        try:
            here.send(path)
        except ValueError as error:
            assert "closed VeryTmpRoot" in str(error)
        else:
            raise AssertionError("it was sent")
    """
    run(host, method, code, KEPT, TAIL)


def test_a_root_closed_while_it_is_on_its_way(host: Path, method: str) -> None:
    code = """
    def work(here):
        here.send("ready")
        here.poll(None)
        time.sleep(0.2)
        path = here.recv()
        assert path.read_text() == "potatoes"
        here.send("read")

    def main():
        here, there = context.Pipe()
        child = start(work, there)
        here.recv()
        with VeryTmpRoot() as root:
            (root / "f").write_text("potatoes")
            text = str(root.path)
            here.send(root / "f")
        assert not os.path.exists(text)
        assert here.recv() == "read"
        end(child)
    """
    run(host, method, code, KEPT, TAIL)


def test_threads_send_while_roots_come_and_go(host: Path, method: str) -> None:
    code = """
    import threading

    def main():
        errors = []

        def go():
            try:
                here, there = context.Pipe()
                for _ in range(40):
                    root = VeryTmpRoot(size="1m")
                    here.send(root.path)
                    if _ % 2:
                        root.close()
                    assert there.recv().name == ""
                    del root
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == [], errors
    """
    run(host, method, code, KEPT, TAIL)


@pytest.mark.parametrize("end", ["del root", "root.close()"], ids=["dropped", "closed"])
def test_what_a_program_has_in_place_of_the_descriptors_is_not_given(host: Path, method: str, end: str) -> None:
    """It has closed all descriptors, and opened its own."""
    code = f"""
    def main():
        here, there = context.Pipe()
        root = VeryTmpRoot()
        here.send(root / "f")
        for fd in fds(root):
            os.dup2(os.open("/", os.O_PATH), fd)
        {end}
        try:
            there.recv()
        except FileNotFoundError as error:
            assert "the root is gone" in str(error)
        else:
            raise AssertionError("it was received")
    """
    run(host, method, code, KEPT, TAIL)
