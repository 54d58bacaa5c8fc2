"""What tests do with pytest's temporary directories: a suite for pytest, which passes with any that is one.

``python -m pytest tests/support/idioms.py``, with and without ``--verytmp``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BEGINNING = """
import asyncio, collections, concurrent.futures, configparser, contextlib, copy, csv, ctypes, dbm.dumb, errno, fcntl
import filecmp, fileinput, fnmatch, functools, glob, gzip, hashlib, importlib, importlib.util, io, json, linecache
import logging, logging.handlers, mailbox, mmap, multiprocessing, netrc, os, pathlib, pickle, py_compile, random, re
import runpy, select, shelve, shutil, signal, socket, sqlite3, stat, subprocess, sys, tarfile, tempfile, textwrap
import threading, time, tracemalloc, traceback, types, urllib.parse, urllib.request, uuid, venv, zipfile, zipimport
from pathlib import Path, PurePath, PurePosixPath, PosixPath
from unittest import mock
p, factory, env = tmp_path, tmp_path_factory, monkeypatch
f = p / "f.txt"
def run(*args, **kw):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True, **kw).stdout.strip()
def python(code, *args, **kw):
    return run(sys.executable, "-c", textwrap.dedent(code), *args, **kw)
def git(*args):
    return run("git", "-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main", *args)
