"""Roots that are made together, and before they are asked for: nobody can tell them from those that are made alone."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support import ground, kernel
from support.children import HIGH, in_child
from support.factories import MARK, by_helper, goes, helpers
from support.kernel import Rule

from verytmp import VeryTmpFactory, VeryTmpRoot, VeryTmpUnavailable, _linux, _mount, _several

MANY = 8
OPTIONS = ["size=1m", "nr_inodes=10", "mode=750", "noexec", "nosymfollow"]


def made(options: list[str] = OPTIONS, count: int = MANY) -> tuple[list[int], str]:
    """In this process, where it may mount; else in namespaces of a child's."""
    return _several.tmpfs(count, options, _mount.Steps(), private=False)


def where_it_may_mount(function: Callable[[], Any]) -> Any:
    def run() -> Any:
        if os.geteuid():
            kernel.user_namespace()
            assert kernel.libc.unshare(kernel.CLONE_NEWNS) == 0
        return function()

    return in_child(run)


def loose(root: int) -> bool:
    """Whether nothing is above a root's mount, as far up as one likes to go."""
    top = os.stat("../../..", dir_fd=root)
    return all(os.path.samestat(top, os.stat("../" * more, dir_fd=root)) for more in range(4, 12))


def test_each_is_as_if_it_were_alone() -> None:
    def make() -> None:
        roots, how = made()
        assert (len(roots), how) == (MANY, "fsopen")
        alone, _ = _mount.tmpfs(OPTIONS, _mount.Steps(), private=False)
        for root in roots:
            assert loose(root)
            assert os.readlink(f"/proc/self/fd/{root}") == "/dev/null/verytmp"
            assert not os.get_inheritable(root)
            assert os.listdir(f"/proc/self/fd/{root}") == []
            ours, theirs = os.statvfs(root), os.statvfs(alone[0])
            assert [getattr(ours, name) for name in ("f_blocks", "f_files", "f_ffree", "f_flag")] == [
                getattr(theirs, name) for name in ("f_blocks", "f_files", "f_ffree", "f_flag")
            ]
            assert os.fstat(root).st_mode & 0o7777 == 0o750
        devices = {os.fstat(root).st_dev for root in roots}
        assert len(devices) == MANY
        mounted = {line.split()[2] for line in ground.mounts()}
        assert not mounted & {f"{os.major(device)}:{os.minor(device)}" for device in devices}

    where_it_may_mount(make)


def test_each_goes_alone(machine: None) -> None:
    """When its own last descriptor is closed, whatever becomes of the others."""

    def make() -> list[float]:
        roots, _ = made(["size=64m"])
        left = []
        for root in roots:
            with open(f"/proc/self/fd/{root}/f", "wb") as file:
                file.write(bytes(32 << 20))
        for root in roots:
            before = ground.shared_memory()
            os.close(root)
            left.append((before - ground.shared_memory()) / (32 << 20))
        return left

    assert all(0.7 < freed < 1.3 for freed in where_it_may_mount(make))


