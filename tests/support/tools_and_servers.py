"""More rows of docs/compatibility.md: what developers run, and what serves others."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.compatibility import FAILS, OLD_SQLITE, WORKS, Refused, Row, holds, run
from verytmp import VeryTmpRoot

CANONICAL = "it canonicalises the path"
CWD = "it asks for its working directory"
OTHER_USER = "root starts it as another user, who may not open the string"
ORDINARY_USER = ("an ordinary user", os.geteuid() != 0)

NOBODY = 65534

GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@localhost")

Action = Callable[[VeryTmpRoot], object]


# -- version control and databases -------------------------------------------------------------------------------------


def repository(path: Path) -> None:
    """With one commit."""
    run("git", "init", "-q", path)
    (path / "f").write_text("potatoes")
    run(*GIT, "-C", path, "add", "f")
    run(*GIT, "-C", path, "commit", "-q", "-m", "x")


def git_commit(root: VeryTmpRoot) -> None:
    repository(root / "r")
    assert run("git", "-C", root / "r", "log", "--format=%s") == "x\n"


def git_clone(root: VeryTmpRoot) -> None:
    repository(root / "r")
    run("git", "clone", "-q", root / "r", root / "clone")
    holds(root / "clone" / "f", b"potatoes")


def git_worktree(root: VeryTmpRoot) -> None:
    repository(root / "r")
    run("git", "-C", root / "r", "worktree", "add", "-q", root / "tree")
    holds(root / "tree" / "f", b"potatoes")


def git_gc(root: VeryTmpRoot) -> None:
    repository(root / "r")
    run("git", "-C", root / "r", "gc", "-q")
    assert len(list((root / "r" / ".git" / "objects" / "pack").glob("*.pack"))) == 1


def sqlite_wal(root: VeryTmpRoot) -> None:
    first, second = (sqlite3.connect(root / "d.db") for _ in range(2))
    try:
        assert first.execute("pragma journal_mode=wal").fetchone() == ("wal",)
        first.execute("create table t (x)")
        first.execute("insert into t values (5)")
        first.commit()
        assert second.execute("select x from t").fetchall() == [(5,)]
        holds(root / "d.db-wal")
    finally:
        first.close()
        second.close()


def sqlite_program(root: VeryTmpRoot) -> None:
    script = "pragma journal_mode=wal; create table t (x); insert into t values (5); select x from t;"
    assert run("sqlite3", root / "d.db", script) == "wal\n5\n"
    holds(root / "d.db")


def disk_cache(root: VeryTmpRoot) -> None:
    code = "import diskcache, sys; c = diskcache.Cache(sys.argv[1]); c['x'] = 5; print(c['x'])"
    assert run(sys.executable, "-c", code, root / "c") == "5\n"
    holds(root / "c" / "cache.db")


# -- builds ------------------------------------------------------------------------------------------------------------


def node_package(root: VeryTmpRoot) -> None:
    (root / "package.tgz").write_bytes(tarball({
        "package/package.json": b'{"name": "potatoes", "version": "1.0.0", "bin": {"potatoes": "p.js"}}',
        "package/p.js": b"#!/usr/bin/env node\nconsole.log(require('path').basename(__filename))\n",
    }))  # fmt: skip
    (root / "p").mkdir()
    (root / "p" / "package.json").write_text("{}")
    run("npm", "install", "--offline", "--no-audit", "--no-fund", root / "package.tgz", cwd=root / "p")
    assert run(root / "p" / "node_modules" / ".bin" / "potatoes") == "p.js\n"


def tarball(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def project(root: VeryTmpRoot) -> Path:
    """A Python project that setuptools builds."""
    path = root / "project"
    path.mkdir()
    (path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "potatoes"\nversion = "1"\n[tool.setuptools]\npy-modules = ["potatoes"]\n'
    )
    (path / "potatoes.py").write_text("x = 5\n")
    return path


def build(root: VeryTmpRoot) -> None:
    path = project(root)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", path)
    assert [wheel.name for wheel in (path / "dist").iterdir()] == ["potatoes-1-py3-none-any.whl"]


def pip_from_source(root: VeryTmpRoot) -> None:
    (root / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": os.fspath(root / "tmp"), "HOME": os.fspath(root / "tmp")}
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "install", *options, "--target", root / "t", project(root), env=environment)
    holds(root / "t" / "potatoes.py", b"x = 5\n")


def cmake(root: VeryTmpRoot) -> None:
    (root / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(p p.c)\n")
    (root / "p.c").write_text("int main(void) { return 0; }\n")
    run("cmake", "-S", root.path, "-B", root / "b")
    run("cmake", "--build", root / "b")
    run(root / "b" / "p")


def cargo(root: VeryTmpRoot) -> None:
    toolchains = Path(shutil.which("cargo") or "").parent.parent.parent / ".rustup"
    environment = os.environ | {"CARGO_HOME": os.fspath(root / "home"), "RUSTUP_HOME": str(toolchains)}
    run("cargo", "init", "-q", "--vcs", "none", "--name", "potatoes", root / "p", env=environment)
    assert "Hello" in run("cargo", "run", "-q", "--offline", cwd=root / "p", env=environment, timeout=180)


def debugger(root: VeryTmpRoot) -> None:
    (root / "p.c").write_text("int main(void) { return 0; }\n")
    run("gcc", "-g", "-o", root / "p", root / "p.c", cwd=root.path)
    said = run("gdb", "--batch", "-nx", "-ex", "list main", "-ex", "info source", root / "p", cwd=root.path)
    if f"Located in {os.fspath(root)}/p.c" not in said:
        raise Refused(said)


def type_checker(root: VeryTmpRoot) -> None:
    (root / "m.py").write_text("x: int = 5\n")
    (root / "p.py").write_text("import m\ny: int = m.x\n")
    run(sys.executable, "-m", "mypy", "--cache-dir", root / "cache", "p.py", cwd=root.path)
    assert any((root / "cache").iterdir())


def tests(root: VeryTmpRoot) -> None:
    (root / "test_it.py").write_text("import m\ndef test_it(tmp_path):\n    assert m.x == 5\n")
    (root / "m.py").write_text("x = 5\n")
    own = ("-p", "no:verytmp", "--basetemp", root / "base", "-q")
    assert "1 passed" in run(sys.executable, "-m", "pytest", *own, root / "test_it.py", cwd=root.path)


def site(root: VeryTmpRoot) -> None:
    (root / "conf.py").write_text("project = 'potatoes'\n")
    (root / "index.rst").write_text("Potatoes\n========\n")
    run(sys.executable, "-m", "sphinx", "-q", "-b", "html", root.path, root / "out")
    holds(root / "out" / "index.html")


def office(root: VeryTmpRoot) -> None:
    """Its profile is there too, with which it begins."""
    (root / "f.txt").write_text("potatoes")
    profile = f"-env:UserInstallation=file://{os.fspath(root)}/profile"
    options = ("--headless", "--convert-to", "odt", "--outdir", root / "out")
    run("soffice", profile, *options, root / "f.txt", timeout=180)
    if not (root / "out" / "f.odt").exists():  # its status is 0
        raise Refused("nothing was converted")
    with zipfile.ZipFile(root / "out" / "f.odt") as document:
        assert b"potatoes" in document.read("content.xml")


KERNEL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(startup_timeout=120)
try:
    answer = client.execute_interactive("open('out', 'w').write(__import__('os').getcwd())", timeout=120)
    assert answer["content"]["status"] == "ok"
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def notebook_kernel(root: VeryTmpRoot) -> None:
    (root / "p.py").write_text(KERNEL)
    run(sys.executable, root / "p.py", cwd=root.path, timeout=240)
    holds(root / "out", os.fsencode(root))


# -- keys, archives ----------------------------------------------------------------------------------------------------


def gpg(root: VeryTmpRoot) -> None:
    (root / "g").mkdir(0o700)
    home = ("--homedir", os.fspath(root / "g"))
    try:
        run("gpg", *home, "--batch", "-q", "--passphrase", "", "--quick-gen-key", "potatoes", "ed25519")
        (root / "f").write_text("potatoes")
        run("gpg", *home, "--batch", "-q", "--detach-sign", root / "f")
        run("gpg", *home, "-q", "--verify", root / "f.sig")
    finally:
        subprocess.run(["gpgconf", *home, "--kill", "all"], capture_output=True, check=False)


def openssl(root: VeryTmpRoot) -> None:
    subject = ("-subj", "/CN=localhost", "-days", "1", "-nodes")
    run("openssl", "req", "-x509", *subject, "-newkey", "rsa:2048", "-keyout", root / "key", "-out", root / "crt")
    assert "CN = localhost" in run("openssl", "x509", "-in", root / "crt", "-noout", "-subject")


def ssh_key(root: VeryTmpRoot) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / "key")
    assert run("ssh-keygen", "-l", "-f", root / "key.pub")


def tar(root: VeryTmpRoot) -> None:
    """With links, there and back."""
    (root / "d").mkdir()
    (root / "d" / "f").write_text("potatoes")
    os.symlink("f", root / "d" / "link")
    os.link(root / "d" / "f", root / "d" / "hard")
    (root / "out").mkdir()
    run("tar", "-C", root.path, "-czf", root / "a.tgz", "d")
    run("tar", "-C", root / "out", "-xzf", root / "a.tgz")
    holds(root / "out" / "d" / "hard", b"potatoes")
    assert os.readlink(root / "out" / "d" / "link") == "f"


def unzip(root: VeryTmpRoot) -> None:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("d/link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr("d/f", "potatoes")
        archive.writestr(link, "f")
    run("unzip", "-q", root / "a.zip", "-d", root / "out")
    holds(root / "out" / "d" / "f", b"potatoes")
    assert os.readlink(root / "out" / "d" / "link") == "f"


def own_directory(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    (root / "d" / "f").write_text("potatoes")
    said = run("sh", "-c", "cd d && find . -type f && du -s . && pwd -P", cwd=root.path).splitlines()
    if said[-1] != f"{root}/d":
        raise Refused(f"it is in {said[-1]}")


# -- servers -----------------------------------------------------------------------------------------------------------


@contextmanager
def serving(*command: str | os.PathLike[str], **keywords: Any) -> Iterator[None]:
    """A program that goes on until it is ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **keywords)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def eventually(call: Callable[[], object]) -> object:
    """What a call returns when its server is up: within a while."""
    for _ in range(300):
        try:
            return call()
        except (OSError, Refused):
            time.sleep(0.1)
    raise Refused("the server does not answer")


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return str(found.getsockname()[1])


