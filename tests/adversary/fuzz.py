"""Coverage-guided search for differences from pathlib in a chroot.

It is run by hand (``python tests/adversary/fuzz.py -max_total_time=300``), needs atheris, and grows the random trees
and operations of `tests/test_oracle.py` along what they reach in the package's code. The arguments are libFuzzer's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]
from hypothesis import given
from hypothesis import strategies as st


def main() -> int:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with atheris.instrument_imports(include=["verytmp"]):
        from support import host_state
        from support.oracle import Operation, Oracle
        from test_oracle import LENGTH, ROUND, difference, operations, trees

    oracle = Oracle()
    done = 0

    @ROUND
    @given(trees, st.lists(operations, min_size=1, max_size=LENGTH), st.booleans())
    def example(tree: host_state.Tree, sequence: list[Operation], nosymfollow: bool) -> None:
        nonlocal done
        done += len(sequence)
        different = difference(oracle, nosymfollow, tree, sequence)
        if different:
            raise AssertionError(f"after {done} operations: {different}")

    pid = os.fork()
    if pid == 0:  # libFuzzer ends its process itself
        atheris.Setup(sys.argv, example.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
        atheris.Fuzz()
    _, status = os.waitpid(pid, 0)
    oracle.close()
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
