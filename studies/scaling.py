"""Why does attention divide by √D? Because without it, wide heads look at one token only.

Queries and keys with independent entries of variance 1 have dot products of variance D. Over T
tokens, the softmax of such scores concentrates as D grows: its entropy falls from log T towards 0
and one weight grows towards 1, where the softmax has no gradient left to learn from. Divided by √D
the scores keep variance 1 at any width (Vaswani et al. 2017, section 3.2.1).

Shapes: T tokens, D channels of a head.
"""

import numpy as np
from matplotlib.figure import Figure

from hour9.transformers.attention_numpy import attention
from study import COLOURS, asked, interval

TOKENS = 64
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512)


def main() -> None:
    """Draw entropy and largest weight against the width of a head."""
    options = asked(__doc__)
    seeds = range(3 if options.short else 30)
    points = []
    for width in WIDTHS[::3] if options.short else WIDTHS:
        for scaled in (True, False):
            measured = np.array([measure(width, scaled, seed) for seed in seeds])  # (seeds, 2)
            for name, values in zip(("entropy", "largest"), measured.T, strict=True):
                mean, low, high = interval(values)
                points.append(
                    {"measure": name, "scaled": scaled, "width": width}
                    | {"mean": mean, "low": low, "high": high, "seeds": len(values)}
                )
    options.save("scaling", draw(points), points)


def measure(width: int, scaled: bool, seed: int) -> tuple[float, float]:
    """Entropy of one query's attention over random keys, and its largest weight."""
    chance = np.random.default_rng((seed, width))
    query, keys = chance.normal(size=(1, width)), chance.normal(size=(TOKENS, width))
    undone = 1.0 if scaled else np.sqrt(width)  # `attention` itself divides by √D
    _, rows = attention(undone * query, keys, keys)  # (1, T)
    weights = rows[0]
    entropy = -(weights * np.log(weights + 1e-300)).sum()
    return float(entropy), float(weights.max())


def draw(points: list[dict]) -> Figure:
    """One panel a measure, one line with and one without the division."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    titles = {"entropy": "entropy of the attention (nats)", "largest": "largest weight of 64"}
    for axis, (name, title) in zip(panels, titles.items(), strict=True):
        for scaled, colour in zip((True, False), COLOURS, strict=False):
            line = [p for p in points if p["measure"] == name and p["scaled"] == scaled]
            widths = [p["width"] for p in line]
            label = "divided by √D" if scaled else "not divided"
            axis.plot(widths, [p["mean"] for p in line], "o-", color=colour, label=label)
            low, high = [p["low"] for p in line], [p["high"] for p in line]
            axis.fill_between(widths, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set(title=title, xlabel="channels of a head, D", xscale="log", ylim=(0, None))
        axis.set_xticks(widths, [str(w) for w in widths])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].axhline(np.log(TOKENS), color="grey", linestyle=":", linewidth=1)
    panels[0].annotate("log T: all tokens alike", (2, np.log(TOKENS) - 0.22), fontsize=8)
    panels[0].legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