def web_server(root: VeryTmpRoot) -> None:
    (root / "f.txt").write_text("potatoes")
    port = free_port()
    options = ("--bind", "127.0.0.1", "--directory", os.fspath(root), port)
    with serving(sys.executable, "-m", "http.server", *options):

        def fetch() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/f.txt") as answer:
                data: bytes = answer.read()
                return data

        assert eventually(fetch) == b"potatoes"


def redis(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    name = os.fspath(root / "d" / "socket")
    with serving("redis-server", "--port", "0", "--unixsocket", name, "--dir", os.fspath(root / "d")):
        assert eventually(lambda: run("redis-cli", "-s", name, "set", "x", "5")) == "OK\n"
        run("redis-cli", "-s", name, "save")
    holds(root / "d" / "dump.rdb")


def postgres(root: VeryTmpRoot) -> None:
    (root / "d").mkdir(0o700)
    user: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:  # it refuses to be root
        os.chmod(root.path, 0o711)
        os.chown(root / "d", NOBODY, NOBODY)
        user |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    run(os.path.realpath(shutil.which("initdb") or ""), "--no-sync", "-A", "trust", "-D", root / "d", **user)
    holds(root / "d" / "PG_VERSION")


ROWS: dict[str, Row] = {
    "git commit": Row("`init`, `add`, `commit`, `log`, by `-C`", git_commit, FAILS, CANONICAL, ("git",)),
    "git clone": Row("of a local repository", git_clone, FAILS, CANONICAL, ("git",)),
    "git worktree": Row("`worktree add`", git_worktree, FAILS, CANONICAL, ("git",)),
    "git gc": Row("of a repository", git_gc, FAILS, CANONICAL, ("git",)),
    "sqlite3, WAL": Row("two connections", sqlite_wal, FAILS, CANONICAL, unless=OLD_SQLITE),
    "sqlite3, the program": Row("a database in WAL mode", sqlite_program, FAILS, CANONICAL, ("sqlite3",)),
    "diskcache": Row("a cache", disk_cache, FAILS, CANONICAL, modules=("diskcache",)),
    "npm": Row("`npm install <tarball>`, `node_modules/.bin`", node_package, FAILS, CANONICAL, ("npm",)),
    "pip, from source": Row(
        "with its TMPDIR there too", pip_from_source, FAILS, CANONICAL, modules=("pip", "setuptools", "wheel")
    ),
    "build": Row("a wheel", build, FAILS, CANONICAL, modules=("build", "setuptools")),
    "cmake": Row("configures, builds", cmake, FAILS, CANONICAL, ("cmake", "gcc", "make")),
    "cargo": Row("`init`, `run`", cargo, FAILS, CANONICAL, ("cargo",)),
    "gdb": Row("finds the source of what was compiled there", debugger, WORKS, "", ("gdb", "gcc")),
    "mypy": Row("in its working directory", type_checker, FAILS, CWD, modules=("mypy",)),
    "pytest": Row("a test and its rootdir", tests, FAILS, CWD, modules=("pytest",)),
    "sphinx": Row("`-b html`", site, FAILS, CANONICAL, modules=("sphinx",)),
    "LibreOffice": Row("converts a text, with its profile there", office, WORKS, "", ("soffice",)),
    "Jupyter": Row(
        "a kernel in its working directory", notebook_kernel, FAILS, CWD, modules=("jupyter_client", "ipykernel")
    ),
    "gpg": Row("a key, a signature", gpg, WORKS, "", ("gpg",)),
    "openssl": Row("a key, a certificate", openssl, WORKS, "", ("openssl",)),
    "ssh-keygen": Row("a key", ssh_key, WORKS, "", ("ssh-keygen",)),
    "tar, with links": Row("there and back", tar, WORKS, "", ("tar",)),
    "unzip": Row("with a link", unzip, WORKS, "", ("unzip",)),
    "pwd, find, du": Row("from inside", own_directory, FAILS, CWD),
    "http.server": Row("serves a file", web_server, WORKS),
    "redis": Row("its socket and its dump", redis, WORKS, "", ("redis-server", "redis-cli")),
    "initdb": Row("of PostgreSQL", postgres, FAILS, OTHER_USER, ("initdb",), unless=ORDINARY_USER),
}
