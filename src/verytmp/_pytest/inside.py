"""A run with --verytmp: it enters a private mount namespace, in which its temporary directories have names."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import warnings

import pytest

from .. import VeryTmpError, VeryTmpFallbackWarning, VeryTmpRoot, VeryTmpUnavailable
from .._programs.enter import INHERITED, go_inside, join, restart
from .directories import bring_back
from .roots import ATTACHED, diagnosis, fallback_of, in_short, one_line, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

BASE, TEMPORARY = "pytest", "tmp"  # what is in the run's root: pytest's base directory, and TMPDIR
TOLD = "verytmp"  # what a worker of pytest-xdist finds in its input: the root's name, and why there is none
OF_ALL, OF_OTHERS = 0o1777, 0o711  # TMPDIR's permissions are those of /tmp; others may pass the root on the way there

# Roots of pytest commands, which go with the process: functions that are called at its exit may need their files.
until_exit: list[VeryTmpRoot] = []


class NamedRun:
    """The namespace of a run, with its root. Where there can be none, the reason, and what is taken instead.

    Args:
        config: the run's.
        asked: its options, which may not be *config*'s own yet.

    Attributes:
        top: the root's directory; empty if there is none.
        refusal: why there is no namespace, in short; empty if there is one.
        diagnosis: the same, with all that is known.
        outside: where tempfile makes files without this plugin; empty for where it makes them now.
        fallback: what is taken then.
    """

    def __init__(self, config: pytest.Config, asked: Any) -> None:
        self._config = config
        self._home = os.fspath(config.invocation_params.dir)
        self._root: VeryTmpRoot | None = None
        self._before: tuple[str | None, str | None] | None = None  # TMPDIR, and where tempfile makes files
        self.outside = ""
        self.fallback = fallback_of(config, asked)
        self.top = self.refusal = self.diagnosis = ""
        told = getattr(config, "workerinput", {}).get(TOLD)
        if told is not None:
            self._join(*told)
            return
        options: dict[str, Any] = {"mode": OF_OTHERS, **options_of(config, asked), "at": True}
        try:
            try:
                self._go_inside()
                if self.refusal:  # threads: /dev/shm is for where roots are refused, and they are not
                    self.fallback = "tmp_path"
                    return
                options["fallback"] = "none"
            except VeryTmpUnavailable as error:
                self._refused(error)
                if self.fallback != "shm":
                    return
                options["fallback"] = "shm"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VeryTmpFallbackWarning)  # the header reports it
                self._root = VeryTmpRoot(**options)
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(f"--verytmp-options: {error}") from None
        except OSError as error:
            self._refused(error)
            return
        self.top = str(self._root.at)
        if not asked.verytmp_no_tmpdir and config.getini("verytmp_tmpdir"):
            self._make_tmpdir()

    def _refused(self, error: OSError) -> None:
        self.refusal, self.diagnosis = in_short(error), diagnosis(error, self.fallback)

    def _join(self, top: str, refusal: str, diagnosis: str, outside: str, fallback: str) -> None:
        """In a worker of pytest-xdist, which is in its controller's namespace, unless it is on another machine."""
        self.top, self.refusal, self.diagnosis, self.outside = top, refusal, diagnosis, outside
        self.fallback = fallback
        if top and not os.path.isdir(top):
            self.top, self.refusal = "", "this worker is not in its controller's namespace"
            self.diagnosis = f"{self.refusal}: there is no {top} here"
        elif top and not refusal:
            join()

    def _go_inside(self) -> None:
        if INHERITED in os.environ:  # it was started anew, once
            if not join():
                raise VeryTmpUnavailable(errno.ECONNRESET, "connect", "the namespace's helper is gone", "", "child")
            return
        try:
            go_inside()
        except VeryTmpUnavailable:
            raise
        except VeryTmpError as error:  # there are threads
            if join():  # as in the child of a run with --looponfail
                return
            if ATTACHED & sys.modules.keys() or not is_command(self._config):
                if self.fallback != "error":
                    whose = ", ".join(sorted(ATTACHED & sys.modules.keys())) or "this program"
                    self.refusal, self.diagnosis = f"no namespace, for {whose} has threads", error.strerror or ""
                    return
                raise pytest.UsageError(f"--verytmp: {error.strerror}; or take --verytmp=confined") from None
            VeryTmpRoot(at=True, fallback="none").close()  # what is refused is reported by this process
            self._start_anew()

    def _start_anew(self) -> NoReturn:
        """Nothing has been collected, and no conftest file read."""
        os.chdir(self._home)
        sys.stdout.flush()
        sys.stderr.flush()
        restart([sys.executable, *sys.orig_argv[1:]])

    def _make_tmpdir(self) -> None:
        path = f"{self.top}/{TEMPORARY}"
        os.mkdir(path)
        os.chmod(path, OF_ALL)
        self._before = os.environ.get("TMPDIR"), tempfile.tempdir
        try:
            self.outside = tempfile.gettempdir()
        except FileNotFoundError:  # there is no such directory
            pass
        os.environ["TMPDIR"], tempfile.tempdir = path, None

    def configure(self) -> bool:
        """Have pytest make its directories in the root, unless it was told where to. Whether they are this plugin's."""
        option = self._config.option
        if self.top and not option.basetemp:
            option.basetemp = f"{self.top}/{BASE}"
        return self.ours if self.top else self.fallback != "tmp_path"

    @property
    def ours(self) -> bool:
        """Whether pytest's base directory is in the root: --basetemp comes first."""
        return bool(self.top) and f"{self._config.option.basetemp}/".startswith(f"{self.top}/{BASE}/")

    def tell(self, workerinput: dict[str, Any]) -> None:
        """Leave a message for a worker of pytest-xdist."""
        workerinput[TOLD] = self.top, self.refusal, self.diagnosis, self.outside, self.fallback

    def header(self) -> str:
        """One line: where tmp_path is, and what is wrong."""
        if not self.top:
            instead = "tmp_path is pytest's own" if self.fallback == "tmp_path" else "see --verytmp-fallback"
            line = f"verytmp: {self.refusal}; {instead}"
        elif self.refusal:
            line = f"verytmp: tmp_path is in {self.top}"
        else:
            here = [name for name, is_ours in (("tmp_path", self.ours), ("TMPDIR", self._before)) if is_ours]
            line = f"verytmp: {' and '.join(here) or 'nothing'} in memory, in {self.top}"
        return one_line(line)

    def close(self) -> None:
        """Leave the root. The namespace stays: no process can leave that."""
        if self._before is not None:
            variable, tempfile.tempdir = self._before
            if os.environ.get("TMPDIR") == f"{self.top}/{TEMPORARY}":
                del os.environ["TMPDIR"]
                if variable is not None:
                    os.environ["TMPDIR"] = variable
        if self._root is not None:
            bring_back(self.top, self._home)
            if is_command(self._config):
                until_exit.append(self._root)
            else:
                self._root.close()
            self._root = None


def is_command(config: pytest.Config) -> bool:
    """Whether this process is a pytest command: nothing but pytest, which can be started anew."""
    name = os.path.normpath(sys.argv[0])
    started = os.path.basename(name) in ("pytest", "py.test") or name.endswith("/pytest/__main__.py")
    return started and list(config.invocation_params.args) == sys.argv[1:]


def may_be_worker(config: pytest.Config) -> bool:
    """Whether this may be a worker of pytest-xdist, which is told later what to do."""
    return "PYTEST_XDIST_WORKER" in os.environ and not is_command(config)
