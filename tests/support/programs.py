"""What is done with paths' strings, by libraries and programs: the rows of docs/compatibility.md.

An action has an empty root. It returns when it has worked, and what it made is there; where that was refused, it raises
`Refused`, or what the library raises.
"""

from __future__ import annotations

import base64
import dbm.dumb
import hashlib
import importlib
import io
import os
import shelve
import shutil
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from support import tools_and_servers
from support.children import in_child
from support.compatibility import FAILS, NOT_ASKED, OLD_SQLITE, WORKS, Row, holds, run
from verytmp import VeryTmpRoot

UP = "/".join([".."] * 30)


# -- Python ------------------------------------------------------------------------------------------------------------


def realpath(root: VeryTmpRoot) -> None:
    (root / "f").write_text("potatoes")
    with open(os.path.realpath(root / "f")) as file:
        file.read()


def resolved(root: VeryTmpRoot) -> None:
    (root / "f").write_text("potatoes")
    Path(os.fspath(root / "f")).resolve().read_text()


def abspath(root: VeryTmpRoot) -> None:
    """Of everything, with dots that would go up to the host's root directory."""
    name = f"{secret().parent.parent.name}-f"  # marked, should it get there
    (root / "d").mkdir()
    for path in (
        root / name,
        root / UP / name,
        root / "d" / ".." / name,
        root / f"d/{UP}/{name}",
        root / f"{UP}/{name}",
    ):
        for clean in (os.path.abspath, os.path.normpath):
            with open(clean(path), "w") as file:
                file.write("potatoes")
            holds(root / name, b"potatoes")
            (root / name).unlink()


def changed_directory(root: VeryTmpRoot) -> None:
    def work() -> None:
        os.chdir(root.path)
        Path("d").mkdir()
        Path("d", "f").write_text("potatoes")
        with suppress(OSError):  # root may write above the root: the mount has no other way up
            Path("../../../../g").write_text("up")
        os.rename("d/f", "f")

    in_child(work)
    holds(root / "f", b"potatoes")


def current_directory(root: VeryTmpRoot) -> None:
    def work() -> None:
        os.chdir(root.path)
        Path("f").absolute().write_text("potatoes")

    in_child(work)


def temporary(root: VeryTmpRoot) -> None:
    with tempfile.NamedTemporaryFile(dir=root.path) as file, tempfile.TemporaryDirectory(dir=root.path) as folder:
        file.write(b"potatoes")
        file.flush()
        holds(Path(file.name), b"potatoes")
        Path(folder, "f").touch()


def script(root: VeryTmpRoot) -> None:
    (root / "s.py").write_text("import m; print(m.x)")
    (root / "m.py").write_text("x = 5")
    assert run(sys.executable, root / "s.py") == "5\n"


def venv(root: VeryTmpRoot, *options: str) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", *options, root / "v")
    assert (root / "v" / "pyvenv.cfg").is_file()
    assert run(root / "v" / "bin" / "python", "-c", "print(5)") == "5\n"


def pip(root: VeryTmpRoot) -> None:
    with tempfile.TemporaryDirectory(prefix="verytmp-tests-", dir="/dev/shm") as folder:
        wheel = Path(folder, "potatoes-1-py3-none-any.whl")
        wheel.write_bytes(a_wheel())
        options = ("--no-index", "--no-deps", "--no-compile", "--isolated")
        run(sys.executable, "-m", "pip", "install", *options, "--target", root / "t", wheel)
    holds(root / "t" / "potatoes.py", b"x = 5\n")


def a_wheel() -> bytes:
    file = io.BytesIO()
    content = {
        "potatoes.py": "x = 5\n",
        "potatoes-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: potatoes\nVersion: 1\n",
        "potatoes-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for name, text in content.items()
    )
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in (
            content | {"potatoes-1.dist-info/RECORD": f"{record}potatoes-1.dist-info/RECORD,,\n"}
        ).items():
            archive.writestr(name, text)
    return file.getvalue()


# -- databases and locks -----------------------------------------------------------------------------------------------


def sqlite(root: VeryTmpRoot) -> None:
    connection = sqlite3.connect(root / "d.db")
    try:
        connection.execute("create table t (x)")
        connection.commit()
    finally:
        connection.close()
    holds(root / "d.db")


def sqlite_from_inside(root: VeryTmpRoot) -> None:
    def work() -> None:
        os.chdir(root.path)
        connection = sqlite3.connect("d.db")
        try:
            connection.execute("create table t (x)")
            connection.commit()
        finally:
            connection.close()

    in_child(work)
    holds(root / "d.db")


