"""The error for a refusal: what was refused, why, and what to do about it."""

from __future__ import annotations

import errno

from .._diagnosis.causes import BEFORE, VeryTmpCause
from .._diagnosis.facts import facts, standing
from .._diagnosis.rules import LABEL_THEN, MAPS, MOUNTING, NEW_MOUNTS, UNSHARE, Verdict, judge, stands
from ..errors import VeryTmpUnavailable
from . import child, probes
from .options import FORMS
from .signals import STATUS, Caller, without_interrupts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._diagnosis.rules import Refusal
    from .spec import MountSpec


def explained(refusals: Sequence[Refusal], spec: MountSpec | None = None, caller: Caller | None = None) -> Exception:
    """The error for refusals, the last of which decided it.

    Args:
        refusals: what was refused, in order.
        spec: what was asked for, which an option's refusal is about.
        caller: for whom more may be tried, to find out the cause.

    Returns a `ValueError` where the kernel refuses an option, an `OSError` of the name that a root was to have, else a
    `VeryTmpUnavailable`.
    """
    *before, (step, number, text) = refusals
    if spec and step == "at":
        return OSError(number, text, spec.at)
    if spec and number == errno.EINVAL and (step in ("mount", "fchownat") or step.startswith("fsconfig(")):
        asked = spec.asked()
        about = [option for option in asked if step == f"fsconfig({option.partition('=')[0]})"] or asked
        forms = [f"{key}= takes {form}" for key, form in FORMS.items() if any(o.startswith(f"{key}=") for o in about)]
        return ValueError("; ".join([f"{text} (asked for: {', '.join(about)})" if about else text, *forms]))
    reason = BEFORE.join([text, *(f"{step}: {text}" for step, _, text in before)])
    try:
        verdict = diagnosed(refusals, caller)
    except Exception as error:  # the refusal is the news, and not what went wrong in explaining it
        verdict = Verdict(VeryTmpCause.UNKNOWN, "", (f"the diagnosis failed: {error!r}",))
    return VeryTmpUnavailable(number, step, reason, verdict.remedy, verdict.cause, verdict.evidence)


def diagnosed(refusals: Sequence[Refusal], caller: Caller | None) -> Verdict:
    """The cause of the last refusal, from what can be read here, and what a child of the caller's meets."""
    known = facts()
    tried: dict[str, int] = {}
    step = refusals[-1][0]
    if caller and step == STATUS:  # it cannot be read how many threads there are
        caller = Caller(threads=2)
    if caller and step in (STATUS, UNSHARE, NEW_MOUNTS, *MAPS, *MOUNTING):
        for name, number, text in without_interrupts(lambda: child.probe(probes.NAMESPACES, caller), caller):
            if name == LABEL_THEN:
                known[name] = text.strip("\0\n")
            else:
                tried[name] = number
    return judge(refusals, known, tried)


class LastRefusal:
    """A refusal that would only come again, which a factory need not ask for with each root."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: tuple[tuple[object, ...], VeryTmpUnavailable] | None = None

    def note(self, refused: VeryTmpUnavailable) -> None:
        """Remember this refusal, if it will last."""
        cause: Any = refused.cause  # the same class, which the stubs show under its public name
        lasts = stands(refused.step, refused.errno or 0, cause)
        self._seen = (standing(), copied(refused)) if lasts else None

    def check(self) -> None:
        """Raise it again, while all is as it was."""
        if self._seen is None:
            return
        found, refused = self._seen
        if found == standing():
            raise copied(refused)


def copied(error: VeryTmpUnavailable) -> VeryTmpUnavailable:
    """The same without its traceback, and without what will be added to its remedy."""
    return type(error)(error.errno or 0, error.step, error.reason, error.remedy, error.cause, error.evidence)
