"""Memory that is limited as a container's is: what is in a root counts, and only ``size=`` makes it an error."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator

import pytest
from support import cgroup, host_state, kernel
from support.cgroup import Cgroup
from support.children import ChildFailed, in_child

from verytmp import VeryTmpRoot

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tmpfs,
    pytest.mark.skipif(bool(cgroup.missing()), reason=cgroup.missing() or "-"),
]

MIB = 1 << 20
MOST = 48 * MIB  # what all processes of the container may have together
LITTLE = 4 * MIB  # what the kernel itself needs for one, and no file
WAYS = ["direct", "helper"]


@pytest.fixture
def container() -> Iterator[Cgroup]:
    with cgroup.limited(MOST) as made:
        yield made


def enter(container: Cgroup, way: str) -> None:
    container.enter()
    if way == "helper":
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)


def fill(root: VeryTmpRoot) -> int:
    """Write files of a MiB each until ENOSPC. Returns how many are whole."""
    for number in range(2 * MOST // MIB):
        try:
            (root / str(number)).write_bytes(bytes([number]) * MIB)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            break
    return sum((root / str(one)).read_bytes() == bytes([one]) * MIB for one in range(number))


def falls(container: Cgroup, most: int = LITTLE) -> bool:
    """Whether the memory is given back: the kernel frees a file system a moment after its last descriptor is closed."""
    deadline = time.monotonic() + cgroup.PATIENCE
    while container.used() > most and time.monotonic() < deadline:
        time.sleep(0.01)
    return container.used() <= most


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("way", WAYS)
def test_too_much_ends_the_process(container: Cgroup, way: str) -> None:
    """Without a size: the kernel kills it, and frees all of it. Roots of others, outside, keep what they have."""

    def live() -> int:
        enter(container, way)
        return fill(VeryTmpRoot())

    with VeryTmpRoot() as other:
        (other / "kept").write_bytes(b"kept" * MIB)
        memory, mounts = host_state.shared_memory(), host_state.mounts()
        with pytest.raises(ChildFailed) as caught:
            in_child(live)
        assert caught.value.exitcode == -signal.SIGKILL
        assert container.kills() == 1
        assert falls(container)
        assert host_state.shared_memory() < memory + MOST // 2
        assert host_state.mounts() == mounts
        assert (other / "kept").read_bytes() == b"kept" * MIB


@pytest.mark.parametrize("way", WAYS)
def test_with_a_size_it_is_an_error(container: Cgroup, way: str) -> None:
    """With a size that the container's limit allows: ENOSPC, and no process is killed. What is closed is freed."""

    def live() -> tuple[int, bool]:
        enter(container, way)
        root = VeryTmpRoot(size=MOST // 2)
        whole = fill(root)
        assert container.used() > MOST // 2 - MIB
        root.close()
        return whole, falls(container, MOST // 4)

    assert in_child(live) == (MOST // 2 // MIB, True)
    assert container.kills() == 0
    assert falls(container)


def test_whoever_is_largest_is_killed_first(container: Cgroup) -> None:
    """Files are nobody's memory, so another process of the container may end first, which has written nothing."""

    def live() -> list[int]:
        ready, other = os.pipe()
        bystander = os.fork()
        if bystander == 0:
            container.enter()
            own = bytearray(b"x") * (MOST // 3)
            os.write(other, own[:1])
            signal.pause()
        os.read(ready, 1)
        writer = os.fork()
        if writer == 0:
            container.enter()
            fill(VeryTmpRoot())
            os._exit(0)
        return [bystander - os.wait()[0], writer - os.wait()[0]]

    assert in_child(live) == [0, 0]
    assert container.kills() == 2
    assert falls(container)


def test_sizes_know_nothing_of_it(container: Cgroup) -> None:
    """What a root may have by default, or in per cent, is the machine's."""

    def live() -> list[int]:
        container.enter()
        with VeryTmpRoot() as root, VeryTmpRoot(size="20%") as part:
            return [root.usage().total, part.usage().total]

    half, fifth = in_child(live)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert half == pytest.approx(machine / 2, rel=0.01)
    assert fifth == pytest.approx(machine / 5, rel=0.01)
    assert fifth > MOST
