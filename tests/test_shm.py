"""The fallback: a directory in /dev/shm, where the mount is refused. It is made real here by a filter, in children."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from select import epoll
from typing import Any

import pytest
from support import host_state, kernel, refusals
from support.children import in_child
from support.fallback import refused

from verytmp import VeryTmpCause, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable, _shm
from verytmp._confined.removal import empty

HOME = f"/dev/shm/verytmp-{os.geteuid()}"


@pytest.fixture(autouse=True)
def place(host: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A /dev/shm of this test's own, in /dev/shm; children and programs that these start learn of it."""
    monkeypatch.setattr(_shm, "PLACE", str(host))
    monkeypatch.setattr(sys.modules[__name__], "HOME", f"{host}/verytmp-{os.geteuid()}")
    return str(host)


def roots() -> list[str]:
    return os.listdir(HOME) if os.path.isdir(HOME) else []


def test_a_root() -> None:
    def use() -> Any:
        root = VeryTmpRoot(fallback="shm", mode=0o750)
        (root / "d").mkdir()
        (root / "d" / "f").write_text("potatoes")
        [name] = roots()
        status = os.stat(root.fileno())
        lies = os.path.realpath(root) == f"{HOME}/{name}/{os.path.basename(os.fspath(root))}"
        modes = [oct(os.stat(path).st_mode & 0o7777) for path in (HOME, f"{HOME}/{name}", root)]
        with open(root / "d" / "f") as file:
            root.close()
            text = file.read()
        return root.kind, root.nosymfollow, lies, modes, text, os.path.exists(HOME), status.st_uid == os.geteuid()

    assert refused(use) == ("shm", False, True, ["0o700", "0o700", "0o750"], "potatoes", False, True)


def test_a_clone_is_another_one() -> None:
    def body() -> tuple[str, str, type[BaseException] | None]:
        refusals.docker()
        warnings.simplefilter("ignore")
        with VeryTmpRoot(fallback="shm") as root:
            (root / "f").write_text("potatoes")
            refused = None
            try:
                root.clone(fallback="none")
            except VeryTmpUnavailable as error:
                refused = type(error)
            with root.clone() as clone:
                return clone.kind, (clone / "f").read_text(), refused

    assert in_child(body) == ("shm", "potatoes", VeryTmpUnavailable)


def test_a_tmpfs_is_preferred(root: VeryTmpRoot) -> None:
    with VeryTmpRoot(fallback="shm") as other:
        assert other.kind == root.kind == "tmpfs"
    assert not os.path.exists(HOME)


def test_it_is_never_silent() -> None:
    def make() -> Any:
        refusals.docker()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                VeryTmpRoot(fallback="shm").close()
        return [(warning.category, str(warning.message), warning.filename) for warning in caught]

    [(category, text, file)] = in_child(make)
    assert category is VeryTmpFallbackWarning
    assert "a root is a directory in" in text
    assert "a seccomp filter" in text
    assert "fallback=" not in text  # it has been taken
    assert file == __file__


def test_where_warnings_are_errors_there_is_no_root() -> None:
    def make() -> Any:
        refusals.docker()
        kept: list[object] = []
        left: list[bool] = []
        for _ in range(2):
            with pytest.raises(VeryTmpFallbackWarning) as caught:
                VeryTmpRoot(fallback="shm")
            kept.append(caught)  # and with it the frames in which the directory was made
            left.append(os.path.exists(HOME))
        return left

    assert in_child(make) == [False, False]


def test_it_is_never_the_default() -> None:
    def make() -> Any:
        with pytest.raises(VeryTmpUnavailable) as caught:
            VeryTmpRoot()
        with pytest.raises(VeryTmpUnavailable):
            VeryTmpRoot(fallback="none")
        return caught.value.cause, os.path.exists(HOME)

    assert refused(make) == (VeryTmpCause.SECCOMP_CALL, False)


