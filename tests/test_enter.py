"""`verytmp.enter`: a process goes into a namespace in which its roots have names. Each test is a process of its own."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import features, host_state, kernel, refusals
from support.children import in_child

import verytmp
from verytmp import VeryTmpError, VeryTmpFactory, VeryTmpPath, VeryTmpRoot, VeryTmpUnavailable
from verytmp._mounting import strategy

OTHER_USER = 65533
ROOT = os.geteuid() == 0
KIND = features.clone_kind()  # of the clones on this kernel


def entered(function: Callable[..., Any], *args: Any) -> Any:
    """What a function returns in a child that has entered a namespace."""

    def work() -> Any:
        verytmp.enter()
        return function(*args)

    return in_child(work)


def helper() -> int:
    """The helper's process number."""
    assert strategy.entered_client is not None
    return strategy.entered_client._child.pid


def names_there() -> list[str]:
    """What is in the directory of names."""
    return [name for name in os.listdir("/verytmp") if name != ".helper"]


def is_gone(pid: int) -> bool:
    """Whether a process ends, within a while."""
    for _ in range(500):
        try:
            if b") Z " in Path(f"/proc/{pid}/stat").read_bytes():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def has_gone(path: object) -> bool:
    """Whether a name goes, within a while."""
    for _ in range(500):
        if not os.path.lexists(str(path)):
            return True
        time.sleep(0.01)
    return False


# -- names -------------------------------------------------------------------------------------------------------------


def test_strings_are_names() -> None:
    def work() -> None:
        with VeryTmpRoot() as root:
            path = root / "d" / "f"
            assert str(root) == os.fspath(root) == str(root.path) == str(root.at)
            assert os.path.dirname(str(root)) == "/verytmp"
            assert str(path) == f"{root}/d/f" == str(path.at)
            path.parent.mkdir()
            path.write_text("potatoes")
            assert Path(str(path)).read_text() == "potatoes"
            assert os.path.realpath(str(path)) == str(path)
            assert Path(str(path)).resolve() == path
            assert hash(path) == hash(Path(str(path)))
            assert path.drive == str(root)
            assert path.anchor == f"{root}/"
            with path.open() as file:
                assert file.name == str(path)
            assert "entered" in repr(root)

    entered(work)


def test_a_name_of_its_own_is_recognised() -> None:
    """In joins, and in links, which programs make of it."""

    def work() -> None:
        with VeryTmpRoot(at="/work") as root:
            (root / "f").write_text("potatoes")
            assert root / "/work/f" == root / "f"
            assert root / "/workshop" == root / "workshop"
            os.symlink("/work/f", root / "link")
            os.symlink("/work/f", root / "d")
            assert (root / "link").read_text() == "potatoes"
            assert (root / "link").resolve() == root / "f"
            assert Path("/work/link").read_text() == "potatoes"

    entered(work)


def test_paths_stay_inside(host: Path) -> None:
    """A program follows a link out of a root that has a name. A path does not."""

    def work() -> None:
        (host / "secret").write_text("secret")
        with VeryTmpRoot() as root:
            (root / "link").symlink_to(str(host / "secret"))
            assert Path(str(root / "link")).read_text() == "secret"
            with pytest.raises(FileNotFoundError):
                (root / "link").read_text()
            with pytest.raises(FileNotFoundError):
                (root / ".." / ".." / str(host)[1:] / "secret").read_text()

    entered(work)


def test_the_working_directory() -> None:
    def work() -> None:
        with VeryTmpRoot() as root:
            os.chdir(root)
            assert os.getcwd() == str(root)
            Path("f").absolute().write_text("potatoes")
            assert (root / "f").read_text() == "potatoes"
            os.chdir("/")

    entered(work)


def test_it_stays_in_its_working_directory(host: Path) -> None:
    def work() -> str:
        os.chdir(host)
        verytmp.enter()
        Path("f").write_text("from there")
        return os.getcwd()

    assert in_child(work) == str(host)
    assert (host / "f").read_text() == "from there"


