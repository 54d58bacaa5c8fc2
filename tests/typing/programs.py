"""Programs in a root with a name: typed as `subprocess` types them."""

import subprocess
from pathlib import PurePosixPath
from typing import assert_type

from verytmp import VeryTmpFactory, VeryTmpRoot


def programs(root: VeryTmpRoot, text: bool) -> None:
    path = root / "f"
    assert_type(root.at, PurePosixPath)
    assert_type(path.at, PurePosixPath)
    assert_type(root.run(["cat", path]), subprocess.CompletedProcess[bytes])
    assert_type(root.run(["cat", path], text=True), subprocess.CompletedProcess[str])
    assert_type(root.run("cat f", shell=True, encoding="utf-8").stdout, str)
    assert_type(root.run(["cat"], input=b"x", check=True, capture_output=True, timeout=1.5).stdout, bytes)
    assert_type(root.run(path, cwd=path.parent, env={"HOME": path}, unshare_pid=True).returncode, int)
    root.run(["cat"], text=text, stdout=subprocess.PIPE)
    with root.popen(["cat", path], stdin=subprocess.PIPE, universal_newlines=True) as process:
        assert_type(process, subprocess.Popen[str])
    with root.popen(["cat", b"f"], start_new_session=True, pass_fds=[3]) as other:
        assert_type(other, subprocess.Popen[bytes])
    args, fds = root.wrap(["cat", path], cwd=path.parent, unshare_pid=True)
    assert_type(args, list[str])
    assert_type(fds, tuple[int, ...])


def names() -> None:
    VeryTmpRoot(at="/work", host="ro", nosymfollow=None)
    VeryTmpRoot(at=PurePosixPath("/work"))
    VeryTmpFactory(at=True).root(at=False)