def test_the_environment_sets_the_default() -> None:
    def make() -> Any:
        os.environ["VERYTMP_FALLBACK"] = "shm"
        found: list[str] = [VeryTmpRoot().kind]
        for options in ({"fallback": "none"}, {"size": "1m"}):  # a limit cannot be kept
            with pytest.raises(VeryTmpUnavailable) as caught:
                VeryTmpRoot(**options)  # type: ignore[arg-type]
            found.append(caught.value.remedy)
        os.environ["VERYTMP_FALLBACK"] = ""
        with pytest.raises(VeryTmpUnavailable):
            VeryTmpRoot()
        return found

    kind, none, limited = refused(make)
    assert kind == "shm"
    assert "VERYTMP_FALLBACK" not in none
    assert limited.startswith(
        "Leave out size, which a directory in /dev/shm cannot keep: VERYTMP_FALLBACK=shm was not taken for that. Or: "
    )


@pytest.mark.parametrize(
    "options",
    [{"size": 1}, {"nr_inodes": 5}, {"noexec": True}, {"huge": "never"}, {"uid": 0}, {"inode64": True}],
    ids=lambda options: next(iter(options)),
)
def test_what_cannot_be_kept_is_refused(options: dict[str, Any]) -> None:
    """Wherever that is: a program must not learn of it where the tmpfs is refused."""
    with pytest.raises(ValueError, match=f"{next(iter(options))} cannot be kept in a directory in /dev/shm"):
        VeryTmpRoot(fallback="shm", **options)


def test_what_there_is_no_fallback_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="fallback must be 'shm' or 'none', not 'disk'"):
        VeryTmpRoot(fallback="disk")
    monkeypatch.setenv("VERYTMP_FALLBACK", "yes")
    with pytest.raises(ValueError, match="VERYTMP_FALLBACK must be 'shm' or 'none', not 'yes'"):
        VeryTmpRoot()


def test_it_is_confined(host: Path) -> None:
    """By walks alone: the kernel's ".." leads out of such a root, and its links do."""

    def use() -> Any:
        (host / "secret").write_text("the host's")
        root = VeryTmpRoot(fallback="shm")
        above = os.listdir(f"{os.fspath(root)}/..")
        (root / "d").mkdir()
        (root / "up").symlink_to("../../../secret")
        (root / "absolute").symlink_to(str(host / "secret"))
        (root / "root").symlink_to("..")
        found = [path.exists() for path in (root / "up", root / "absolute", root / ".." / ".." / "secret")]
        inside = sorted(path.name for path in (root / "root" / "d" / ".." / ".." / "..").iterdir())
        (root / ".." / ".." / "new").touch()
        return (
            above == [os.path.basename(os.fspath(root))],
            found,
            inside,
            (root / "new").exists(),
            sorted(os.listdir(host)),
        )

    above, found, inside, new, there = refused(use)
    assert above
    assert found == [False, False, False]
    assert inside == ["absolute", "d", "root", "up"]
    assert new
    assert there == ["secret", os.path.basename(HOME)]


def test_a_directory_that_is_moved_out_leads_nowhere(host: Path) -> None:
    """From there the kernel's ".." would lead into the host's tree."""

    def use() -> Any:
        root = VeryTmpRoot(fallback="shm")
        (root / "a" / "b").mkdir(parents=True)
        (root / "f").write_text("inside")
        (host / "f").write_text("the host's")
        away = threading.Event()
        texts: set[str] = set()

        def read() -> None:
            while not away.is_set():
                try:
                    texts.add((root / "a" / "b" / ".." / ".." / "f").read_text())
                except OSError as error:
                    texts.add(errno.errorcode[error.errno or 0])

        thread = threading.Thread(target=read)
        thread.start()
        inside = os.path.realpath(root)
        for _ in range(2000):
            os.rename(f"{inside}/a/b", host / "b")
            os.rename(host / "b", f"{inside}/a/b")
        away.set()
        thread.join()
        return texts

    assert refused(use) == {"inside", "ENOENT"}


def close(root: VeryTmpRoot) -> None:
    root.close()


def leave(root: VeryTmpRoot) -> None:
    with root:
        pass