def dumb(root: VeryTmpRoot) -> None:
    with dbm.dumb.open(os.fspath(root / "d"), "c") as file:
        file["x"] = b"potatoes"
    holds(root / "d.dat")


def other_dbm(module: str) -> Callable[[VeryTmpRoot], None]:
    def action(root: VeryTmpRoot) -> None:
        with importlib.import_module(module).open(os.fspath(root / "d"), "c") as file:
            file["x"] = b"potatoes"
        assert any(path.stat().st_size for path in root.path.iterdir())

    return action


def shelf(root: VeryTmpRoot) -> None:
    with dbm.dumb.open(os.fspath(root / "d"), "c") as file:
        database: Any = file
        with shelve.Shelf[Any](database) as found:
            found["x"] = ["potatoes"]
    holds(root / "d.dat")


def lock(root: VeryTmpRoot) -> None:
    """In a process of its own, as duckdb: the one has a word to say about each fork, the other has threads."""
    code = "import filelock, sys; filelock.FileLock(sys.argv[1], timeout=5).acquire()"
    run(sys.executable, "-c", code, root / "lock")
    holds(root / "lock")


def duck(root: VeryTmpRoot) -> None:
    code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('create table t as select 5 as x')"
    run(sys.executable, "-c", code, root / "d.db")
    holds(root / "d.db")


def duck_csv(root: VeryTmpRoot) -> None:
    code = "import duckdb, sys; duckdb.sql(f'copy (select 5 as x) to {sys.argv[1]!r}')"
    run(sys.executable, "-c", code, root / "f.csv")
    holds(root / "f.csv", b"x\n5\n")


# -- programs ----------------------------------------------------------------------------------------------------------


def virtualenv(root: VeryTmpRoot) -> None:
    options = ("--no-download", "--without-pip", "--no-periodic-update")
    run(sys.executable, "-m", "virtualenv", "-q", *options, root / "v")
    assert (root / "v" / "pyvenv.cfg").is_file()


def git_init(root: VeryTmpRoot) -> None:
    run("git", "init", "-q", root / "r")
    assert (root / "r" / ".git" / "HEAD").is_file()


def git_inside(root: VeryTmpRoot) -> None:
    run("git", "init", "-q", cwd=root.path)
    assert (root / ".git" / "HEAD").is_file()


def git_checkout(root: VeryTmpRoot) -> None:
    """Of a tree with links to the host, and files that would be behind them, into a root."""
    with tempfile.TemporaryDirectory(prefix="verytmp-tests-", dir="/dev/shm") as folder:
        run("git", "init", "-q", folder)
        stream = "commit refs/heads/x\ncommitter x <x> 0 +0000\ndata 0\n"
        for name, mode, words in (
            ("link", "120000", str(secret().parent)),
            ("up", "120000", UP),
            ("f", "100644", "potatoes"),
        ):
            stream += f"M {mode} inline {name}\ndata {len(words)}\n{words}\n"
        run("git", "-C", folder, "fast-import", "--quiet", input=stream)
        run("git", f"--git-dir={folder}/.git", f"--work-tree={os.fspath(root)}", "checkout", "-f", "x")
    holds(root / "f", b"potatoes")


def git_archive(root: VeryTmpRoot) -> None:
    with tempfile.TemporaryDirectory(prefix="verytmp-tests-", dir="/dev/shm") as folder:
        run("git", "init", "-q", folder)
        run("git", "-C", folder, "-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x")
        run("git", "-C", folder, "archive", "-o", root / "a.tar", "HEAD")
    holds(root / "a.tar")


def git_hash(root: VeryTmpRoot) -> None:
    (root / "f").write_text("potatoes")
    assert len(run("git", "hash-object", root / "f")) == 41


def node_files(root: VeryTmpRoot) -> None:
    code = (
        "const fs = require('fs'); fs.mkdirSync(process.argv[1]); fs.writeFileSync(process.argv[1] + '/f', 'potatoes')"
    )
    run("node", "-e", code, root / "d")
    holds(root / "d" / "f", b"potatoes")


def node_script(root: VeryTmpRoot) -> None:
    (root / "s.js").write_text("console.log(5)")
    assert run("node", root / "s.js") == "5\n"


def node_realpath(root: VeryTmpRoot) -> None:
    code = "const fs = require('fs'); fs.writeFileSync(fs.realpathSync(process.argv[1]) + '/f', 'potatoes')"
    run("node", "-e", code, root.path)
    holds(root / "f", b"potatoes")


def make_file(root: VeryTmpRoot) -> None:
    (root / "Makefile").write_text(f"{os.fspath(root / 'f')}:\n\techo potatoes > $@\n")
    run("make", "-s", "-f", root / "Makefile")
    holds(root / "f", b"potatoes\n")


