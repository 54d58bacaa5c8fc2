"""What the tests share: ground truth taken with os alone, children to break things in, real refusals."""

import sys

# Where tests assert by functions that they share, a failure is to show the values. Children do without pytest: 0.2 s.
if pytest := sys.modules.get("pytest"):
    pytest.register_assert_rewrite(
        *(f"support.{name}" for name in ("copies", "files", "patterns", "compare_with_host"))
    )
