"""The plugin's clones: a tree that is made once in a run, and each test's own clone of it."""

from __future__ import annotations

import pytest
from support import refusals
from support.children import in_child
from support.runs import Run

TEMPLATE = """
    import os
    import pytest

    @pytest.fixture(scope="session")
    def verytmp_template(verytmp_factory):
        root = verytmp_factory.root(size="4m")
        for number in range(100):
            (root / str(number)).write_text("potatoes")
        return root
"""


def test_each_test_has_its_own(run: Run) -> None:
    code = """
    def test_one(verytmp_clone):
        (verytmp_clone / "1").write_text("changed")
        (verytmp_clone / "2").unlink()
        assert verytmp_clone.usage().used == 4096

    @pytest.mark.verytmp(size="64k")
    def test_two(verytmp_clone, verytmp_template):
        assert verytmp_template.frozen
        assert (verytmp_clone / "1").read_text() == (verytmp_clone / "2").read_text() == "potatoes"
        assert verytmp_clone.usage().total == 65536
        assert len(list(verytmp_clone.path.iterdir())) == 100
        os.chdir(verytmp_clone)

    def test_three(verytmp_clone):
        assert os.getcwd() != str(verytmp_clone)
        assert verytmp_clone.kind == "overlay"
    """
    run(TEMPLATE + code).assert_outcomes(passed=3)


def test_a_suite_without_a_template_is_told(run: Run) -> None:
    result = run("def test_it(verytmp_clone): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the suite defines, as in conftest.py:*", "*def verytmp_template(verytmp_factory):*"])


def test_what_a_failed_test_has_is_kept(run: Run) -> None:
    code = """
    def test_it(verytmp_clone):
        (verytmp_clone / "mine").write_text("kept")
        assert False
    """
    result = run(TEMPLATE + code, "--verytmp-keep=kept")
    result.assert_outcomes(failed=1)
    [kept] = (run.pytester.path / "kept").rglob("mine")
    assert kept.read_text() == "kept"
    assert (kept.parent / "99").read_text() == "potatoes"


def test_without_namespaces_they_are_copies(run: Run) -> None:
    code = """
    def test_one(verytmp_clone):
        (verytmp_clone / "1").write_text("changed")

    def test_two(verytmp_clone):
        assert verytmp_clone.kind == "shm"
        assert (verytmp_clone / "1").read_text() == "potatoes"
    """
    code = f"{TEMPLATE}{code}".replace('root(size="4m")', "root()")

    def ask() -> dict[str, int]:
        refusals.docker()
        return run(code, "--verytmp-fallback=shm").parseoutcomes()

    assert in_child(ask) == {"passed": 2}


@pytest.mark.parametrize("option", ["--verytmp", "--verytmp=confined"])
def test_a_name_that_the_template_has_too(run: Run, option: str) -> None:
    """As in the documentation; and other fixtures of the test may have it as well."""
    code = """
    @pytest.mark.verytmp(at="/a-name")
    def test_it(verytmp_clone, verytmp_root):
        assert len(verytmp_clone.run(["ls"], capture_output=True).stdout.split()) == 100
        assert verytmp_root.run(["ls"], capture_output=True).stdout == b""
    """
    run.inside(TEMPLATE.replace('size="4m"', 'at="/a-name"') + code, option).assert_outcomes(passed=1)
