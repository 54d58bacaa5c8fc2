"""Whether roots can be made at all, as far as can be told without trying. It loads where nothing else here does."""

from __future__ import annotations

import errno
import sys

from .._diagnosis.interpreter import LACKING, why_lacking
from ..errors import VeryTmpUnavailable


def check_available() -> None:
    """That this is a system and a Python that can make roots, as far as can be told without trying."""
    if sys.platform != "linux":
        reason = f"verytmp needs Linux, and this is {sys.platform}"
        raise VeryTmpUnavailable(errno.ENOSYS, "sys.platform", reason, cause="not-linux")
    if LACKING:
        reason, remedy = why_lacking()
        raise VeryTmpUnavailable(errno.ENOSYS, LACKING[0], reason, remedy, cause="python")
    # _ctypes, socket and the like take longer than all the rest, so they wait until they are needed.
    try:
        from . import strategy  # noqa: F401  # pyright: ignore[reportUnusedImport]  # whether it can be
    except ImportError as error:  # ctypes, in a sub-interpreter or in a Python that was built without it
        raise VeryTmpUnavailable(errno.ENOSYS, "import", str(error), cause="python") from None