def close_with_a_closed_directory(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    os.chmod(root / "d", 0)
    root.close()


def close_with_a_directory_to_look_at(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    (root / "d" / "f").touch()
    os.chmod(root / "d", 0o500)
    root.close()


def close_with_a_mode_of_its_own(root: VeryTmpRoot) -> None:
    root.path.chmod(0)
    root.close()


def close_with_a_deep_tree(root: VeryTmpRoot) -> None:
    (root / "/".join("d" * 300)).mkdir(parents=True)
    root.close()


def drop(root: VeryTmpRoot) -> None:
    pass


@pytest.mark.parametrize(
    "way",
    [
        close,
        leave,
        close_with_a_closed_directory,
        close_with_a_directory_to_look_at,
        close_with_a_mode_of_its_own,
        close_with_a_deep_tree,
        drop,
    ],
)
def test_it_is_removed(way: Callable[[VeryTmpRoot], None]) -> None:
    def use() -> None:
        root = VeryTmpRoot(fallback="shm")
        (root / "f").write_text("potatoes")
        way(root)
        assert way is drop or not os.path.exists(HOME)

    def use_and_drop() -> bool:
        use()
        return os.path.exists(HOME)

    assert not refused(use_and_drop)


def test_a_path_keeps_it() -> None:
    def use() -> Any:
        path = VeryTmpRoot(fallback="shm") / "f"
        path.write_text("potatoes")
        kept = path.read_text(), len(roots())
        del path
        return kept, roots()

    assert refused(use) == (("potatoes", 1), [])


PROGRAM = """
import os, sys, time, warnings
sys.path.insert(0, sys.argv[1])
from support import refusals
import verytmp, verytmp._shm
verytmp._shm.PLACE = sys.argv[2]
refusals.docker()
warnings.simplefilter("ignore")
root = verytmp.VeryTmpRoot(fallback="shm")
(root / "d").mkdir()
(root / "d" / "f").write_bytes(bytes(100_000))
"""


def program(place: str, *lines: str) -> subprocess.Popen[bytes]:
    code = "\n".join([PROGRAM, *lines])
    command = [sys.executable, "-c", code, str(Path(__file__).parent), place]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    "end", ["pass", "sys.exit(3)", "1 / 0", "root = [root]; root.append(root)", "os.fork() or sys.exit(0)"]
)
def test_the_program_ends(place: str, end: str) -> None:
    with program(place, end) as process:
        process.communicate(timeout=60)
    assert roots() == []


def test_a_forked_child_leaves_it_alone(place: str) -> None:
    end = "pid = os.fork(); pid or (root.close(), sys.exit(0)); os.waitpid(pid, 0); print((root / 'd' / 'f').exists())"
    with program(place, end) as process:
        assert process.communicate(timeout=60) == (b"True\n", b"")
    assert roots() == []


def test_killed_ones_are_swept(place: str) -> None:
    """At random moments of their life, while others live. The living ones are left alone."""
    living = program(place, "print('ready', flush=True)", "sys.stdin.read() or time.sleep(60)")
    assert living.stdout
    assert living.stdout.readline() == b"ready\n"
    [alive] = roots()
    chance = random.Random(7)
    for _ in range(3):
        batch = [program(place, "while True: verytmp.VeryTmpRoot(fallback='shm')") for _ in range(4)]
        for process in batch:
            time.sleep(chance.random() / 20)
            process.kill()
            process.communicate()
    try:
        refused(lambda: VeryTmpRoot(fallback="shm").close())
        assert roots() == [alive]
        [token] = os.listdir(f"{HOME}/{alive}")
        assert os.path.getsize(f"{HOME}/{alive}/{token}/d/f") == 100_000
    finally:
        living.kill()
        living.communicate()
    with VeryTmpRoot() as root:
        assert root.kind == "tmpfs"
    assert roots() == [alive]
    VeryTmpRoot(fallback="shm").close()  # a tmpfs too: it is not refused any more, and this program may have left them
    assert roots() == []


@pytest.mark.slow
def test_many_at_once() -> None:
    """Making, sweeping and removing in six threads: nobody's living root is taken for a dead one."""

    def use() -> Any:
        wrong: list[str] = []

        def work(number: int) -> None:
            for _ in range(10):
                with VeryTmpRoot(fallback="shm") as root:
                    (root / "f").write_text(str(number))
                    if (root / "f").read_text() != str(number):
                        wrong.append("not mine")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return wrong, roots()

    assert refused(use) == ([], [])


def test_somebody_elses_directory_is_refused() -> None:
    def use() -> Any:
        os.mkdir(HOME, 0o755)
        with pytest.raises(VeryTmpUnavailable) as caught:
            VeryTmpRoot(fallback="shm")
        return caught.value

    error = refused(use)
    assert (error.step, error.errno, error.cause) == (HOME, errno.EPERM, VeryTmpCause.FALLBACK)
    assert "it is not this user's alone" in str(error)
    assert UNSHARE in str(error)


UNSHARE = "unshare(CLONE_NEWUSER|CLONE_NEWNS)"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_directory_is_refused(kind: str, host: Path) -> None:
    def use() -> Any:
        if kind == "file":
            Path(HOME).touch()
        else:
            (host / "elsewhere").mkdir()
            os.symlink(host / "elsewhere", HOME)
        with pytest.raises(VeryTmpUnavailable) as caught:
            VeryTmpRoot(fallback="shm")
        return caught.value, os.path.exists(host / "elsewhere") and os.listdir(host / "elsewhere")

    error, there = refused(use)
    assert error.cause is VeryTmpCause.FALLBACK
    assert not there


@pytest.mark.parametrize("room", range(6))
def test_a_full_table_of_open_files(room: int) -> None:
    def use() -> Any:
        VeryTmpRoot(fallback="shm").close()
        taken = kernel.fill_descriptor_table(room)
        number = 0
        try:
            VeryTmpRoot(fallback="shm").close()
        except VeryTmpUnavailable as error:
            number = error.errno or 0
        for descriptor in taken:
            os.close(descriptor)
        VeryTmpRoot(fallback="shm").close()  # which sweeps what could not be removed
        return number, roots()

    number, left = refused(use)
    assert left == []
    assert number == errno.EMFILE or (room and not number)


def test_a_program_that_closes_all_descriptors(host: Path) -> None:
    """What it has under the old numbers then is its own, and is left alone."""

    def use() -> Any:
        (host / "precious" / "d").mkdir(parents=True, mode=0o755)
        (host / "precious" / "d" / "f").write_text("the host's")
        root = VeryTmpRoot(fallback="shm")
        (root / "f").touch()
        os.closerange(3, 900)
        own = [os.open(host / "precious", os.O_RDONLY | os.O_DIRECTORY) for _ in range(60)]
        root.close()
        del root
        left = roots()
        assert all(
            os.listdir(descriptor) == ["d"] for descriptor in own if os.path.isdir(f"/proc/self/fd/{descriptor}")
        )
        return host_state.look(str(host / "precious")), oct(os.stat(host / "precious").st_mode), left

    there, mode, left = refused(use)
    assert there == {"d": {"f": b"the host's"}}
    assert mode == oct(0o40755)
    assert left == []


def test_nothing_is_removed_on_another_file_system(host: Path, root: VeryTmpRoot) -> None:
    """Whatever descriptor a deletion finds itself with."""
    (host / "d").mkdir(mode=0o755)
    (host / "d" / "f").touch()
    with epoll.fromfd(os.open(host, os.O_PATH)) as top, pytest.raises(OSError, match="another file") as caught:
        empty(top, os.fstat(root.fileno()).st_dev, override_permissions=True)
    assert caught.value.errno == errno.EXDEV
    assert host_state.look(str(host)) == {"d": {"f": b""}}
    assert os.stat(host / "d").st_mode & 0o777 == 0o755


def test_descriptors() -> None:
    def use() -> Any:
        VeryTmpRoot(fallback="shm").close()
        before = host_state.descriptors()
        for _ in range(20):
            root = VeryTmpRoot(fallback="shm")
            (root / "d").mkdir()
        del root
        return host_state.new_descriptors(before)

    assert refused(use) == {}