def test_a_database_in_process() -> None:
    def work() -> None:
        with VeryTmpRoot() as root:
            connection = sqlite3.connect(root / "d.db")
            assert connection.execute("pragma journal_mode=wal").fetchone() == ("wal",)
            connection.execute("create table t (x)")
            connection.close()
            os.chdir(root)
            connection = sqlite3.connect("d.db")
            connection.execute("insert into t values (5)")
            connection.close()
            os.chdir("/")

    entered(work)


def test_programs_see_the_same_names() -> None:
    def work() -> None:
        with VeryTmpRoot() as root, VeryTmpRoot() as other:
            run = subprocess.run(["pwd"], cwd=root, capture_output=True, text=True, check=True)
            assert run.stdout == f"{root}\n"
            other.run(["cp", "-r", other, root / "copy"], check=True)
            run = root.run(["sh", "-c", "pwd; ls"], capture_output=True, text=True, check=True)
            assert run.stdout == f"{root}\ncopy\n"

    with pytest.raises(ValueError, match="another root"):
        entered(work)


def test_programs_run_as_anywhere() -> None:
    def work() -> None:
        with VeryTmpRoot() as root:
            assert root.run(["pwd"], capture_output=True, text=True).stdout == f"{root}\n"
            command, fds = root.wrap(["pwd"])
            assert subprocess.check_output(command, pass_fds=fds, text=True) == f"{root}\n"
            with pytest.raises(FileNotFoundError):
                root.run(["/nonexistent"])

    entered(work)


def test_nothing_outlives_a_program_with_a_pid_namespace_of_its_own() -> None:
    """As an ordinary user too, who has no capability any more."""

    def work() -> None:
        with VeryTmpRoot() as root:
            (root / "secret").touch(0)
            script = "echo $$; pwd; cat secret; grep CapEff /proc/self/status; (setsid sleep 62.5 &)"
            done = root.run(script, shell=True, capture_output=True, text=True, unshare_pid=True)
            number, folder, capabilities = done.stdout.splitlines()
            assert (number, folder) == ("2", str(root))
            assert capabilities in Path("/proc/self/status").read_text()
            assert ("denied" in done.stderr) is not ROOT
            assert host_state.running("sleep 62.5") == []

    entered(work)


def test_a_name_that_was_asked_for(host: Path) -> None:
    (host / "hidden").touch()

    def work() -> None:
        with VeryTmpRoot(at="/a-name/of-ours") as root:
            (root / "f").touch()
            assert os.listdir("/a-name/of-ours") == ["f"]
            with pytest.raises(OSError, match="another root has this name") as caught:
                VeryTmpRoot(at="/a-name/of-ours")
            assert caught.value.errno == errno.EBUSY
        assert not os.path.exists("/a-name/of-ours")
        VeryTmpRoot(at="/a-name/again").close()
        with VeryTmpRoot(at=host) as root:
            assert os.listdir(host) == []
        assert os.listdir(host) == ["hidden"]
        with pytest.raises(FileNotFoundError, match="right below /"):
            VeryTmpRoot(at="/usr/nonexistent")
        with pytest.raises(NotADirectoryError):
            VeryTmpRoot(at=host / "hidden")
        with pytest.raises(ValueError, match="Bad value for 'size'"):
            VeryTmpRoot(at="/another-name", size="banana")
        assert not os.path.exists("/another-name")

    entered(work)


def test_roots_without_names_stay_to_be_had() -> None:
    def work() -> None:
        with VeryTmpRoot(at=False) as root:
            assert str(root).startswith(f"/proc/{os.getpid()}/fd/")
            (root / "f").touch()
            assert os.listdir(os.fspath(root)) == ["f"]

    entered(work)


