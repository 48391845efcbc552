"""How a message lists what it found."""

from collections.abc import Callable, Sequence
from typing import Any

SHOWN = 3


def some(found: Sequence[Any], joint: str = ", ", say: Callable[[Any], str] = str) -> str:
    """The first few, and how many more there are: 'a, b, c and 4 more'."""
    more = len(found) - SHOWN
    return joint.join(map(say, found[:SHOWN])) + (f" and {more} more" if more > 0 else "")
