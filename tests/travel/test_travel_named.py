"""Roots with a name on their way to another process, which starts programs in the same namespace."""

from __future__ import annotations

from pathlib import Path

from support.travels import run


def test_its_name_goes_along(host: Path, method: str) -> None:
    code = """
    def work(root, path):
        assert str(root.at) == "/work"
        assert str(path.at) == "/work/f"
        assert root.run(["cat", path], capture_output=True, text=True).stdout == "potatoes"
        root.run(["touch", "from-the-child"], check=True)

    def main(root):
        with VeryTmpRoot(at="/work") as named:
            (named / "f").write_text("potatoes")
            end(start(work, named, named / "f"))
            assert (named / "from-the-child").exists()
    """
    run(host, method, code)
