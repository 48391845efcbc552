"""What a sweep may vary: the settings that are marked for it, around what they are now or within
bounds of their own."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from pydantic.fields import FieldInfo

from hour9.engine.settings import Searched, Settings

DIGITS = 3  # of a number that was searched: what is written is what was tried


class NothingToSearch(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """No setting of the candidate is marked for a search."""


def marked(settings: Settings) -> dict[str, Searched]:
    """The fields that a sweep varies, and how."""
    return {
        name: mark
        for name, one in type(settings).model_fields.items()
        for mark in one.metadata
        if isinstance(mark, Searched)
    }


def space(settings: Settings) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each field, around what it is now."""
    found: dict[str, BaseDistribution] = {}
    for name, how in marked(settings).items():
        now = getattr(settings, name)
        if how.factor and now == 0:
            continue  # switched off
        if how.factor:
            low, high = now / how.factor, now * how.factor
        else:
            low, high = min(how.low, now), max(how.high, now)
        low, high = within(low, high, type(settings).model_fields[name])
        found[name] = FloatDistribution(low, high, log=bool(how.factor))
    if not found:
        raise NothingToSearch(
            f"no setting of architecture '{settings.architecture}' is marked for a search, "
            "or all that are were switched off"
        )
    return found


def within(low: float, high: float, field: FieldInfo) -> tuple[float, float]:
    """Both within the bounds that the field has; a number that is rounded reaches no open one."""
    for bound in field.metadata:  # Ge, Le, Lt and others of annotated_types
        low = max(low, getattr(bound, "ge", low))
        high = min(high, getattr(bound, "le", high))
        if hasattr(bound, "lt"):
            high = min(high, bound.lt * (1 - 10**-DIGITS))
    return low, high


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """As they are tried, and written."""
    return {name: float(f"{value:.{DIGITS}g}") for name, value in values.items()}