@pytest.mark.skipif(not ROOT, reason="only root may become another user")
@pytest.mark.parametrize(
    "options",
    [{"at": False}, pytest.param({"at": "/work", "host": "ro"}, marks=pytest.mark.needs("host='ro'"))],
    ids=["without a name", "read-only host"],
)
def test_what_root_without_privileges_has_to_make_before(options: dict[str, Any]) -> None:
    """The kernel lets nobody without CAP_SETFCAP, which `enter` gives up, map the user ID 0."""

    def work() -> None:
        kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        with VeryTmpRoot(**options) as root:
            verytmp.enter()
            with pytest.raises(VeryTmpUnavailable, match=r"before verytmp\.enter\(\)") as caught:
                VeryTmpRoot(**options)
            assert (caught.value.step, caught.value.cause) == ("uid_map", "capability")
            (root / "f").touch()

    in_child(work)


def test_a_root_from_before() -> None:
    def work() -> None:
        with VeryTmpRoot() as root:
            before = str(root)
            verytmp.enter()
            assert str(root) == before
            (root / "f").write_text("potatoes")
            assert subprocess.check_output(["cat", root / "f"]) == b"potatoes"

    in_child(work)


@pytest.mark.parametrize("drop", [False, True], ids=["as it is", "without privileges"])
def test_what_is_done_to_roots_from_before(drop: bool) -> None:
    """They are in the user namespace that is entered, if there is one: the helper may change them."""

    def work() -> None:
        if drop:
            kernel.drop_capabilities(kernel.CAP_SYS_ADMIN)
        factory = VeryTmpFactory()
        roots = VeryTmpRoot(size="1m"), VeryTmpRoot(at="/work"), factory()
        factory.close()
        verytmp.enter()
        for root in roots:
            (root / "f").write_text("potatoes")
            root.resize(size="2m")
            assert root.usage().total == 2 << 20
            root.freeze()
            assert root.frozen
            # A copy is a new root, which root without privileges cannot make without a name.
            with root.clone() as clone, root.clone(at=False if KIND == "overlay" else None) as unnamed:
                assert {clone.kind, unnamed.kind} == {KIND}
                assert clone.run(["cat", "f"], capture_output=True).stdout == b"potatoes"
                (clone / "f").write_text("changed")
                clone.freeze()
                assert (unnamed / "f").read_text() == "potatoes"
        if "read_only" not in features.lacking():
            with roots[0].read_only() as view:
                assert (view / "f").read_text() == "potatoes"

    in_child(work)


@pytest.mark.needs("host='ro'")
def test_a_read_only_host_is_a_namespace_of_its_own(host: Path) -> None:
    def work() -> None:
        with VeryTmpRoot() as outer, VeryTmpRoot(host="ro") as root:
            assert root.run(["touch", "f"]).returncode == 0
            for path in (str(host / "f"), os.fspath(outer / "f")):
                run = root.run(["touch", path], capture_output=True, text=True)
                assert "Read-only file system" in run.stderr

    entered(work)
    assert os.listdir(host) == []


def test_a_factory() -> None:
    def work() -> None:
        with VeryTmpFactory(size="1m") as factory:
            roots = [factory() for _ in range(3)]
            assert len({str(root) for root in roots}) == 3
            for root in roots:
                (root / "f").write_text("potatoes")
                assert Path(str(root), "f").read_text() == "potatoes"
                assert root.usage().total == 1 << 20
                root.close()

    entered(work)


# -- what is freed when ------------------------------------------------------------------------------------------------


def test_the_name_goes_with_the_root() -> None:
    def work() -> None:
        root = VeryTmpRoot()
        name = str(root)
        root.close()
        assert not os.path.exists(name)
        root = VeryTmpRoot()
        name = str(root)
        path = root / "f"
        del root
        path.touch()
        assert os.path.exists(name)
        del path
        assert has_gone(name)
        assert names_there() == []

    entered(work)