def make_directory(root: VeryTmpRoot) -> None:
    (root / "Makefile").write_text("f: g\n\tcp g f\n")
    (root / "g").write_text("potatoes")
    run("make", "-s", "-C", root.path)
    holds(root / "f", b"potatoes")


C_PROGRAM = r"""
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
    char buffer[PATH_MAX + 8192], *path = words[2];
    if (!strcmp(words[1], "canonical") && !(path = realpath(path, NULL))) return 1;
    int file = open(path, !strcmp(words[1], "write") ? O_CREAT | O_WRONLY : O_RDONLY, 0666);
    if (file < 0) return 2;
    if (!strcmp(words[1], "write")) return write(file, "potatoes", 8) != 8;
    ssize_t got = read(file, buffer, sizeof buffer);
    return got < 0 || write(1, buffer, got) != got;
}
"""


def compiled(root: VeryTmpRoot) -> Path:
    (root / "p.c").write_text(C_PROGRAM)
    run("gcc", "-o", root / "p", root / "p.c")
    return root / "p"


def c_program(root: VeryTmpRoot) -> None:
    program = compiled(root)
    run(program, "write", root / "f")
    holds(root / "f", b"potatoes")
    assert run(program, "read", root / "f") == "potatoes"


def c_link(root: VeryTmpRoot) -> None:
    program = compiled(root)
    (root / "link").symlink_to(str(secret()))
    run(program, "read", root / "link")


def secret() -> Path:
    """What the canary has planted beside the home that it gives us."""
    return Path.home().parent / "vault" / "secret"


def c_canonical(root: VeryTmpRoot) -> None:
    program = compiled(root)
    (root / "f").write_text("potatoes")
    run(program, "canonical", root / "f")


