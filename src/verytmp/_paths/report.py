"""What a transfer has done: counted while it runs, and reported at its end."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple

    _Progress = Callable[[int, int | None], object]

    class Counts(NamedTuple):
        members: int
        bytes: int
        left_out: dict[str, str]
        renamed: dict[str, str]
else:
    Counts = namedtuple("Counts", "members bytes left_out renamed")  # noqa: PYI024  # typing takes 5 ms to import

NAMES_MAX = 1000  # that a report keeps, of each kind: an archive may have millions that are left out


class VeryTmpReport(Counts):
    """What `VeryTmpPath.unpack` or `VeryTmpPath.publish` has done.

    Attributes:
        members: the number of files, directories and links that were made.
        bytes: how many bytes the files among them have.
        left_out: the names that were left out, as the archive or the source has them, each with the reason. At most
            1,000.
        renamed: the names in an archive that begin with ``/`` or have ``..`` in them, each with the name that was made,
            relative to the directory. At most 1,000.
    """

    __slots__ = ()


class Tally:
    """The counts of a transfer that is under way.

    Args:
        progress: called with the bytes so far, and in all.
        total: how many there are in all; None if that is not known.
    """

    __slots__ = ("bytes", "left_out", "members", "progress", "renamed", "total")

    def __init__(self, progress: _Progress | None = None, total: int | None = None) -> None:
        self.members = self.bytes = 0
        self.left_out: dict[str, str] = {}
        self.renamed: dict[str, str] = {}
        self.progress, self.total = progress, total

    def advance(self, count: int) -> None:
        """Count bytes that were written, and report them. What *progress* raises ends the transfer."""
        self.bytes += count
        if self.progress is not None:
            self.progress(self.bytes, self.total)

    def leave_out(self, name: str, reason: str) -> None:
        """Note what is left out."""
        if len(self.left_out) < NAMES_MAX:
            self.left_out[name] = reason

    def rename(self, name: str, made: str) -> None:
        """Note what was made by another name."""
        if len(self.renamed) < NAMES_MAX:
            self.renamed[name] = made

    def report(self) -> VeryTmpReport:
        return VeryTmpReport(self.members, self.bytes, self.left_out, self.renamed)