def test_what_is_open_goes_on() -> None:
    def work() -> None:
        root = VeryTmpRoot()
        (root / "f").write_text("potatoes")
        with (root / "f").open() as file:
            root.close()
            assert not os.path.exists(str(root))
            assert file.read() == "potatoes"

    entered(work)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_all_goes_with_the_process(end: signal.Signals | None) -> None:
    """The helper unmounts what is left, so that a program that goes on in the namespace keeps nothing of it."""

    def work() -> None:
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            verytmp.enter()
            root = VeryTmpRoot()
            started = subprocess.Popen(["sleep", "60"])
            os.write(sender, f"{helper()} {started.pid} {root}".encode())
            if end:
                os.kill(os.getpid(), end)
            os._exit(0)
        os.waitpid(child, 0)
        pid, program, name = os.read(receiver, 1000).decode().split()
        assert is_gone(int(pid))
        there = os.path.exists(f"/proc/{program}/root{name}")
        os.kill(int(program), signal.SIGKILL)
        assert is_gone(int(program))
        assert not there

    in_child(work)


def test_nobody_outside_sees_it() -> None:
    receiver, sender = os.pipe()
    go, wait = os.pipe()

    def work() -> None:
        with VeryTmpRoot() as root:
            os.write(sender, str(root).encode())
            os.read(go, 1)

    child = os.fork()
    if child == 0:
        entered(work)
        os._exit(0)
    name = os.read(receiver, 1000).decode()
    mounts = Path("/proc/self/mountinfo").read_text()
    there = os.path.exists(name)
    os.write(wait, b"x")
    os.waitpid(child, 0)
    for fd in (receiver, sender, go, wait):
        os.close(fd)
    assert not there
    assert name not in mounts


# -- what the process may do -------------------------------------------------------------------------------------------


@pytest.mark.skipif(ROOT, reason="root keeps its capabilities")
def test_no_capability_is_left(host: Path) -> None:
    def work() -> None:
        mine = host / "mine"
        mine.write_text("x")
        mine.chmod(0)
        with pytest.raises(PermissionError):
            mine.read_text()
        assert subprocess.run(["cat", mine], capture_output=True).returncode == 1
        for program in ("self", str(os.getpid())):
            status = Path(f"/proc/{program}/status").read_text()
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert f"{kind}:\t{0:016x}\n" in status
        run = subprocess.run(["grep", "^Cap", "/proc/self/status"], capture_output=True, text=True)
        assert set(run.stdout.split()[1::2]) == {f"{0:016x}"}
        with pytest.raises(PermissionError):
            os.chroot("/")
        mine.chmod(0o600)

    entered(work)


@pytest.mark.skipif(not ROOT, reason="only root may become another user")
def test_root_keeps_its_capabilities(host: Path) -> None:
    def work() -> None:
        with VeryTmpRoot() as root:
            (root / "f").touch()
            os.chown(root / "f", OTHER_USER, OTHER_USER)
            assert (root / "f").stat().st_uid == OTHER_USER

    entered(work)


@pytest.mark.skipif(not ROOT, reason="only root may become another user")
def test_another_user_is_refused_the_names_of_this_one() -> None:
    def work() -> None:
        VeryTmpRoot().close()
        os.setresuid(OTHER_USER, OTHER_USER, OTHER_USER)
        with pytest.raises(VeryTmpUnavailable, match=r"another user since verytmp\.enter\(\)"):
            VeryTmpRoot()

    entered(work)


def test_its_files_are_its_own() -> None:
    def work() -> None:
        with VeryTmpRoot() as root:
            (root / "f").touch()
            for path in ("/", "f"):
                status = os.stat(f"{root}/{path}")
                assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())

    entered(work)


def test_nothing_is_made_on_the_host() -> None:
    def work() -> None:
        for path in ("/new", "/verytmp/new"):
            with pytest.raises(OSError, match="Read-only file system"):
                os.mkdir(path)

    entered(work)
    assert not os.path.exists("/verytmp")


