"""The factory: its roots, and what it refuses."""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import gc
import os
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from support import host_state, kernel, refusals
from support.children import in_child
from support.factories import by_helper, helpers, killed
from support.kernel import Rule

import verytmp
from verytmp import VeryTmpFactory, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable
from verytmp._mounting.refusals import LastRefusal

# -- roots -------------------------------------------------------------------------------------------------------------


def test_it_is_loaded_when_it_is_asked_for() -> None:
    code = "import sys, verytmp; early = 'verytmp._factory' in sys.modules; verytmp.VeryTmpFactory"
    code += "; print(early, 'verytmp._factory' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False True\n"
    with pytest.raises(AttributeError, match="module 'verytmp' has no attribute 'VeryTmpFactories'"):
        _ = verytmp.VeryTmpFactories


def test_roots_are_made_directly_where_they_can_be() -> None:
    with VeryTmpRoot() as alone, VeryTmpFactory() as factory, factory() as root:
        assert ("directly" in repr(alone)) == ("directly" in repr(root))
        assert ("a helper process" in repr(root)) == ("child" in repr(alone))


@pytest.mark.parametrize("way", [in_child, by_helper])
def test_roots(way: Callable[..., Any]) -> None:
    def make() -> None:
        with VeryTmpFactory(size="1m", nr_inodes=10) as factory:
            roots = [factory(), factory.root(), factory(size="2m"), factory(size=None, mode=0o750)]
            assert [root.usage().total >> 20 for root in roots[:3]] == [1, 1, 2]
            assert roots[3].usage().total > 16 << 20
            assert [oct(root.path.stat().st_mode & 0o7777) for root in roots] == ["0o700"] * 3 + ["0o750"]
            assert len({root.path.stat().st_dev for root in roots}) == 4
            for root in roots:
                assert type(root) is VeryTmpRoot
                assert root.nosymfollow
                assert not os.get_inheritable(root.fileno())
                assert os.readlink(f"/proc/self/fd/{root.fileno()}") == f"/dev/null/{os.path.basename(os.fspath(root))}"
                for number in range(9):
                    (root / str(number)).touch()
                with pytest.raises(OSError, match="No space left"):
                    (root / "tenth").touch()

    way(make)


def test_one_helper_makes_them_all() -> None:
    def make() -> tuple[int, int, int, str]:
        factory = VeryTmpFactory()
        before = len(helpers())
        roots = [factory() for _ in range(20)]
        return before, len({root.path.stat().st_dev for root in roots}), len(helpers()), repr(roots[19])

    before, roots, after, how = by_helper(make)
    assert (before, roots, after) == (0, 20, 1)
    assert "made via a helper process, by fsopen(2)" in how


def test_a_root_that_was_made_beforehand_is_as_new() -> None:
    """From the second request of one kind on, the helper makes the next ones before it is asked to."""

    def make() -> None:
        with VeryTmpFactory(size="1m") as factory:
            roots = []
            for size in (1, 1, 1, 2, 2, 1, 1, 1, 2, 2, 2, 2):
                time.sleep(0.02)
                now = time.time() - 0.01  # the kernel's clock for files goes by ticks
                root = factory(size=f"{size}m")
                assert root.usage().total >> 20 == size
                status = root.path.stat()
                assert min(status.st_mtime, status.st_atime, status.st_ctime) > now
                assert list(root.path.iterdir()) == []
                (root / "f").touch()
                roots.append(root)
            assert len({root.path.stat().st_dev for root in roots}) == len(roots)
            [helper] = helpers()
            deadline = time.monotonic() + 10
            while len(os.listdir(f"/proc/{helper}/fd")) > 7:  # the next ones are on their way
                assert time.monotonic() < deadline
                time.sleep(0.01)

    by_helper(make)


def test_roots_outlive_their_factory() -> None:
    def make() -> str:
        with VeryTmpFactory() as factory:
            root = factory()
            (root / "f").write_text("potatoes")
        assert factory.closed
        del factory
        assert helpers() == []
        (root / "g").write_text((root / "f").read_text())
        return (root / "g").read_text()

    assert by_helper(make) == "potatoes"


