"""What a model of whole graphs gets wrong, and where it looks.

Positions follow from the graph alone, so the same model draws the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hour9.graphs.molecule_tables import edge_columns, node_columns
from hour9.task import Tables

if TYPE_CHECKING:
    import networkx

ROWS, COLUMNS = 2, 4
COLOURS = (
    "#8c959f",
    "#1f6feb",
    "#cf222e",
    "#1a7f37",
    "#9a6700",
    "#8250df",
    "#bf3989",
    "#d4a72c",
    "#1b7c83",
)
LINE = "#57606a"
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.")
MOST = 3.0  # times an even share of the read-out: a node that has so much is darkest
APART = 2.0  # between a graph's parts; an edge is about 1 long
WIDEST_NODES = 30
"""Nodes of a graph that a small picture can hold."""


def draw_wrong(tables: Tables, found: pd.DataFrame, path: Path) -> None:
    """The test graphs with the worst answers, each with what was said and what is."""
    cases = tables["cases"]
    if "value" in found:
        wrong = (found["value"] - cases["target"]).abs()
        said = (
            found["value"].map("{:.2f}".format) + " said, " + cases["target"].map("{:.2f}".format)
        )
    else:
        missed = found["label"].to_numpy() != cases["target"].to_numpy()
        wrong = found["confidence"].where(missed, -found["confidence"])
        said = found["label"] + " said, " + cases["target"]
    test = np.flatnonzero(cases["split"] == "test")
    worst = test[np.argsort(-wrong.to_numpy()[test], kind="stable")][: ROWS * COLUMNS]
    figure, axes = canvas("The test graphs it gets most wrong")
    for axis, number in zip(axes, worst, strict=False):
        draw_graph(axis, tables, cases["case"].iloc[number])
        axis.set_title(f"{said.iloc[number]} is", fontsize=9)
    legend(figure, tables)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_attention(tables: Tables, attention: pd.Series, path: Path) -> None:
    """Test graphs whose nodes are as large and dark as their share of the read-out's last answer,
    beside an even share.

    `attention` stands by (case, node).
    """
    cases, nodes = tables["cases"], tables["nodes"]
    size = nodes.groupby("case").size()
    test = cases.loc[cases["split"] == "test", "case"]
    fits = size.reindex(test)[lambda s: s <= WIDEST_NODES]
    chosen = fits.sort_values(kind="stable", ascending=False).index[: 3 * ROWS * COLUMNS : 3]
    figure, axes = canvas(
        "Which nodes the read-out looks at: the darkest have three times an even share or more"
    )
    for axis, case in zip(axes, chosen, strict=False):
        draw_graph(axis, tables, case, attention[case])
        most, even = attention[case].max(), 1 / len(attention[case])
        axis.set_title(f"at most {most:.0%}, an even share is {even:.0%}", fontsize=9)
    legend(figure, tables)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def canvas(title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    figure.suptitle(title, fontsize=13)
    axes = list(figure.subplots(ROWS, COLUMNS).flat)
    for axis in axes:
        axis.set_axis_off()
        axis.set_aspect("equal", adjustable="datalim")
        axis.margins(0.25)  # nodes are drawn around their places
    return figure, axes


def draw_graph(axis: Axes, tables: Tables, case: str, weight: pd.Series | None = None) -> None:
    """One graph: a node's outline says its kind, an edge's line its own; the face its weight."""
    import networkx

    nodes, edges = (table[table["case"] == case] for table in (tables["nodes"], tables["edges"]))
    graph = networkx.Graph()
    graph.add_nodes_from(nodes["node"].tolist())
    graph.add_edges_from(edges[["source", "target"]].to_numpy().tolist())
    place = places(graph)
    line = kind_of(edges, kinds(edge_columns(tables)))
    for edge, style in zip(edges[["source", "target"]].to_numpy().tolist(), line, strict=True):
        x, y = np.array([place[end] for end in edge]).T
        axis.plot(x, y, STYLES[style % len(STYLES)], color=LINE, linewidth=1.6, zorder=1)
    colour = [COLOURS[k % len(COLOURS)] for k in kind_of(nodes, kinds(node_columns(tables)))]
    at = np.array([place[node] for node in nodes["node"]])
    scale = 260 / max(1.0, (len(nodes) / 8))
    if weight is None:
        axis.scatter(
            at[:, 0], at[:, 1], s=scale, c=colour, edgecolors="white", zorder=2, clip_on=False
        )
        return
    even = 1 / len(nodes)
    share = np.clip(weight.reindex(nodes["node"]).to_numpy() / even, 0, MOST) / MOST
    axis.scatter(
        at[:, 0],
        at[:, 1],
        s=scale * (0.35 + 1.4 * share),
        c=share,
        cmap="Oranges",
        vmin=-0.1,
        vmax=1.1,
        edgecolors=colour,
        linewidths=2.0,
        zorder=2,
        clip_on=False,
    )


def places(graph: networkx.Graph) -> dict[int, np.ndarray]:
    """Positions by springs whose rest lengths are the distances; the parts side by side."""
    import networkx

    place: dict[int, np.ndarray] = {}
    right = 0.0
    for part in sorted(networkx.connected_components(graph), key=lambda p: (-len(p), min(p))):
        piece = graph.subgraph(sorted(part))
        found = networkx.kamada_kawai_layout(piece, scale=len(part) ** 0.5)
        left = min(x for x, _ in found.values())
        moved = {node: np.array([x - left + right, y]) for node, (x, y) in found.items()}
        right = max(x for x, _ in moved.values()) + APART
        place |= moved
    return place


def kinds(columns: list[str]) -> list[str]:
    """The columns that say what a node or an edge is: the first feature's values."""
    if not columns:
        return []
    feature = columns[0].rpartition(".")[0]
    return [name for name in columns if name.rpartition(".")[0] == feature]


def kind_of(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    """The number of each row's kind; 0 where there is one only."""
    if not names:
        return np.zeros(len(table), dtype=int)
    return table[names].to_numpy(float).argmax(axis=1)


def legend(figure: Figure, tables: Tables) -> None:
    """What the colours of nodes and the lines of edges mean."""
    marks: list[Any] = [
        Line2D([], [], marker="o", linestyle="", color=COLOURS[i % len(COLOURS)], label=said)
        for i, said in enumerate(meanings("node", node_columns(tables)))
    ]
    marks += [
        Line2D([], [], linestyle=STYLES[i % len(STYLES)], color=LINE, label=said)
        for i, said in enumerate(meanings("edge", edge_columns(tables)))
    ]
    if len(marks) > 1:
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False,
                      fontsize=8, columnspacing=1.0, handlelength=1.6)  # fmt: skip


def meanings(what: str, columns: list[str]) -> list[str]:
    """What each kind is called: `element.C` is C; where a set only numbers its kinds, `node 3`."""
    values = [name.rpartition(".")[2] for name in kinds(columns)]
    return [f"{what} {value}" if value.lstrip("-").isdigit() else value for value in values]