# -- other processes ---------------------------------------------------------------------------------------------------


def test_a_forked_child_makes_roots_too() -> None:
    def child(name: str) -> str:
        assert Path(name, "f").read_text() == "potatoes"
        with VeryTmpRoot() as root:
            assert sorted(names_there()) == sorted([os.path.basename(name), os.path.basename(str(root))])
            (root / "f").touch()
        assert names_there() == [os.path.basename(name)]
        return str(root)

    def work() -> None:
        with VeryTmpRoot() as root:
            (root / "f").write_text("potatoes")
            assert in_child(child, str(root)) != str(root)
            assert (root / "f").exists()
            assert os.path.exists(str(root))

    entered(work)


def test_a_forked_child_outlives_its_parent() -> None:
    """As a daemon does. The parent's roots stay as long as the child has them, under their names."""

    def work() -> None:
        receiver, sender = os.pipe()
        parent = os.fork()
        if parent == 0:
            verytmp.enter()
            root = VeryTmpRoot()
            (root / "f").write_text("potatoes")
            first = os.getpid()
            if os.fork() == 0:
                while os.getppid() == first:
                    time.sleep(0.01)
                try:
                    here = Path(str(root), "f").read_text(), (root / "f").read_text()
                    with VeryTmpRoot() as other:
                        text = repr((*here, str(root) == str(root.path), other.path.exists()))
                except Exception as error:
                    text = repr(error)
                os.write(sender, text.encode())
            os._exit(0)
        os.waitpid(parent, 0)
        assert os.read(receiver, 1000).decode() == "('potatoes', 'potatoes', True, True)"

    in_child(work)


def test_threads_make_roots_at_the_same_time() -> None:
    def work() -> None:
        names: list[str] = []

        def make() -> None:
            for _ in range(20):
                with VeryTmpRoot() as root:
                    (root / "f").write_text(str(root))
                    assert Path(str(root), "f").read_text() == str(root)
                    names.append(str(root))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(names)) == 160
        assert names_there() == []

    entered(work)


def make_one(_: int) -> VeryTmpPath:
    root = VeryTmpRoot()
    (root / "f").write_text(str(root))
    return root / "f"