def tools(root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    (root / "d" / "f").write_text("potatoes\n")
    run("cp", "-a", root / "d", root / "e")
    run("mv", root / "e" / "f", root / "e" / "g")
    run("sed", "-i", "s/potatoes/tomatoes/", root / "e" / "g")
    run("ln", root / "e" / "g", root / "h")
    run("sort", "-o", root / "e" / "s", root / "h")
    assert run("find", f"{os.fspath(root)}/", "-name", "g").strip() == os.fspath(root / "e" / "g")
    run("rm", "-r", root / "d")
    holds(root / "e" / "s", b"tomatoes\n")
    assert not (root / "d").exists()


def shell(root: VeryTmpRoot) -> None:
    (root / "s.sh").write_text('cd "$1" && echo potatoes > f && mkdir -p d/e && mv f d/e/f && [ -f d/e/f ]')
    run("sh", root / "s.sh", root.path)
    holds(root / "d" / "e" / "f", b"potatoes\n")


def readlink_program(root: VeryTmpRoot) -> None:
    (root / "f").write_text("potatoes")
    run("cat", run("realpath", root / "f").strip())


CANONICAL = "it canonicalises the path"
CWD = "it asks for its working directory"

# What programs make of a root's own string, which is that of a directory: each copies all that is in it.
OWN_STRING = {
    "cp": "cp -a {root} {out}/copy",
    "tar": "tar -C {root} -cf {out}/a.tar . && tar -C {out} -xf {out}/a.tar && rm {out}/a.tar",
    "find": "test $(find {root} -type f | wc -l) = 2 && cp -a {root} {out}/copy",
    "du": "test $(du -s -k {root} | cut -f1) -ge 8 && cp -a {root} {out}/copy",
    "ls": "ls -d {root} && test -d {root} && test ! -L $(echo {root} | sed 's,/$,,') && cp -r {root} {out}/copy",
    "rsync": "rsync -a {root} {out}/",
    "7z": "7z a -bso0 {out}/a.7z {root} && 7z x -bso0 -o{out}/x {out}/a.7z && rm {out}/a.7z",
}


def with_own_string(script: str, root: VeryTmpRoot) -> None:
    (root / "d").mkdir()
    (root / "f").write_text("potatoes")
    (root / "d" / "g").write_text("tomatoes")
    with tempfile.TemporaryDirectory(prefix="verytmp-tests-", dir="/dev/shm") as out:
        run("sh", "-euc", script.format(root=os.fspath(root), out=out))
        assert sorted(path.name for path in Path(out).rglob("*") if path.is_file()) == ["f", "g"]


def whole_root(root: VeryTmpRoot) -> None:
    text = os.fspath(root)
    (root / "d").mkdir()
    (root / "d" / "g").write_text("tomatoes")
    assert not os.path.islink(text)
    assert [names for _, *names in os.walk(text)] == [[["d"], []], [[], ["g"]]]
    shutil.copytree(text, f"{text}/copy", ignore=shutil.ignore_patterns("copy"))
    holds(root / "copy" / "d" / "g", b"tomatoes")
    shutil.rmtree(text)
    assert not os.path.exists(text)
    os.mkdir(text)


ROWS: dict[str, Row] = {
    "tempfile": Row("files and directories with `dir=`", temporary, WORKS),
    "os.path.abspath, normpath": Row("of paths with any `..`, opened", abspath, WORKS, by_name=(NOT_ASKED, WORKS)),
    "os.path.realpath": Row("opened", realpath, FAILS, "the canonical path does not exist"),
    "pathlib.Path.resolve": Row("of a plain path, opened", resolved, FAILS, "the canonical path does not exist"),
    "os.chdir": Row("and relative names", changed_directory, WORKS),
    "os.getcwd": Row("in it", current_directory, FAILS, "the working directory has no name"),
    "python": Row("a program and a module in it", script, WORKS),
    "venv": Row("`python -m venv`, and its python", venv, FAILS, "its `python` is an absolute link"),
    "venv, copied": Row("`python -m venv --copies`, and its python", lambda root: venv(root, "--copies"), WORKS),
    "pip": Row("`pip install --target`", pip, WORKS, modules=("pip",)),
    "sqlite3": Row("a database", sqlite, FAILS, CANONICAL, unless=OLD_SQLITE),
    "sqlite3, from inside": Row("a database by its relative name, after `os.chdir`", sqlite_from_inside, FAILS, CWD),
    "dbm.dumb": Row("a database", dumb, WORKS),
    "dbm.ndbm": Row("a database", other_dbm("dbm.ndbm"), WORKS, modules=("_dbm",)),
    "dbm.sqlite3": Row(
        "a database (since Python 3.13)",
        other_dbm("dbm.sqlite3"),
        FAILS,
        CANONICAL,
        unless=OLD_SQLITE,
        modules=("dbm.sqlite3",),
    ),
    "shelve": Row("on `dbm.dumb`", shelf, WORKS),
    "filelock": Row("`FileLock`", lock, FAILS, CANONICAL, modules=("filelock",)),
    "duckdb": Row("a database", duck, FAILS, CANONICAL, modules=("duckdb",)),
    "duckdb, files": Row("`copy ... to`", duck_csv, WORKS, modules=("duckdb",)),
    "virtualenv": Row("`python -m virtualenv`", virtualenv, FAILS, CANONICAL, modules=("virtualenv",)),
    "git init": Row("by its path", git_init, FAILS, CANONICAL, ("git",)),
    "git init, from inside": Row("in its working directory", git_inside, FAILS, CWD, ("git",)),
    "git checkout": Row("of a tree with links to the host, as `--work-tree`", git_checkout, FAILS, CANONICAL, ("git",)),
    "git archive": Row("into it", git_archive, WORKS, "", ("git",)),
    "git hash-object": Row("of a file", git_hash, WORKS, "", ("git",)),
    "node": Row("`fs.mkdir`, `fs.writeFile`", node_files, WORKS, "", ("node",)),
    "node, a script": Row("`node <file>`", node_script, FAILS, CANONICAL, ("node",)),
    "node, realpath": Row(
        "`fs.realpath`, written below", node_realpath, FAILS, "the canonical path does not exist", ("node",)
    ),
    "make -f": Row("a makefile in it", make_file, WORKS, "", ("make",)),
    "make -C": Row("in its working directory", make_directory, WORKS, "", ("make",)),
    "gcc": Row("compiles in it, and what it made runs", c_program, WORKS, "", ("gcc",)),
    "C, an absolute link": Row("`open(2)`", c_link, FAILS, "the kernel follows no link", ("gcc",)),
    "C, realpath(3)": Row("opened", c_canonical, FAILS, "the canonical path does not exist", ("gcc",)),
    "cp, mv, rm, find, sed, sort, ln": Row("on files and trees", tools, WORKS),
    "sh": Row("a script in it, `cd` and relative names", shell, WORKS),
    "realpath": Row("printed, and opened", readlink_program, FAILS, "the canonical path does not exist"),
    "os.path.islink, os.walk, shutil.copytree, shutil.rmtree": Row(
        "of the root's own string",
        whole_root,
        WORKS,
        "by its name it is a mount, which cannot be removed",
        by_name=(FAILS, FAILS),
    ),
    **{
        name: Row("of the root's own string", partial(with_own_string, script), WORKS, "", (name,))
        for name, script in OWN_STRING.items()
    },
    **tools_and_servers.ROWS,
}