"""

# Each one is run after BEGINNING. In them, p is tmp_path, and f a file in it that is not there yet.
IDIOMS = {
    # what a path is
    "type": "assert type(p) is PosixPath",
    "isinstance": "assert isinstance(p, (Path, os.PathLike, PurePosixPath))",
    "absolute": "assert p.is_absolute() and p.absolute() == p",
    "empty": "assert os.listdir(p) == []",
    "mode": "assert stat.S_IMODE(p.stat().st_mode) == 0o700",
    "owner": "assert (p.stat().st_uid, p.stat().st_gid) == (os.geteuid(), os.getegid())",
    "owner by name": "assert p.owner() == Path('/proc/self').owner()",
    "name": "assert re.fullmatch(r'test_idiom_\\w*\\d+', p.name)",
    "equality": "assert p == Path(str(p)) and p == p.parent / p.name and str(p) == os.fspath(p)",
    "hash": "assert {p: 1}[Path(str(p))] == 1 and len({p, Path(str(p))}) == 1",
    "order": "assert sorted([p / 'b', p / 'a', p]) == [p, p / 'a', p / 'b']",
    "pure equality": "assert PurePosixPath(p) == PurePosixPath(str(p))",
    "pickle": "assert pickle.loads(pickle.dumps(p)) == p",
    "copy": "assert copy.copy(p) == copy.deepcopy(p) == p",
    "repr": "assert repr(p) == f\"PosixPath('{p}')\" and eval(repr(p)) == p",
    "json": "assert json.loads(json.dumps({'p': str(p)}))['p'] == str(p)",
    "uri": "assert Path(urllib.request.url2pathname(urllib.parse.urlparse(p.as_uri()).path)) == p",
    "urlopen": "f.write_text('x'); assert urllib.request.urlopen(f.as_uri()).read() == b'x'",
    "relative_to": "assert f.relative_to(p) == Path('f.txt') and str(f).startswith(str(p))",
    "is_relative_to": "assert f.is_relative_to(p) and not p.is_relative_to(f) and f.is_relative_to('/')",
    "parents": "assert p in f.parents and f.parents[-1] == Path('/')",
    "parts": "assert Path(*f.parts) == f and f.parts[0] == '/'",
    "anchor": "assert (p.anchor, p.root, p.drive) == ('/', '/', '')",
    "with_name": "assert f.with_name('g') == p / 'g' and f.with_suffix('.x') == p / 'f.x' and f.stem == 'f'",
    "joinpath absolute": "assert p / '/etc' == Path('/etc') and p.joinpath('a', 'b') == p / 'a/b'",
    "match": "assert f.match('*.txt') and fnmatch.fnmatch(str(f), f'{p}/*.txt')",
    "format": "assert f'{p}' == str(p) and '%s' % p == str(p) and '{}'.format(p) == str(p)",
    "bytes": "assert os.fsencode(p) == bytes(p); open(bytes(f), 'wb').close(); assert f.exists()",
    "commonpath": "assert os.path.commonpath([p / 'a', p / 'b']) == str(p)",
    "relpath": "assert Path(os.path.normpath(os.path.join(os.getcwd(), os.path.relpath(p)))) == p",
    "split": "assert os.path.split(f) == (str(p), 'f.txt') and os.path.dirname(f) == str(p)",
    "expanduser": "assert os.path.expanduser(str(p)) == str(p) == str(p.expanduser())",
    # where it is
    "resolve": "assert p.resolve() == p and p.resolve(strict=True) == p",
    "realpath": "assert os.path.realpath(p) == str(p) and os.path.realpath(f) == str(f)",
    "resolve dots": "(p / 'd').mkdir(); assert (p / 'd' / '..' / 'd').resolve() == p / 'd'",
    "dots": "(p / 'd').mkdir(); (p / 'd' / '..' / 'f.txt').touch(); assert f.exists()",
    "up to the root": "assert os.path.samefile(os.path.join(p, *['..'] * 20), '/')",
    "samefile": "f.touch(); assert f.samefile(str(f)) and os.path.samefile(p, p / '.')",
    "parent is there": "assert p.parent.is_dir() and p in list(p.parent.iterdir())",
    "getcwd": "env.chdir(p); assert os.getcwd() == str(p) and Path.cwd() == p",
    "chdir": "os.chdir(p); Path('f.txt').touch(); assert f.exists() and os.path.abspath('f.txt') == str(f); os.chdir('/')",
    "contextlib.chdir": "b = os.getcwd()\nwith contextlib.chdir(p): assert Path().resolve() == p\nassert os.getcwd() == b",
    "chdir and up": "(p / 'd').mkdir(); env.chdir(p / 'd'); os.chdir('..'); assert os.getcwd() == str(p)",
    "fchdir": "fd = os.open(p, os.O_RDONLY); b = os.getcwd(); os.fchdir(fd); assert os.getcwd() == str(p); os.chdir(b)",
    "left in it": "os.chdir(p)",
    "PWD": "env.chdir(p); assert run('sh', '-c', 'pwd') == str(p) == run('pwd', '-P')",
    "realpath program": "assert run('realpath', p) == str(p) == run('readlink', '-f', p)",
    "find": "f.touch(); assert run('find', p, '-name', '*.txt') == str(f)",
    "proc": "fd = os.open(p, os.O_RDONLY); assert os.readlink(f'/proc/self/fd/{fd}') == str(p); os.close(fd)",
    "fd of a file": "h = f.open('w'); assert os.readlink(f'/proc/self/fd/{h.fileno()}') == str(f); h.close()",
    "mount point": "assert not os.path.ismount(p)",
    "statvfs": "assert os.statvfs(p).f_bavail > 0 and shutil.disk_usage(p).free > 0",
    "device": "assert p.stat().st_dev == p.parent.stat().st_dev == factory.mktemp('x').stat().st_dev",
    # files
    "write_text": "f.write_text('ä', encoding='utf-8'); assert f.read_text('utf-8') == 'ä' and f.stat().st_size == 2",
    "write_bytes": "assert f.write_bytes(b'x') == 1 and f.read_bytes() == b'x'",
    "open": "with open(f, 'x') as h: h.write('x')\nassert h.name == str(f) and open(str(f)).read() == 'x'",
    "exclusive": "f.touch(exist_ok=False)\nwith pytest.raises(FileExistsError): f.touch(exist_ok=False)",
    "missing": "with pytest.raises(FileNotFoundError) as e: f.read_text()\nassert e.value.filename == str(f)",
    "message": "with pytest.raises(FileNotFoundError, match=re.escape(f\"No such file or directory: '{f}'\")): open(f)",
    "mkdir parents": "(p / 'a/b/c').mkdir(parents=True); os.makedirs(p / 'a/b/c', exist_ok=True)",
    "unlink": "f.touch(); f.unlink(); assert not f.exists(); f.unlink(missing_ok=True)",
    "rmdir": "(p / 'd').mkdir(); (p / 'd').rmdir(); assert not (p / 'd').exists()",
    "rmdir full": "f.touch()\nwith pytest.raises(OSError) as e: p.rmdir()\nassert e.value.errno == errno.ENOTEMPTY",
    "rmtree": "(p / 'a/b').mkdir(parents=True); f.touch(); shutil.rmtree(p); assert not p.exists()",
    "iterdir": "f.touch(); assert list(p.iterdir()) == [f]",
    "glob": "f.touch(); (p / 'd').mkdir(); assert list(p.glob('*.txt')) == [f] == list(p.rglob('*.txt'))",
    "glob module": "f.touch(); assert glob.glob(f'{p}/*') == [str(f)] and glob.glob('*.txt', root_dir=p) == ['f.txt']",
    "walk": "(p / 'd').mkdir(); f.touch(); assert list(os.walk(p)) == [(str(p), ['d'], ['f.txt']), (str(p / 'd'), [], [])]",
    "scandir": "f.touch()\nwith os.scandir(p) as s: [e] = s\nassert e.path == str(f) and e.is_file() and e.inode()",
    "touch times": "f.touch(); os.utime(f, (1, 2)); assert f.stat().st_mtime == 2 and f.stat().st_atime == 1",
    "utime ns": "f.touch(); os.utime(f, ns=(5, 1_000_000_007)); assert f.stat().st_mtime_ns == 1_000_000_007",
    "newer": "f.touch(); time.sleep(0.02); (p / 'g').touch(); assert f.stat().st_mtime_ns < (p / 'g').stat().st_mtime_ns",
    "truncate": "f.write_bytes(b'xyz'); os.truncate(f, 1); assert f.read_bytes() == b'x'",
    "sparse": "h = f.open('wb'); h.truncate(1 << 30); h.close(); assert f.stat().st_blocks == 0",
    "append": "f.write_text('a'); f.open('a').write('b'); assert f.read_text() == 'ab'",
    "seek": "h = f.open('w+b'); h.write(b'xyz'); h.seek(1); assert h.read() == b'yz'; h.close()",
    "unlinked but open": "h = f.open('w+'); f.unlink(); h.write('x'); h.seek(0); assert h.read() == 'x'; h.close()",
    "fsync": "h = f.open('w'); h.write('x'); h.flush(); os.fsync(h.fileno()); h.close()",
    "fsync a directory": "fd = os.open(p, os.O_RDONLY | os.O_DIRECTORY); os.fsync(fd); os.close(fd)",
    "atomic write": "t = f.with_suffix('.tmp'); t.write_text('x'); os.replace(t, f); assert os.listdir(p) == ['f.txt']",
    "O_TMPFILE": "fd = os.open(p, os.O_TMPFILE | os.O_RDWR); os.write(fd, b'x'); assert os.fstat(fd).st_nlink == 0 and os.listdir(p) == []; os.close(fd)",
    "dir_fd": "d = os.open(p, os.O_RDONLY); os.close(os.open('f.txt', os.O_CREAT, dir_fd=d)); os.close(d); assert f.exists()",
    "mmap": "f.write_bytes(b'xyz')\nwith f.open('r+b') as h, mmap.mmap(h.fileno(), 0) as m: m[0:1] = b'a'\nassert f.read_bytes() == b'ayz'",
    "sendfile": "f.write_bytes(b'x'); a, b = f.open('rb'), (p / 'g').open('wb'); os.sendfile(b.fileno(), a.fileno(), 0, 1); a.close(); b.close(); assert (p / 'g').read_bytes() == b'x'",
    "long name": "(p / ('n' * 255)).touch()\nwith pytest.raises(OSError) as e: (p / ('n' * 256)).touch()\nassert e.value.errno == errno.ENAMETOOLONG",
    "odd names": "[(p / n).touch() for n in ('a b', 'ä', '\\n', '-rf', '*', 'x' * 200)]; assert len(os.listdir(p)) == 6",
    "surrogates": "n = os.fsdecode(b'\\xff'); (p / n).touch(); assert os.listdir(p) == [n]",
    "case": "f.touch(); (p / 'F.TXT').touch(); assert len(os.listdir(p)) == 2",
    "many files": "[(p / str(n)).touch() for n in range(500)]; assert len(os.listdir(p)) == 500",
    "deep": "(p / '/'.join(['d'] * 100)).mkdir(parents=True)",
    "large": "f.write_bytes(bytes(8 << 20)); assert f.stat().st_size == 8 << 20",
    # permissions
    "chmod": "f.touch(0o600); f.chmod(0o644); assert stat.S_IMODE(f.stat().st_mode) == 0o644 and not os.access(f, os.X_OK)",
    "umask": "m = os.umask(0o027); f.touch(); os.umask(m); assert stat.S_IMODE(f.stat().st_mode) == 0o640",
    "unreadable": "f.write_text('x'); f.chmod(0); assert os.access(f, os.R_OK) == (os.geteuid() == 0)",
    "unreadable directory": "(p / 'd').mkdir(0); assert os.access(p / 'd', os.R_OK) == (os.geteuid() == 0)",
    "read-only directory": "(p / 'd').mkdir(0o500); assert os.access(p / 'd', os.W_OK) == (os.geteuid() == 0)",
    "PermissionError": "f.touch(0o400)\nif os.geteuid():\n with pytest.raises(PermissionError): f.open('w')",
    "left locked": "(p / 'd' / 'e').mkdir(parents=True); (p / 'd').chmod(0)",
    "setuid bit": "f.touch(); f.chmod(0o4755); assert f.stat().st_mode & stat.S_ISUID",
    "sticky": "p.chmod(0o1777); assert p.stat().st_mode & stat.S_ISVTX",
    "chown to myself": "f.touch(); os.chown(f, os.geteuid(), os.getegid()); shutil.chown(f, user=os.geteuid())",
    "chown to another": "f.touch()\nif os.geteuid():\n with pytest.raises(PermissionError): os.chown(f, 0, 0)\nelse: os.chown(f, 1, 1); assert f.stat().st_uid == 1",
    "executable": "f.write_text('#!/bin/sh\\necho x'); f.chmod(0o755); assert run(f) == 'x'",
    "not executable": "f.write_text('#!/bin/sh\\n')\nwith pytest.raises(PermissionError): run(f)",
    "which": "f.write_text('#!/bin/sh\\n'); f.chmod(0o755); env.setenv('PATH', str(p), prepend=os.pathsep); assert shutil.which('f.txt') == str(f)",
    "binary": "shutil.copy('/bin/true', p / 'true'); run(p / 'true')",
    # links
    "symlink absolute": "f.write_text('x'); (p / 'l').symlink_to(f); assert (p / 'l').read_text() == 'x' and (p / 'l').resolve() == f",
    "symlink relative": "f.write_text('x'); (p / 'l').symlink_to('f.txt'); assert open(p / 'l').read() == 'x' and os.readlink(p / 'l') == 'f.txt'",
    "symlink to a directory": "(p / 'd').mkdir(); (p / 'l').symlink_to(p / 'd', True); (p / 'l' / 'g').touch(); assert (p / 'd' / 'g').exists()",
    "symlink out": "(p / 'l').symlink_to(sys.executable); assert (p / 'l').resolve() == Path(sys.executable).resolve(); run(p / 'l', '-V')",
    "symlink up": "(p / 'd').mkdir(); f.touch(); (p / 'd' / 'l').symlink_to('../f.txt'); assert (p / 'd' / 'l').resolve() == f",
    "dangling": "(p / 'l').symlink_to(p / 'none'); assert (p / 'l').is_symlink() and not (p / 'l').exists() and os.path.lexists(p / 'l')",
    "loop": "(p / 'l').symlink_to('l')\nwith pytest.raises(OSError) as e: os.stat(p / 'l')\nassert e.value.errno == errno.ELOOP",
    "chdir by a link": "(p / 'd').mkdir(); (p / 'l').symlink_to('d'); env.chdir(p / 'l'); assert os.getcwd() == str(p / 'd')",
    "hard link": "f.touch(); os.link(f, p / 'g'); assert f.stat().st_nlink == 2 and f.samefile(p / 'g')",
    "hard link between": "f.touch(); os.link(f, factory.mktemp('x') / 'g'); assert f.stat().st_nlink == 2",
    "lstat": "(p / 'l').symlink_to('f.txt'); assert stat.S_ISLNK((p / 'l').lstat().st_mode) and (p / 'l').lstat().st_size == 5",
    # moving and copying
    "rename": "f.touch(); assert f.rename(p / 'g') == p / 'g' and not f.exists()",
    "rename between": "f.touch(); os.rename(f, factory.mktemp('x') / 'g')",
    "rename a directory": "(p / 'd/e').mkdir(parents=True); (p / 'd').rename(factory.mktemp('x') / 'd')",
    "replace from TMPDIR": "h = tempfile.NamedTemporaryFile(delete=False); h.write(b'x'); h.close(); os.replace(h.name, f); assert f.read_bytes() == b'x'",
    "replace to TMPDIR": "d = tempfile.mkdtemp(); f.touch(); os.replace(f, os.path.join(d, 'g')); shutil.rmtree(d)",
    "move": "f.touch(); shutil.move(f, p / 'g'); shutil.move(str(p / 'g'), str(factory.mktemp('x'))); assert os.listdir(p) == []",
    "copy file": "f.write_text('x'); f.chmod(0o640); shutil.copy2(f, p / 'g'); assert filecmp.cmp(f, p / 'g', shallow=False) and (p / 'g').stat().st_mode == f.stat().st_mode",
    "copytree": "(p / 'd').mkdir(); (p / 'd/g').touch(); shutil.copytree(p / 'd', p / 'e'); assert (p / 'e/g').exists()",
    "copy from the host": "shutil.copy(os.__file__, f); assert f.read_bytes() == Path(os.__file__).read_bytes()",
    "cp": "f.write_text('x'); run('cp', '-a', f, p / 'g'); run('mv', p / 'g', factory.mktemp('x')); assert os.listdir(p) == ['f.txt']",
    # special files, locks, sockets
    "fifo": "os.mkfifo(f); fd = os.open(f, os.O_RDWR); os.write(fd, b'x'); assert os.read(fd, 1) == b'x'; os.close(fd)",
    "unix socket": "s = socket.socket(socket.AF_UNIX); s.bind(str(p / 's')); s.listen(); c = socket.socket(socket.AF_UNIX); c.connect(str(p / 's')); c.close(); s.close()",
    "unix server": "async def main():\n s = await asyncio.start_unix_server(lambda r, w: w.close(), p / 's'); r, w = await asyncio.open_unix_connection(p / 's'); assert await r.read() == b''; w.close(); s.close()\nasyncio.run(main())",
    "socket path": "assert len(str(p / 'run' / 'a-socket.sock')) < 108",
    "multiprocessing listener": "from multiprocessing.connection import Listener, Client\nwith Listener(str(p / 's')) as a:\n t = threading.Thread(target=lambda: Client(str(p / 's')).send(1)); t.start(); c = a.accept(); assert c.recv() == 1; t.join(); c.close()",
    "flock": "h, g = f.open('w'), f.open()\nfcntl.flock(h, fcntl.LOCK_EX)\nwith pytest.raises(BlockingIOError): fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB)\nh.close(); g.close()",
    "lockf": "h = f.open('w'); fcntl.lockf(h, fcntl.LOCK_EX); assert python('import fcntl, sys\\ntry: fcntl.lockf(open(sys.argv[1], \"w\"), fcntl.LOCK_EX | fcntl.LOCK_NB)\\nexcept OSError: print(1)', f) == '1'; h.close()",
    "lock file": "fd = os.open(f, os.O_CREAT | os.O_EXCL)\nwith pytest.raises(FileExistsError): os.open(f, os.O_CREAT | os.O_EXCL)\nos.close(fd)",
    "extended attributes": "f.touch()\ntry: os.setxattr(f, 'user.a', b'x')\nexcept OSError as e: assert e.errno == errno.ENOTSUP\nelse: assert os.getxattr(f, 'user.a') == b'x'",
    # programs
    "cwd": "assert run('pwd', cwd=p) == str(p)",
    "child writes": "python('open(\"f.txt\", \"w\").write(\"x\")', cwd=p); assert f.read_text() == 'x'",
    "child by path": "python('import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(\"x\")', f); assert f.read_text() == 'x'",
    "child's getcwd": "assert python('import os; print(os.getcwd())', cwd=p) == str(p)",
    "child's tempfile": "assert python('import tempfile; print(tempfile.gettempdir())') == tempfile.gettempdir()",
    "stdout to a file": "with f.open('w') as h: subprocess.run(['echo', 'x'], stdout=h)\nassert f.read_text() == 'x\\n'",
    "shell": "assert subprocess.check_output(f'echo x > f.txt; cat {f}', shell=True, cwd=p) == b'x\\n'",
    "os.system": "assert os.system(f'echo x > {f}') == 0 and f.exists()",
    "env": "assert python('import os; print(os.environ[\"P\"])', env={**os.environ, 'P': str(p)}) == str(p)",
    "HOME": "env.setenv('HOME', str(p)); assert Path.home() == p == Path('~').expanduser()",
    "mocked home": "env.setattr(Path, 'home', lambda: p); assert Path.home() / 'x' == p / 'x'",
    "mocked cwd": "env.setattr(Path, 'cwd', lambda: p); assert Path.cwd() == p",
    "mocked exists": "with mock.patch('pathlib.Path.exists', return_value=True): assert f.exists()\nwith mock.patch('os.path.exists', return_value=True): assert os.path.exists(f)",
    "mocked open": "with mock.patch('builtins.open', mock.mock_open(read_data='x')): assert open(f).read() == 'x'",
    "mocked stat": "env.setattr(os, 'stat', lambda *_, **__: 1 / 0)",
    "mocked gettempdir": "env.setattr(tempfile, 'tempdir', str(p)); assert tempfile.mkdtemp().startswith(str(p))",
    "TMPDIR": "env.setenv('TMPDIR', str(p)); env.setattr(tempfile, 'tempdir', None); assert tempfile.gettempdir() == str(p)",
    "tempfile below": "with tempfile.TemporaryDirectory(dir=p) as d: assert Path(d).parent == p",
    "XDG": "env.setenv('XDG_CONFIG_HOME', str(p)); assert python('import os; print(os.path.isdir(os.environ[\"XDG_CONFIG_HOME\"]))') == 'True'",
    "git": "git('init', '-q', p); f.touch(); git('-C', p, 'add', '.'); git('-C', p, 'commit', '-qm', 'x'); assert git('-C', p, 'rev-parse', '--show-toplevel') == str(p)",
    "git in it": "env.chdir(p); git('init', '-q'); assert git('rev-parse', '--absolute-git-dir') == str(p / '.git')",
    "git clone": "git('init', '-q', p / 'a'); git('-C', p / 'a', 'commit', '-qm', 'x', '--allow-empty'); git('clone', '-q', p / 'a', p / 'b'); assert (p / 'b/.git').is_dir()",
    "git worktree": "git('init', '-q', p / 'a'); git('-C', p / 'a', 'commit', '-qm', 'x', '--allow-empty'); git('-C', p / 'a', 'worktree', 'add', '-q', p / 'w'); assert (p / 'w').is_dir()",
    "tar program": "f.touch(); run('tar', 'czf', p / 'x.tgz', '-C', p, 'f.txt'); assert run('tar', 'tzf', p / 'x.tgz') == 'f.txt'",
    "make": "(p / 'Makefile').write_text('all:\\n\\t@echo $(CURDIR)\\n'); assert not shutil.which('make') or run('make', '-s', '-C', p) == str(p)",
    "venv": "venv.create(p / 'v', with_pip=False); assert run(p / 'v/bin/python', '-c', 'import sys; print(sys.prefix)') == str(p / 'v')",
    "fork": "pid = os.fork()\nif not pid:\n f.write_text('x'); os._exit(0)\nos.waitpid(pid, 0); assert f.read_text() == 'x'",
    "process pool": "with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork')) as e: assert e.submit(os.path.realpath, p).result() == str(p)",
    "spawned": "with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as e: assert e.submit(os.listdir, p).result() == []",
    "threads": "with concurrent.futures.ThreadPoolExecutor() as e: list(e.map(lambda n: (p / str(n)).write_text('x'), range(50)))\nassert len(os.listdir(p)) == 50",
    # libraries
    "sqlite": "c = sqlite3.connect(p / 'd.db'); c.execute('create table t (a)'); c.commit(); c.close(); assert (p / 'd.db').stat().st_size",
    "sqlite uri": "c = sqlite3.connect(f'file:{p}/d.db?mode=rwc', uri=True); c.execute('create table t (a)'); c.close()",
    "sqlite wal": "c = sqlite3.connect(p / 'd.db'); assert c.execute('pragma journal_mode=wal').fetchone() == ('wal',); c.execute('create table t (a)'); assert (p / 'd.db-wal').exists(); c.close()",
    "sqlite attach": "c = sqlite3.connect(':memory:'); c.execute('attach ? as x', (str(p / 'd.db'),)); c.execute('create table x.t (a)'); c.close()",
    "sqlite twice": "a, b = sqlite3.connect(p / 'd.db'), sqlite3.connect(p / 'd.db'); a.execute('create table t (a)'); a.commit(); assert b.execute('select * from t').fetchall() == []; a.close(); b.close()",
    "sqlite's file": "c = sqlite3.connect(p / 'd.db'); assert c.execute('pragma database_list').fetchone()[2] == str(p / 'd.db'); c.close()",
    "import": "(p / 'idiom_module.py').write_text('x = 1'); env.syspath_prepend(p); import idiom_module as m; assert m.x == 1 and m.__file__ == str(p / 'idiom_module.py'); del sys.modules['idiom_module']",
    "import package": "(p / 'idiom_package').mkdir(); (p / 'idiom_package/__init__.py').touch(); env.syspath_prepend(p); import idiom_package as m; assert m.__path__ == [str(p / 'idiom_package')]; del sys.modules['idiom_package']",
    "import zip": "zipfile.ZipFile(p / 'z.zip', 'w').writestr('idiom_zipped.py', 'x = 2'); z = zipimport.zipimporter(str(p / 'z.zip')); assert z.load_module('idiom_zipped').x == 2 if hasattr(z, 'load_module') else z.find_spec('idiom_zipped'); sys.modules.pop('idiom_zipped', None)",
    "spec from file": "f = p / 'm.py'; f.write_text('y = __file__'); s = importlib.util.spec_from_file_location('m', f); m = importlib.util.module_from_spec(s); s.loader.exec_module(m); assert m.y == str(f)",
    "runpy": "f.write_text('z = __file__'); assert runpy.run_path(str(f))['z'] == str(f)",
    "traceback": "f.write_text('1 / 0')\ntry: runpy.run_path(str(f))\nexcept ZeroDivisionError: assert str(f) in traceback.format_exc() and '1 / 0' in traceback.format_exc()",
    "linecache": "f.write_text('one\\n'); assert linecache.getline(str(f), 1) == 'one\\n'",
    "compile": "f.write_text('x = 1'); c = py_compile.compile(str(f), cfile=str(p / 'c.pyc')); assert Path(c).exists()",
    "logging": "h = logging.FileHandler(p / 'l.log'); log = logging.getLogger('idiom'); log.addHandler(h); log.warning('x'); log.removeHandler(h); h.close(); assert (p / 'l.log').read_text() == 'x\\n'",
    "rotating log": "h = logging.handlers.RotatingFileHandler(p / 'l', maxBytes=10, backupCount=1); log = logging.getLogger('idiom2'); log.addHandler(h); log.warning('x' * 8); log.warning('y' * 8); log.removeHandler(h); h.close(); assert (p / 'l.1').exists()",
    "configparser": "f.write_text('[a]\\nb = 1'); c = configparser.ConfigParser(); assert c.read(f) == [str(f)] and c['a']['b'] == '1'",
    "csv": "with f.open('w', newline='') as h: csv.writer(h).writerow([1, 2])\nassert list(csv.reader(f.open())) == [['1', '2']]",
    "json file": "json.dump([1], f.open('w')); assert json.load(f.open()) == [1]",
    "pickle file": "pickle.dump(p, f.open('wb')); assert pickle.load(f.open('rb')) == p",
    "shelve": "with shelve.open(str(p / 's')) as s: s['a'] = 1\nwith shelve.open(str(p / 's')) as s: assert s['a'] == 1",
    "dbm": "with dbm.dumb.open(str(p / 'd'), 'c') as d: d['a'] = 'b'\nassert (p / 'd.dat').exists()",
    "gzip": "f.write_bytes(gzip.compress(b'x')); assert gzip.open(f).read() == b'x'",
    "tarfile": "f.touch(); t = tarfile.open(p / 't.tar', 'w'); t.add(f, 'f.txt'); t.close(); tarfile.open(p / 't.tar').extractall(p / 'out', filter='data'); assert (p / 'out/f.txt').exists()",
    "zipfile": "with zipfile.ZipFile(p / 'z.zip', 'w') as z: z.writestr('a/b', 'x')\nzipfile.ZipFile(p / 'z.zip').extractall(p / 'out'); assert (p / 'out/a/b').read_text() == 'x' and zipfile.Path(p / 'z.zip', 'a/').joinpath('b').read_text() == 'x'",
    "make_archive": "(p / 'd').mkdir(); assert shutil.make_archive(str(p / 'x'), 'zip', p / 'd') == str(p / 'x.zip'); shutil.unpack_archive(p / 'x.zip', p / 'e')",
    "fileinput": "f.write_text('a\\n')\nwith fileinput.input(f, inplace=True) as h:\n for line in h: print(line.upper(), end='')\nassert f.read_text() == 'A\\n'",
    "hashlib": "f.write_bytes(b'x'); assert hashlib.file_digest(f.open('rb'), 'sha256').hexdigest() == hashlib.sha256(b'x').hexdigest()",
    "mailbox": "m = mailbox.Maildir(p / 'm'); m.add('x'); assert len(mailbox.Maildir(p / 'm')) == 1",
    "dlopen": "lib = next(Path('/lib').rglob('libm.so.6'), None) or next(Path('/usr/lib').rglob('libm.so.6')); shutil.copy(lib, p / 'm.so'); assert ctypes.CDLL(str(p / 'm.so')).abs(-1) == 1",
    "inotify": "libc = ctypes.CDLL(None); fd = libc.inotify_init(); libc.inotify_add_watch(fd, bytes(p), 0x100); f.touch(); assert b'f.txt' in os.read(fd, 4096); os.close(fd)",
    # the factory
    "mktemp": "a, b = factory.mktemp('x'), factory.mktemp('x'); assert a != b and a.parent == b.parent == factory.getbasetemp()",
    "mktemp plain": "n = uuid.uuid4().hex; assert factory.mktemp(n, numbered=False).name == n\nwith pytest.raises(FileExistsError): factory.mktemp(n, numbered=False)",
    "mktemp wrong": "with pytest.raises(ValueError): factory.mktemp('../x')",
    "getbasetemp": "assert factory.getbasetemp().is_dir() and factory.getbasetemp() == p.parent",
    "shared directory": "d = factory.getbasetemp().parent; (d / f'shared-{uuid.uuid4().hex}').touch()",
    "tmpdir": "assert str(tmpdir) == str(p); tmpdir.join('f.txt').write('x'); assert f.read_text() == 'x'",
    "tmpdir chdir": "with tmpdir.as_cwd(): assert os.getcwd() == str(tmpdir)",
    "tmpdir mkdir": "assert os.path.isdir(tmpdir.mkdir('d')) and tmpdir.join('d').check(dir=1)",
    "tmpdir_factory": "assert os.path.dirname(str(tmpdir_factory.mktemp('x'))) == str(factory.getbasetemp())",
    # the rest of the machine
    "host file": "assert Path(__file__).exists() and Path('/etc/passwd').read_text()",
    "host directory": "assert Path('/proc/self').exists() and os.path.isdir('/dev/shm')",
    "getuid": "assert os.getuid() == os.geteuid() and os.stat('/proc/self').st_uid == os.geteuid()",
    "getpwuid": "import pwd; assert pwd.getpwuid(os.getuid()).pw_name",
    "user of a child": "assert python('import os; print(os.geteuid())') == str(os.geteuid()) == run('id', '-u')",
    "signals": "os.kill(os.getpid(), 0); os.kill(os.getppid(), 0) if os.geteuid() == 0 else None",
    "localhost": "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); c.close(); s.close()",
    "shared memory": "from multiprocessing import shared_memory; m = shared_memory.SharedMemory(create=True, size=10); m.close(); m.unlink()",
    "semaphore": "multiprocessing.get_context('fork').Semaphore().release()",
    "terminal": "assert os.isatty(0) in (True, False) and os.getsid(0) == os.getsid(os.getpid())",
    "priority": "assert os.nice(0) == os.getpriority(os.PRIO_PROCESS, 0) and os.sched_getaffinity(0)",
}  # fmt: skip


# What ends otherwise with --verytmp where a user namespace is needed: in it, there are no other users, EINVAL.
OTHER_USERS = ("chown to another",)


@pytest.mark.parametrize("code", IDIOMS.values(), ids=list(IDIOMS))
def test_idiom(
    code: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tmpdir: Any,
    tmpdir_factory: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {**locals(), "pytest": pytest, "__file__": __file__}
    exec(BEGINNING + code, names)


# -- in fixtures -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def at_home() -> Iterator[None]:
    yield
    os.chdir(os.path.dirname(__file__))


@pytest.fixture(scope="session")
def of_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (folder := tmp_path_factory.mktemp("session") / "d").mkdir()
    return folder


@pytest.fixture(scope="module")
def of_module(tmp_path_factory: pytest.TempPathFactory, of_session: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("module")
    shutil.copytree(of_session, folder / "copied")
    yield folder
    assert (folder / "copied").is_dir()


@pytest.fixture
def of_test(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "before").touch()
    yield tmp_path
    assert (tmp_path / "before").exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    code = "import os; print(os.getcwd(), flush=True); input(); open('g', 'w').close()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate("go\n")
    assert (tmp_path / "g").exists()


class TestFixtures:
    seen: Path | None = None

    @pytest.fixture(autouse=True)
    def inside(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_autouse(self, tmp_path: Path) -> None:
        assert Path.cwd() == tmp_path
        TestFixtures.seen = tmp_path

    def test_another_one(self, tmp_path: Path) -> None:
        assert tmp_path != TestFixtures.seen

    def test_session(self, of_session: Path, of_module: Path, tmp_path: Path) -> None:
        (of_session / "f").touch()
        assert of_module.parent == of_session.parent.parent == tmp_path.parent

    def test_session_is_still_there(self, of_session: Path) -> None:
        assert (of_session / "f").exists()

    def test_teardown(self, of_test: Path) -> None:
        (of_test / "after").touch()

    def test_a_server_in_it(self, server: subprocess.Popen[str], tmp_path: Path) -> None:
        assert server.stdout is not None
        assert server.stdout.readline() == f"{tmp_path}\n"

    def test_getfixturevalue(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        assert request.getfixturevalue("tmp_path") == tmp_path

    def test_tempfile(self, tmp_path: Path) -> None:
        with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
            assert os.stat(folder).st_dev == os.fstat(file.fileno()).st_dev