def read_one(path: VeryTmpPath) -> tuple[str, str, str]:
    return str(path), path.read_text(), Path(str(path)).read_text()


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(method: str, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    code = f"""
        import multiprocessing, os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import verytmp
        from test_enter import make_one, read_one
        if __name__ == "__main__":
            verytmp.enter()
            context = multiprocessing.get_context({method!r})
            with verytmp.VeryTmpRoot() as root, context.Pool(2) as pool:
                (root / "f").write_text("potatoes")
                assert pool.map(read_one, [root / "f"] * 3) == [(str(root / "f"), "potatoes", "potatoes")] * 3
                if {method!r} == "fork":  # others begin afresh, and would have to enter for themselves
                    made = pool.map(make_one, range(3))
            if {method!r} == "fork":  # who has made them is gone
                for path in made:
                    assert open(path).read() == path.read_text() == os.path.dirname(path)
            print("done")
    """
    (host / "program.py").write_text(textwrap.dedent(code))
    monkeypatch.setenv("TMPDIR", str(host))  # where a process that is killed leaves multiprocessing's directory
    run = subprocess.run([sys.executable, host / "program.py"], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("done\n", "")


@pytest.mark.needs("host='ro'")
def test_a_program_in_it_enters_one_of_its_own() -> None:
    """Namespaces in namespaces: the names of the outer one are seen in the inner one."""
    code = "import os, verytmp; verytmp.enter(); r = verytmp.VeryTmpRoot(); (r / 'g').touch()"
    code += "; print(*sorted(os.listdir(os.environ['OUTER'])), *os.listdir(r), len(os.listdir('/verytmp')))"

    def work() -> None:
        with VeryTmpRoot() as root:
            (root / "f").touch()
            environment = os.environ | {"OUTER": str(root)}
            command = [sys.executable, "-W", "error", "-c", code]
            run = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert (run.stdout, run.stderr) == ("f g 3\n", "")  # and the helper's socket
            with VeryTmpRoot(host="ro") as inner:
                assert inner.run(["ls", str(root)], capture_output=True, text=True).stdout == "f\n"
            assert len(names_there()) == 1

    entered(work)


def test_again_is_nothing_new() -> None:
    def work() -> None:
        namespace, pid = os.readlink("/proc/self/ns/mnt"), helper()
        verytmp.enter()
        in_child(verytmp.enter)
        assert os.readlink("/proc/self/ns/mnt") == namespace
        assert helper() == pid

    entered(work)


JOINS = """\
import sys, threading, verytmp
from verytmp._programs import enter
ended = threading.Event()
threading.Thread(target=ended.wait).start()
joined = enter.join()
if joined:
    with verytmp.VeryTmpRoot(at=sys.argv[1] + "/d", size="1m") as root:
        open(sys.argv[1] + "/d/f", "w").close()
        print(root.at, *[path.name for path in root.path.iterdir()], root.usage().total)
print(joined)
ended.set()
"""


def test_a_program_in_it_joins(host: Path) -> None:
    """With threads, which keep it from entering one of its own; and not where there is none to be joined."""

    def joins() -> str:
        command = [sys.executable, "-W", "error", "-c", JOINS]
        with VeryTmpRoot() as root:
            (root / "d").mkdir()
            run = subprocess.run([*command, str(root)], capture_output=True, text=True)
            assert run.stderr == ""
            assert os.listdir(str(root / "d")) == []
            assert len(names_there()) == 1
            return run.stdout.replace(str(root), "R")

    assert entered(joins) == "R/d f 1048576\nTrue\n"

    def outside() -> str:
        command = [sys.executable, "-W", "error", "-c", JOINS, str(host)]
        return subprocess.run(command, capture_output=True, text=True).stdout

    assert outside() == "False\n"


def test_the_helper_stays_for_who_has_joined() -> None:
    """And ends with the last of them."""

    def work() -> int:
        code = "from verytmp._programs import enter; import verytmp; enter.join(); print(flush=True); input()\n"
        code += "verytmp.VeryTmpRoot(at='/verytmp/x').close(); print('made')"
        command = [sys.executable, "-W", "error", "-c", code]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        assert strategy.entered_client is not None
        pid = helper()
        strategy.entered_client._channel.close()
        assert process.communicate("go\n")[0] == "made\n"
        assert process.returncode == 0
        return pid

    assert is_gone(entered(work))


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_more_than_one_thread() -> None:
    def work() -> None:
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait, name="a-thread-of-ours")
        thread.start()
        try:
            with pytest.raises(VeryTmpError, match=r"has 2 .a-thread-of-ours.*before they are started") as caught:
                verytmp.enter()
            assert caught.value.errno == errno.EINVAL
        finally:
            ended.set()
            thread.join()
        verytmp.enter()

    in_child(work)


@pytest.mark.parametrize("call", ["unshare", "setns", "open_tree", "move_mount"])
def test_a_refusal_changes_nothing(call: str) -> None:
    def work() -> None:
        kernel.seccomp(kernel.Rule(call, errno.EPERM))
        before = os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/user"), os.getuid(), os.getcwd()
        with pytest.raises(OSError, match=call):
            verytmp.enter()
        assert (os.readlink("/proc/self/ns/mnt"), os.readlink("/proc/self/ns/user"), os.getuid(), os.getcwd()) == before
        if call != "unshare":
            with VeryTmpRoot() as root:
                assert str(root).startswith("/proc/")

    in_child(work)


def test_before_mount_setattr() -> None:
    """Linux has it since 5.12. Who may write to the private ``/``, the helper, may without it."""

    def work() -> None:
        kernel.seccomp(kernel.Rule("mount_setattr", errno.ENOSYS))
        verytmp.enter()
        with VeryTmpRoot() as root:
            os.chdir(root)
            assert os.getcwd() == str(root)
            with pytest.raises(OSError, match="Read-only"):
                os.mkdir("/verytmp/mine")

    in_child(work)


def test_docker_refuses_it_with_the_cause() -> None:
    def work() -> str:
        refusals.docker()
        with pytest.raises(VeryTmpUnavailable) as caught:
            verytmp.enter()
        return str(caught.value.cause)

    assert in_child(work) == "seccomp-call"


def test_a_working_directory_that_is_gone(host: Path) -> None:
    def work() -> None:
        (host / "d").mkdir()
        os.chdir(host / "d")
        (host / "d").rmdir()
        before = os.readlink("/proc/self/ns/mnt")
        with pytest.raises(FileNotFoundError):
            verytmp.enter()
        assert os.readlink("/proc/self/ns/mnt") == before

    in_child(work)


def test_the_helpers_death_is_named() -> None:
    def work() -> None:
        root = VeryTmpRoot()
        (root / "f").write_text("potatoes")
        os.kill(helper(), signal.SIGKILL)
        assert is_gone(helper())
        with pytest.raises(VeryTmpUnavailable, match=r"helper that verytmp\.enter\(\) has started is gone") as caught:
            VeryTmpRoot()
        assert "at=False" in caught.value.remedy
        assert caught.value.cause == "child"
        with VeryTmpRoot(at=False) as other:
            other.path.touch()
        assert Path(str(root), "f").read_text() == "potatoes"
        root.close()

    entered(work)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_program_without_standard_streams(kept: int) -> None:
    """Its sockets get their numbers, and so do those of the helper, which is a copy of it."""

    def work() -> str:
        os.closerange(kept, 3)
        verytmp.enter()
        return str(VeryTmpRoot())[:9]

    assert in_child(work) == "/verytmp/"


def test_a_program_that_closes_all_descriptors() -> None:
    def work() -> None:
        root = VeryTmpRoot()
        os.closerange(512, 800)
        assert strategy.entered_client is not None
        os.close(strategy.entered_client._channel.fileno())
        other = os.open(os.devnull, os.O_RDONLY)  # it may get the socket's number
        with pytest.raises(VeryTmpUnavailable, match="is gone"):
            VeryTmpRoot()
        os.fstat(other)
        root.close()

    entered(work)


def test_a_signal_while_it_waits() -> None:
    """Ctrl-C while a helper that is stopped is waited for. Then all goes on."""

    def work() -> None:
        def interrupt(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        os.kill(helper(), signal.SIGSTOP)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            VeryTmpRoot()
        os.kill(helper(), signal.SIGCONT)
        before = set(os.listdir("/proc/self/fd"))
        with VeryTmpRoot() as root:
            root.path.touch()
        assert set(os.listdir("/proc/self/fd")) == before
        assert names_there() == []  # not even that of the root that nobody has got

    entered(work)


def test_signals_of_the_terminal_do_not_reach_the_helper() -> None:
    def work() -> None:
        os.setpgid(0, 0)
        verytmp.enter()
        assert os.getsid(helper()) != os.getsid(0)  # SIGSTOP cannot be blocked
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
            os.killpg(0, number)
        VeryTmpRoot().close()

    in_child(work)


def test_a_root_cannot_be_pickled_to_a_file() -> None:
    def work() -> None:
        with VeryTmpRoot() as root, pytest.raises(TypeError):
            pickle.dumps(root.path)

    entered(work)


def test_no_process_is_a_child_of_this_one() -> None:
    """Who waits for all of its children must not wait for the helper."""

    def work() -> None:
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    entered(work)
