"""``python -m verytmp``, run as a user runs it."""

from __future__ import annotations

import os
import pydoc
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
from support import kernel, refusals
from support.children import in_child

import verytmp
from verytmp import VeryTmpFallbackWarning, VeryTmpRoot, __main__
from verytmp._cli import demo


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "verytmp", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def wheel(host: Path) -> Path:
    path = host / "some.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.py", "b")
        archive.writestr("c.py", "c")
    return path


def test_the_main_job() -> None:
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    lines = [line for line in result.stdout.splitlines() if line]
    assert lines[0].startswith(f"verytmp {verytmp.__version__}, Python {sys.version.split()[0]}, Linux ")
    steps = [line[2:23].strip() for line in lines if line.endswith(" ms")]
    assert steps == ["a root", "a file outlives it", "before", "unpack", "compare", "run it", "after", "left behind"]
    words = {line[2:23].strip(): line[23:].strip() for line in lines if line.endswith(" ms")}
    assert "made directly" in words["a root"] or "made via a forked child" in words["a root"]
    assert "reads back 'potatoes'" in words["a file outlives it"]
    assert words["before"].startswith("0 bytes used of 67,108,864")
    assert words["run it"].startswith("pip ")
    assert "/fd/" in words["run it"]
    assert words["left behind"].startswith("no descriptor, no child process, no mount, no file")


def test_help_and_version() -> None:
    assert "nothing is left" in run("--help").stdout
    assert run("--version").stdout == f"verytmp {verytmp.__version__}\n"
    assert run("--banana").returncode == 2


def test_a_refusal_in_plain_words(capfd: pytest.CaptureFixture[str]) -> None:
    def refused() -> int:
        kernel.seccomp(kernel.Rule("unshare", 1), kernel.Rule("fsopen", 1))
        status = __main__.main([])
        sys.stdout.flush()
        sys.stderr.flush()
        return status

    assert in_child(refused) == 1
    error = capfd.readouterr().err
    assert "verytmp: no private tmpfs could be made: unshare" in error
    assert "Traceback" not in error


def test_the_fallback_has_no_sizes(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fallen_back() -> int:
        os.environ["VERYTMP_FALLBACK"] = "shm"
        warnings.simplefilter("ignore", VeryTmpFallbackWarning)
        refusals.docker()
        status = __main__.main([])
        sys.stdout.flush()
        return status

    assert in_child(fallen_back) == 0
    assert "into a directory in /dev/shm, without a size limit" in capfd.readouterr().out


def test_no_wheel_in_plain_words(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    import ensurepip
    import sysconfig

    monkeypatch.setattr(ensurepip, "__file__", str(host / "__init__.py"))
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: None)
    with pytest.raises(demo.Failure, match="comes without pip's wheel"):
        demo.bundled_wheel()


def test_a_wheel_that_a_distribution_keeps_elsewhere(monkeypatch: pytest.MonkeyPatch, host: Path) -> None:
    import ensurepip
    import sysconfig

    (host / "pip-1.0-py3-none-any.whl").touch()
    monkeypatch.setattr(ensurepip, "__file__", "/nonexistent/__init__.py")
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(host))
    assert demo.bundled_wheel() == host / "pip-1.0-py3-none-any.whl"


def test_the_doctor_elsewhere_than_on_linux(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert __main__.main(["doctor"]) == 1
    needs = "sys.platform: verytmp needs Linux, and this is darwin (ENOSYS)."
    assert capsys.readouterr().out == f"no private tmpfs could be made: {needs}\n"


def test_an_open_file_that_is_not_whole_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spoiled(VeryTmpRoot):
        def close(self) -> None:
            (self / "hello" / "f.txt").write_text("tomatoes")
            super().close()

    monkeypatch.setattr(demo, "VeryTmpRoot", Spoiled)
    with pytest.raises(demo.Failure, match="the open file gave 'tomatoes'"):
        demo.potatoes()


def test_another_pip_than_the_unpacked_one_is_seen(root: VeryTmpRoot) -> None:
    with pytest.raises(demo.Failure, match="-m pip --version: "):
        demo.run(root)


def test_the_comparison_sees_a_difference(root: VeryTmpRoot, wheel: Path) -> None:
    demo.unpack(wheel, root)
    assert demo.compare(wheel, root) == "2 files, 2 bytes, each as the archive has it"
    (root / "c.py").write_text("x")
    with pytest.raises(demo.Failure, match=r"c\.py is not what the archive holds"):
        demo.compare(wheel, root)
    (root / "c.py").write_text("c")
    (root / "d.py").write_text("d")
    with pytest.raises(demo.Failure, match="3 files"):
        demo.compare(wheel, root)


def test_the_check_sees_what_is_left(host: Path) -> None:
    def leave() -> list[str]:
        os.chdir(host)
        said = []
        for litter in (
            lambda: os.open("/", os.O_PATH),
            lambda: os.fork() or os._exit(0),
            lambda: Path("litter").touch(),
        ):
            before = demo.traces()
            litter()
            try:
                demo.left_behind(before)
            except demo.Failure as error:
                said.append(str(error))
        os.waitpid(-1, 0)
        return said

    descriptor, child, file = in_child(leave)
    assert "left behind: descriptor" in descriptor
    assert "left behind: child process" in child
    assert "litter" in file


def test_help_has_every_name() -> None:
    """help() asks dir(), which knows nothing of names that are loaded when they are needed."""
    assert set(dir(verytmp)) >= set(verytmp.__all__)
    text = pydoc.plain(pydoc.render_doc(verytmp))
    for name in {*verytmp.__all__} - {"__version__"}:
        assert re.search(rf"^    (class )?{name}\b", text, re.MULTILINE), name
    text = pydoc.plain(pydoc.render_doc(verytmp.VeryTmpRoot))
    for option in verytmp.VeryTmpRoot.__init__.__kwdefaults__ or {}:
        assert f" |      {option}: " in text


def test_fixtures_are_listed(host: Path) -> None:
    (host / "test_it.py").write_text("def test_it(): ...")
    command = [sys.executable, "-m", "pytest", "--fixtures", "-p", "verytmp.pytest_plugin", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)  # which is for this suite
    text = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=host).stdout
    for name in ("verytmp_path", "verytmp_root", "verytmp_factory", "verytmp_template", "verytmp_clone"):
        assert re.search(rf"^{name}\b.*\n    [A-Z]", text, re.MULTILINE), text
