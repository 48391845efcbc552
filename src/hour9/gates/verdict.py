"""What a gate answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

PASS, HOLD, REJECT = "pass", "hold", "reject"
MIN_CASES = 30
"""Fewer cases than this can say nothing."""


@dataclass(frozen=True)
class Estimate:
    """A measured value and its interval; each bound is wrong in 5 of 100 repetitions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """One gate's answer: what was measured, between what bounds, what was allowed, and why."""

    name: str
    verdict: str
    value: float | None
    interval: tuple[float, float] | None
    threshold: float | None
    n: int
    why: str

    @classmethod
    def hold(cls, name: str, why: str, threshold: float | None = None, n: int = 0) -> Verdict:
        """The evidence cannot say."""
        return cls(name, HOLD, None, None, threshold, n, why)

    @classmethod
    def above(cls, name: str, found: Estimate, limit: float, n: int, why: str) -> Verdict:
        """Pass where even the lower bound is above the limit, reject where the upper is below it:
        who is just as good holds."""
        return cls._between(name, found, limit, n, why, found.low > limit, found.high < limit)

    @classmethod
    def at_most(cls, name: str, found: Estimate, limit: float, n: int, why: str) -> Verdict:
        """Pass where even the upper bound is within the limit, reject where no bound is."""
        return cls._between(name, found, limit, n, why, found.high <= limit, found.low > limit)

    @classmethod
    def _between(
        cls, name: str, found: Estimate, limit: float, n: int, why: str, passes: bool, fails: bool
    ) -> Verdict:
        if not all(map(math.isfinite, (found.value, found.low, found.high, limit))):
            return cls(name, REJECT, None, None, limit, n, f"{why}; not a number")
        word = PASS if passes else REJECT if fails else HOLD
        return cls(name, word, found.value, (found.low, found.high), limit, n, why)
