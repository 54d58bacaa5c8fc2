"""What the tests share: ground truth taken with os alone, children to break things in, real refusals."""

import pytest

# Where tests assert by functions that they share, a failure is to show the values.
pytest.register_assert_rewrite(*(f"support.{name}" for name in ("copies", "files", "patterns", "compare_with_host")))
