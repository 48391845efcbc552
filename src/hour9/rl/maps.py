"""What an agent does everywhere, drawn on the map of its world.

Shapes: S states, A actions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hour9.rl.environments import make

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARROWS = {  # right and down for each action that moves
    "Taxi": {0: (0, 1), 1: (0, -1), 2: (1, 0), 3: (-1, 0)},
    "FrozenLake": {0: (-1, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1)},
    "CliffWalking": {0: (0, -1), 1: (1, 0), 2: (0, 1), 3: (-1, 0)},
}
STAYS = {4: "pick\nup", 5: "drop\noff"}  # Taxi's
PADS = ("red", "green", "yellow", "blue")
TRIPS = [(0, 3), (4, 3), (2, 1), (4, 1)]  # where the passenger is (4: aboard), where it goes


def draw_map(name: str, q: np.ndarray, pictures: Path) -> None:  # (S, A)
    """The best action and its value in every square; a world without a map is not drawn."""
    family = next((family for family in ARROWS if name.startswith(family)), None)
    if family is None:
        return
    figure = taxi_map(q) if family == "Taxi" else square_map(name, family, q)
    figure.savefig(pictures / "The_policy_and_the_values_on_the_map.png", dpi=110)


def taxi_map(q: np.ndarray) -> Figure:
    """Four parts of two trips: on the way to the passenger, and on with it."""
    figure, panels = panels_of(2, 2, (8.6, 8.8))
    for axis, (passenger, goal) in zip(panels, TRIPS, strict=True):
        here = ((np.arange(25) * 5) + passenger) * 4 + goal  # Taxi's numbering of states
        aboard = passenger == 4
        what = "passenger aboard" if aboard else f"passenger waits at {PADS[passenger]}"
        squares(axis, q[here].reshape(5, 5, -1), ARROWS["Taxi"])
        axis.set_title(f"{what}, goes to {PADS[goal]}", fontsize=10)
        for pad, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 3)]):
            frame(axis, row, column, {"yellow": "#d4a017"}.get(PADS[pad], PADS[pad]))
        walls(axis, make("Taxi-v4").unwrapped.desc)  # type: ignore[attr-defined]
    return figure


def square_map(name: str, family: str, q: np.ndarray) -> Figure:
    """One panel: every square is a state."""
    env: Any = make(name).unwrapped
    rows, columns = env.shape if family == "CliffWalking" else env.desc.shape
    figure, (axis,) = panels_of(1, 1, (1.2 + 0.8 * columns, 1.0 + 0.8 * rows))
    squares(axis, q.reshape(rows, columns, -1), ARROWS[family])
    axis.set_title(f"{name}: the best action in every square", fontsize=10)
    if family == "FrozenLake":
        for (row, column), letter in np.ndenumerate(env.desc.astype(str)):
            if letter in "HG":
                frame(axis, row, column, {"H": "#24292f", "G": "#1a7f37"}[letter], letter)
    return figure


def panels_of(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure with its panels in a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def squares(axis: Axes, q: np.ndarray, arrows: dict[int, tuple[int, int]]) -> None:
    """Colour and number for the value, an arrow or a word for the action."""
    value, action = q.max(axis=-1), q.argmax(axis=-1)
    low, high = value.min(), value.max()
    axis.imshow(value, cmap="Blues", vmin=low, vmax=high + (high - low) * 0.8)
    for (row, column), best in np.ndenumerate(action):
        axis.text(column, row + 0.38, f"{value[row, column]:.2g}", ha="center", fontsize=7)
        if best in arrows:
            right, down = (0.28 * part for part in arrows[best])
            axis.annotate(
                "",
                xy=(column + right, row + down - 0.08),
                xytext=(column - right, row - down - 0.08),
                arrowprops={"arrowstyle": "-|>", "linewidth": 1.4},
            )
        else:
            axis.text(column, row - 0.08, STAYS[best], ha="center", va="center", fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def frame(axis: Axes, row: int, column: int, colour: str, letter: str = "") -> None:
    """A coloured frame, or a filled square with a letter over what the agent never decides."""
    from matplotlib.patches import Rectangle

    corner = (column - 0.46, row - 0.46)
    box = Rectangle(corner, 0.92, 0.92, edgecolor=colour, linewidth=2.5, zorder=5)
    box.set(fill=bool(letter), facecolor=colour)
    axis.add_patch(box)
    if letter:
        word = {"H": "hole", "G": "goal"}[letter]
        axis.text(column, row, word, ha="center", va="center", color="white", fontsize=9, zorder=6)


def walls(axis: Axes, desc: np.ndarray) -> None:
    """Taxi's walls: where its own drawing has a bar between two squares."""
    for row, line in enumerate(desc[1:-1].astype(str)):
        for column in range(4):
            if line[2 * column + 2] == "|":
                axis.plot([column + 0.5] * 2, [row - 0.5, row + 0.5], color="black", linewidth=4)