def test_a_refused_option_is_the_roots_affair() -> None:
    def make() -> None:
        with VeryTmpFactory(huge="nonsense") as factory:
            said = set()
            refusing: list[Callable[[], VeryTmpRoot]] = [factory, factory, lambda: VeryTmpRoot(huge="nonsense")]
            for refuse in refusing:
                with pytest.raises(ValueError, match="huge") as refusal:
                    refuse()
                said.add(str(refusal.value))
            assert len(said) == 1
            [helper] = helpers()
            factory(huge=None)
            assert helpers() == [helper]

    by_helper(make)


def test_what_cannot_be_right_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="size must be"):
        VeryTmpFactory(size=1.5)
    with pytest.raises(ValueError, match="size and nr_blocks"):
        VeryTmpFactory(size=1, nr_blocks=1)
    with pytest.raises(TypeError, match="'colour' is not an option of VeryTmpRoot"):
        VeryTmpFactory(colour="red")
    factory = VeryTmpFactory()
    with pytest.raises(TypeError, match="'colour' is not an option of VeryTmpRoot"):
        factory(colour="red")
    with pytest.raises(TypeError, match="noexec must be a bool"):
        factory(noexec=1)
    with pytest.raises(TypeError):
        factory("1m")  # type: ignore[call-arg]


def test_it_is_not_copied() -> None:
    factory = VeryTmpFactory(size="1m")
    for call in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or sent"):
            call(factory)
    assert repr(factory) == "<VeryTmpFactory size='1m'>"
    factory.close()
    assert repr(factory) == "<VeryTmpFactory size='1m' closed>"


@pytest.mark.parametrize("way", [in_child, by_helper])
def test_a_closed_factory(way: Callable[..., Any]) -> None:
    def make() -> None:
        used, unused = VeryTmpFactory(), VeryTmpFactory()
        used()
        for factory in (used, unused):
            seen = [factory.closed]
            factory.close()
            factory.close()
            assert [*seen, factory.closed] == [False, True]
            for call in (factory, factory.root, factory.__enter__):
                with pytest.raises(ValueError, match="operation on a closed VeryTmpFactory"):
                    call()

    way(make)


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "step"),
    [
        (Rule("unshare", errno.EPERM), "unshare(CLONE_NEWUSER|CLONE_NEWNS)"),
        (Rule("unshare", 0), "unshare(CLONE_NEWNS)"),
    ],
)
def test_refusals_are_those_of_a_root(rule: Rule, step: str) -> None:
    def make(kind: Callable[[], VeryTmpRoot]) -> None:
        kernel.seccomp(rule)
        kind()

    said = []
    for kind in (VeryTmpRoot, lambda: VeryTmpFactory()()):
        with pytest.raises(VeryTmpUnavailable) as caught:
            by_helper(make, kind)
        said.append((caught.value.step, caught.value.errno, caught.value.reason, caught.value.remedy))
    assert said[0] == said[1]
    assert said[0][0] == step


@pytest.mark.parametrize("name", ["user", "mnt"])
def test_limits(name: str) -> None:
    def make() -> None:
        kernel.limit_namespaces(name, 0)
        VeryTmpFactory()()

    with pytest.raises(VeryTmpUnavailable) as caught:
        in_child(make)
    assert caught.value.errno == errno.ENOSPC


def test_a_hundred_roots_in_one_namespace() -> None:
    """And one by a child of its own, which enters it too."""

    def make() -> None:
        kernel.limit_namespaces("user", 1)
        with VeryTmpFactory() as factory:
            roots = [factory() for _ in range(100)]
            assert len({root.path.stat().st_dev for root in roots}) == 100
            VeryTmpRoot().close()

    in_child(make)


@pytest.mark.slow
def test_a_full_descriptor_table() -> None:
    def make() -> None:
        factory = VeryTmpFactory()
        before = len(host_state.descriptors())
        for spare in range(12):
            taken = kernel.fill_descriptor_table(spare)
            with contextlib.suppress(VeryTmpUnavailable):
                factory().close()
            for descriptor in taken:
                os.close(descriptor)
            known = factory(nr_inodes=100 + spare)  # it can go on; of another kind, for which it has to be asked
            [helper] = helpers()
            gc.collect()  # or it would find something to close when the table is full
            taken = kernel.fill_descriptor_table(0)
            with pytest.raises(VeryTmpUnavailable) as caught:
                factory()
            assert caught.value.errno == errno.EMFILE
            for descriptor in taken:
                os.close(descriptor)
            assert helpers() == [helper]
            known.close()
            del known
            if spare % 2:
                killed()
        factory.close()
        assert len(host_state.descriptors()) <= before + 1

    by_helper(make)