def test_a_fork_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the descriptor that they hang on would keep them together, and let ".." out of each."""

    def make() -> None:
        over, hold = os.pipe()
        children: list[int] = []

        def fork_then(fd: int, to_fd: int, to_path: str) -> None:
            move_mount(fd, to_fd, to_path)
            if not children:
                children.append(os.fork())
                if children == [0]:
                    os.close(hold)
                    os.read(over, 1)
                    os._exit(0)

        move_mount = _linux.move_mount
        monkeypatch.setattr(_linux, "move_mount", fork_then)
        before = len(os.listdir("/proc/self/fd"))
        roots, _ = made()
        assert len(roots) == 1
        assert loose(roots[0])
        assert len(os.listdir("/proc/self/fd")) == before + 1
        os.close(hold)
        os.waitpid(children[0], 0)
        roots, _ = made()
        assert len(roots) == MANY

    where_it_may_mount(make)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EPERM], ids=errno.errorcode.get)
def test_where_a_mount_takes_no_other_below_it(number: int) -> None:
    """Before Linux 6.15 (EINVAL), or under a filter: then each is made alone, and it is not tried for ever."""

    def make() -> tuple[int, int, bool, bool]:
        kernel.seccomp(Rule("move_mount", number))
        before = len(os.listdir("/proc/self/fd"))
        roots, _ = made()
        return len(roots), len(os.listdir("/proc/self/fd")) - before, loose(roots[0]), _several._absent

    assert where_it_may_mount(make) == (1, 1, True, number != errno.EPERM)


def test_what_the_kernel_refuses() -> None:
    def make() -> None:
        with pytest.raises(OSError, match="Bad value for 'mpol'"):
            made(["mpol=potatoes"])
        kernel.fill_descriptor_table(spare=6)
        roots, _ = made()
        assert len(roots) == 1
        kernel.fill_descriptor_table()
        with pytest.raises(OSError, match="Too many open files"):
            made()

    where_it_may_mount(make)


# -- before they are asked for -----------------------------------------------------------------------------------------

WAYS = [pytest.param(where_it_may_mount, id="directly"), pytest.param(by_helper, id="by a helper")]


def many(factory: VeryTmpFactory, **options: Any) -> list[VeryTmpRoot]:
    return [factory.root(**options) for _ in range(40)]


@pytest.mark.parametrize("way", WAYS)
def test_roots_in_stock(way: Callable[..., Any]) -> None:
    def make() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with VeryTmpFactory() as factory:
            for options in ({"size": "1m"}, {"size": "2m", "mode": 0o755}, {"size": "1m"}):
                roots = many(factory, **options)
                assert len({root.path.stat().st_dev for root in roots}) == 40
                for root in roots:
                    assert root.usage().total == int(str(options["size"])[0]) << 20
                    assert root.path.stat().st_mode & 0o777 == options.get("mode", 0o700)
                    assert list(root.path.iterdir()) == []
                    assert loose(root.fileno())
            numbers = len(os.listdir("/proc/self/fd"))
            assert numbers - before <= 40 + 8  # those in stock have no numbers
            del roots, root
        with pytest.raises(ValueError, match="closed"):
            factory()

    way(make)


@pytest.mark.parametrize("way", WAYS)
def test_their_times_are_those_of_the_asking(way: Callable[..., Any]) -> None:
    def make() -> None:
        with VeryTmpFactory() as factory:
            many(factory)
            time.sleep(0.1)
            start = time.time_ns() - 10_000_000  # the kernel's clock for files ticks every 4 ms, or every 10
            for root in many(factory):
                status = root.path.stat()
                assert min(status.st_mtime_ns, status.st_ctime_ns, status.st_atime_ns) >= start

    way(make)


@pytest.mark.parametrize("fork", ["os.fork", "fork(3)"])
@pytest.mark.parametrize("way", WAYS)
def test_a_forked_child_has_nothing_of_the_stock(way: Callable[..., Any], fork: str, machine: None) -> None:
    """A root that its parent takes later goes when the parent lets go of it; and what the child makes is its own."""

    def make() -> None:
        with VeryTmpFactory() as factory:
            many(factory)
            over, hold = os.pipe()
            told, tell = os.pipe()
            pid = os.fork() if fork == "os.fork" else ctypes.PyDLL(None).fork()
            if pid == 0:
                os.close(hold)
                taken = many(factory)
                os.write(tell, b"+" if len({root.path.stat().st_dev for root in taken}) == 40 else b"-")
                os.read(over, 1)
                os._exit(0)
            assert os.read(told, 1) == b"+"
            before = ground.shared_memory()
            for root in many(factory):
                with root:
                    (root / "f").write_bytes(bytes(16 << 20))
            for _ in range(100):  # others on the machine fill and free some too
                grown = ground.shared_memory() - before
                if grown < 64 << 20:
                    break
                time.sleep(0.1)
            assert grown < 64 << 20
            os.close(hold)
            os.waitpid(pid, 0)

    way(make)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take another group")
def test_what_was_made_as_another_user_stays_in_stock() -> None:
    def make() -> None:
        with VeryTmpFactory() as factory:
            many(factory)
            os.setegid(1)
            assert {root.path.stat().st_gid for root in many(factory)} == {1}
            os.setegid(0)
            assert {root.path.stat().st_gid for root in many(factory)} == {0}

    in_child(make)


def test_a_helper_that_dies_is_replaced() -> None:
    def make() -> None:
        with VeryTmpFactory() as factory:
            many(factory)
            [first] = helpers()
            os.kill(int(first), signal.SIGKILL)
            assert len({root.path.stat().st_dev for root in many(factory)}) == 40
            [second] = helpers()
            assert first != second

    by_helper(make)


@pytest.mark.parametrize("number", [errno.EINVAL, 0], ids=["an old kernel", "a filter that kills"])
def test_where_the_helper_makes_each_alone(number: int) -> None:
    def make() -> None:
        kernel.seccomp(Rule("move_mount", number))
        with VeryTmpFactory() as factory:
            assert len({root.path.stat().st_dev for root in many(factory)}) == 40
            made_by = helpers()
            assert len({root.path.stat().st_dev for root in many(factory)}) == 40
            assert helpers() == made_by  # and not a new one each time
            assert "resident" in repr(factory())

    by_helper(make)


@pytest.mark.parametrize("way", WAYS)
def test_a_full_descriptor_table(way: Callable[..., Any]) -> None:
    def make() -> None:
        with VeryTmpFactory() as factory:
            many(factory)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            taken = kernel.fill_descriptor_table()
            with pytest.raises(OSError, match="Too many open files"):
                factory()
            os.close(taken.pop())
            with factory() as root:
                (root / "d").mkdir()
            for number in taken:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert len({root.path.stat().st_dev for root in many(factory)}) == 40

    way(make)


def in_a_namespace(function: Callable[[], Any]) -> Any:
    """Where it may mount, and is nobody to the machine."""

    def run() -> Any:
        kernel.user_namespace()
        assert kernel.libc.unshare(kernel.CLONE_NEWNS) == 0
        return function()

    return in_child(run)


@pytest.mark.parametrize("way", [in_a_namespace, by_helper], ids=["directly", "by a helper"])
def test_as_many_on_their_way_as_the_kernel_allows_a_user(way: Callable[..., Any]) -> None:
    """More are refused (ETOOMANYREFS). Then they are made when they are asked for, or that is told; none is lost."""

    def make() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        factories = [VeryTmpFactory() for _ in range(12)]
        met: list[int | None] = []
        before = ground.descriptors()
        for factory in factories:
            factory._resident.stocked = 8  # as for a larger table
            for _ in range(8):  # with the last one, seven more are made
                try:
                    factory().close()
                except VeryTmpUnavailable as error:
                    met.append(error.errno)
        left = ground.new_descriptors(before)
        assert [path for path in left.values() if path.startswith("/dev/null")] == []
        assert set(met) <= ({errno.ETOOMANYREFS} if way is by_helper else set())

    way(make)


@pytest.mark.parametrize("way", WAYS)
def test_refusals(way: Callable[..., Any]) -> None:
    """They are about what was asked for, and change nothing for others."""

    def make() -> None:
        with VeryTmpFactory() as factory:
            for _ in range(5):
                with pytest.raises(ValueError, match="mpol"):
                    factory(mpol="potatoes")
            many(factory)
            with pytest.raises(ValueError, match="mpol"):
                factory(mpol="potatoes")
            many(factory)

    way(make)


@pytest.mark.parametrize("way", WAYS)
def test_threads(way: Callable[..., Any]) -> None:
    def make() -> None:
        roots: list[VeryTmpRoot] = []
        errors: list[BaseException] = []

        def work(factory: VeryTmpFactory, size: int) -> None:
            try:
                for number in range(60):
                    root = factory(size=f"{size if number % 7 else 3}m")
                    assert root.usage().total >> 20 == (size if number % 7 else 3)
                    roots.append(root)
            except BaseException as error:
                errors.append(error)

        with VeryTmpFactory() as factory:
            threads = [threading.Thread(target=work, args=(factory, size)) for size in (1, 1, 2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert errors == []
        assert len({root.path.stat().st_dev for root in roots}) == 180

    way(make)


def test_it_is_all_gone_with_the_factory() -> None:
    """The helper, and the descriptors."""

    def make() -> None:
        before = ground.descriptors()
        factory = VeryTmpFactory()
        many(factory)
        factory.close()
        assert goes(os.environ[MARK])
        del factory
        assert ground.new_descriptors(before) == {}

    by_helper(make)


@pytest.mark.parametrize("way", [by_helper, in_child])
def test_who_guards_sockets(way: Callable[..., Any]) -> None:
    """As pytest-socket does, so that tests do not talk to the network."""

    def make() -> tuple[int, dict[int, str]]:
        with VeryTmpFactory() as factory:
            factory.root().close()
            before = ground.descriptors()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(socket, "socket", None)
                for _ in range(8):
                    factory.root().close()
                VeryTmpRoot().close()
            with VeryTmpFactory() as other:
                roots = [other.root() for _ in range(4)]
                made = len(roots)
                for root in roots:
                    root.close()
            del roots, root
        return made, {number: name for number, name in ground.new_descriptors(before).items() if "epoll" not in name}

    assert way(make) == (4, {})


def test_a_factory_that_is_closed_meanwhile_keeps_nothing() -> None:
    def race() -> list[object]:
        kept: list[object] = []
        for _ in range(20):
            factory = VeryTmpFactory()

            def use(factory: VeryTmpFactory = factory) -> None:
                try:
                    while True:
                        factory.root().close()
                except ValueError:
                    pass

            threads = [threading.Thread(target=use) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.005)
            factory.close()
            for thread in threads:
                thread.join()
            kept += [factory._resident.stock, factory._resident.spare]
        return kept

    assert set(in_child(race)) == {None}


@pytest.mark.parametrize("way", [by_helper, in_child])
def test_a_program_that_closes_all_descriptors(way: Callable[..., Any]) -> None:
    """As daemons do. Roots that were in stock are gone with it; the next ones are made anew."""

    def make() -> list[bool]:
        factory = VeryTmpFactory()
        for _ in range(4):
            factory.root().close()
        os.closerange(3, HIGH)
        made = []
        for _ in range(3):
            try:
                with factory.root() as root:
                    made.append(root.path.is_dir())
            except VeryTmpUnavailable:
                made.append(False)
        return made

    assert way(make) == [True, True, True]


@pytest.mark.parametrize("then", [VeryTmpFactory.close, VeryTmpFactory.root], ids=["close", "root"])
@pytest.mark.parametrize("way", [by_helper, in_child])
def test_what_has_taken_their_numbers_is_let_be(way: Callable[..., Any], then: Callable[..., object]) -> None:
    """By such a program, before it makes another root, or closes the factory."""

    def make() -> list[int]:
        factory = VeryTmpFactory()
        for _ in range(4):
            factory.root().close()
        os.closerange(3, HIGH)
        pairs = [[end.detach() for end in socket.socketpair()] for _ in range(8)]
        then(factory)
        return [os.write(one, b"x") + len(os.read(other, 9)) for one, other in pairs]

    assert way(make) == [2] * 8
