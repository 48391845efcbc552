"""Report: reports/index.html, the page to look at. One file, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hour9.gates.calibration import BINS, binned
from hour9.gates.cases import originals
from hour9.gates.statistics import bootstrap_mean
from hour9.gates.verdict import Estimate
from hour9.params import PAGE, REPORTS, STANDING, read_params, write_whole
from hour9.registry.versions import SCORES, judged, of_these_data, registered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILES = ("metrics.json", "gates.json")
EVERYWHERE = ("metric", *SCORES, "megabytes")
"""The metrics that each candidate has; a task may measure more."""
TEMPLATE = Path(__file__).with_name("report.html.jinja")
COLOURS = {"validation": "#1f6feb", "loss": "#9a6700", "regret": "#8250df"}


def report(name: str = "") -> None:
    """Draw the page from the outs and the registry."""
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    rows = standing()
    PAGE.parent.mkdir(exist_ok=True)
    write_whole(STANDING, json.dumps(rows, indent=2) + "\n")
    for row in rows:
        folder = REPORTS / row["task"] / row["candidate"]
        row["curve"] = curve_svg(folder / "curve.json")
        row["reliability"] = reliability_svg(folder / "evidence.parquet")
        row["pictures"] = [
            {"title": path.stem.replace("_", " "), "data": inline(path)}
            for path in sorted((folder / "pictures").glob("*.*"))
        ]
    write_whole(PAGE, template.render(rows=rows))


def inline(path: Path) -> str:
    """A picture as text that can stand in the page itself."""
    kind = path.suffix.removeprefix(".")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def standing() -> list[dict[str, Any]]:
    """Where each candidate of params.yaml stands: score, verdict, version, aliases.

    Those of a task stand together, as do the tasks of a topic.
    """
    params = read_params()
    tasks = list(params["tasks"])
    topics = list(dict.fromkeys(task["topic"] for task in params["tasks"].values()))

    def place(item: tuple[str, dict[str, Any]]) -> tuple[int, int]:
        return topics.index(item[1]["topic"]), tasks.index(item[1]["task"])

    return [
        {
            "topic": section["topic"],
            "task": section["task"],
            "candidate": name,
            **measured(section["task"], name),
        }
        for name, section in sorted(params["candidates"].items(), key=place)
    ]


def measured(task: str, candidate: str) -> dict[str, Any]:
    """Score on test with its interval, the baseline's, the gates' verdicts and the version."""
    import pandas as pd

    folder = REPORTS / task / candidate
    whole = all((folder / name).exists() for name in (*FILES, "evidence.parquet"))
    item = judged(task, candidate) if whole else None
    if item is None or not of_these_data(item):
        unknown = ("metric", "score", "interval", "baseline", "verdict", "version", "run_id")
        return {**dict.fromkeys(unknown), "gates": [], "more": {}, "aliases": []}
    metrics, gates = (json.loads((folder / name).read_text()) for name in FILES)
    test = originals(pd.read_parquet(folder / "evidence.parquet"), "test")
    found: Estimate = bootstrap_mean(test["score"].to_numpy(float))
    version = registered(item)
    promotion = version.pop("promotion")  # judged later, against the champion of that moment
    return {
        "metric": metrics["metric"],
        "score": found.value,
        "interval": [found.low, found.high],
        "baseline": float(test["baseline"].mean()),
        "verdict": gates["verdict"],
        "gates": [*gates["gates"], *promotion],
        "more": {name: metrics[name] for name in metrics if name not in EVERYWHERE},
        **version,
    }


def curve_svg(path: Path) -> str:
    """The learning curve as an inline picture; empty where there is none."""
    if not path.exists():
        return ""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    points = json.loads(path.read_text())
    figure = Figure(figsize=(5.0, 2.4), layout="constrained")
    axis = None
    for name, colour in COLOURS.items():
        known = [(p["step"], p[name]) for p in points if name in p]
        if not known:
            continue
        axis = axis.twinx() if axis else figure.subplots()
        marker = "o" if len(known) < 20 else ""
        axis.plot(*zip(*known, strict=True), marker=marker, color=colour, markersize=3)
        axis.set_ylabel(name, color=colour)
        axis.set_xlabel("step: optimizer updates, or steps in the environment")
        axis.xaxis.set_major_formatter(EngFormatter())  # a power of ten would lie on the label
        axis.spines["top"].set_visible(False)
    return svg(figure)


def reliability_svg(path: Path) -> str:
    """The reliability diagram (DeGroot & Fienberg 1983); empty where there is no confidence."""
    if not path.exists():
        return ""
    import pandas as pd
    from matplotlib.figure import Figure

    test = originals(pd.read_parquet(path), "test")
    if "confidence" not in test or len(test) < BINS:
        return ""
    sure, right = binned(*(test[name].to_numpy(float) for name in ("confidence", "score")))
    figure = Figure(figsize=(3.4, 3.2), layout="constrained")
    axis = figure.subplots()
    low = min(sure.min(), right.min()) - 0.03
    axis.plot([low, 1.03], [low, 1.03], color="#8c959f", linewidth=1, linestyle="--")
    axis.plot(sure, right, "o-", color=COLOURS["validation"], markersize=4)
    axis.text(0.97, 0.05, "below the line: too sure", transform=axis.transAxes, ha="right")
    axis.set(xlabel="how sure it is", ylabel="how often it is right")
    axis.set(xlim=(low, 1.03), ylim=(low, 1.03), aspect="equal")
    axis.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def svg(figure: Figure) -> str:
    """The figure as text that can stand in the page itself."""
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]