# -- refusals ----------------------------------------------------------------------------------------------------------


def outcomes(
    set_up: Callable[[], object], between: Callable[[], object] = lambda: None, **options: str
) -> list[tuple[str, int]]:
    """What each of three roots of a factory comes to in a child that was set up so, and how many processes it took."""

    def make() -> list[tuple[str, int]]:
        def count(event: str, _: object) -> None:
            started[0] += event in ("os.fork", "os.posix_spawn")

        started = [0]
        VeryTmpRoot().close()
        set_up()
        sys.addaudithook(count)
        found: list[tuple[str, int]] = []
        with warnings.catch_warnings(), VeryTmpFactory() as factory:
            warnings.simplefilter("ignore", VeryTmpFallbackWarning)
            for number in range(3):
                started[0] = 0
                try:
                    with factory(**options) as root:
                        found.append((root.kind, started[0]))
                except VeryTmpUnavailable as error:
                    found.append((str(error), started[0]))
                if number == 1:
                    between()
        return found

    result = in_child(make)
    assert isinstance(result, list), result
    return result


STANDING = pytest.mark.parametrize(
    "set_up",
    [
        refusals.docker,
        refusals.crio,
        refusals.systemd_namespaces,
        refusals.systemd_mounts,
        refusals.systemd_mounts_killing,
        functools.partial(kernel.limit_namespaces, "user", 0),
        functools.partial(kernel.limit_namespaces, "mnt", 0),
    ],
)


@STANDING
def test_a_refusal_that_would_come_again_is_remembered(set_up: Callable[[], object]) -> None:
    (first, children), *others = outcomes(set_up)
    assert first.startswith("no private tmpfs could be made: ")
    assert children > 0
    assert others == [(first, 0), (first, 0)]


@STANDING
def test_the_fallback_is_made_at_once_where_a_refusal_would_come_again(set_up: Callable[[], object]) -> None:
    kinds, children = zip(*outcomes(set_up, fallback="shm"), strict=True)
    assert kinds == ("shm", "shm", "shm")
    assert children[0] > 0
    assert children[1:] == (0, 0)


def test_a_remembered_refusal_is_forgotten_with_its_setting() -> None:
    limit, lift = (functools.partial(call, "user", most) for call, most in LIMITS)
    first, again, last = outcomes(limit, lift, fallback="shm")
    assert first[0] == "shm"
    assert again == ("shm", 0)
    assert last[0] == "tmpfs"


LIMITS = (kernel.limit_namespaces, 0), (kernel.most_namespaces, 9)


def test_a_remembered_refusal_is_forgotten_with_privileges() -> None:
    """As of a daemon that has taken another user's rights for a while."""

    def make() -> None:
        kernel.user_namespace()
        last = LastRefusal()
        last.note(VeryTmpUnavailable(errno.EPERM, "unshare(CLONE_NEWUSER|CLONE_NEWNS)", cause="seccomp-call"))
        with pytest.raises(VeryTmpUnavailable):
            last.check()
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        last.check()

    in_child(make)


def test_a_limit_that_is_reached_is_not_remembered() -> None:
    def limit() -> None:
        kernel.limit_namespaces("mnt", 2)  # a child's own, and a root's
        kept.append(VeryTmpRoot())

    kept: list[VeryTmpRoot] = []
    found = outcomes(limit, lambda: kept.pop().close(), fallback="shm")
    assert [kind for kind, _ in found] == ["shm", "shm", "tmpfs"]


def test_a_full_descriptor_table_is_not_remembered() -> None:
    def fill() -> None:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        taken.extend(kernel.fill_descriptor_table(0))

    def empty() -> None:
        while taken:
            os.close(taken.pop())

    taken: list[int] = []
    *full, (kind, _) = outcomes(fill, empty)
    assert all("descriptors" in text or "open files" in text for text, _ in full)
    assert kind == "tmpfs"
