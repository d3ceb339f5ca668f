"""Pictures of what the backends answered, for the documents of deploy/."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same data give the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lanyard", "font.size": 8, "axes.titlesize": 9})

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.colors import LogNorm  # noqa: E402

from tree import Span  # noqa: E402

KEY_GRAPHS = {
    "Calls by method",
    "Errors by reason",
    "Latency",
    "Logins by outcome",
    "Cache hit ratio",
    "Hashing queue",
    "Connections in use",
    "Old tokens used",
}
UNITS = {"reqps": "calls a second", "percentunit": "ratio", "s": "seconds", "short": ""}
COLORS = {"shop": "#4878cf", "whoami": "#6acc65", "lanyard": "#ee854a"}


@dataclass
class Graph:
    title: str
    unit: str
    # A legend, such as `{{method}}`, and the series that have it.
    series: list[tuple[str, list[dict[str, Any]]]]
    exemplars: list[dict[str, Any]]


def trace(root: Span, file: Path) -> None:
    """Who waits for whom, and how long."""
    rows = list(root.below())
    figure, axes = pyplot.subplots(figsize=(11, 0.26 * len(rows) + 0.8))
    for row, (depth, span) in enumerate(rows):
        begun = (span.start - root.start) / 1000
        axes.barh(
            row, max(span.duration / 1000, root.duration / 200_000), left=begun, color=COLORS[span.service], height=0.7
        )
        end = (span.end - root.start) / 1000
        axes.text(end + root.duration / 100_000, row, f"{span.duration / 1000:.2f} ms", va="center", fontsize=7)
        # Pictures drop spaces that may break a line. Across, the share of the width: left of the axes.
        name = "\N{NO-BREAK SPACE}" * 4 * depth + span.name
        axes.text(-0.74, row, name, va="center", ha="left", transform=axes.get_yaxis_transform(), fontsize=7.5)
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.set_xlim(0, root.duration / 1000 * 1.12)
    axes.set_xlabel("milliseconds")
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=color) for color in COLORS.values()]
    axes.legend(handles, COLORS, loc="lower left", frameon=False)
    figure.subplots_adjust(left=0.42, right=0.98)
    _save(figure, file)


def dashboard(graphs: list[Graph], between: tuple[float, float], file: Path) -> None:
    rows = (len(graphs) + 1) // 2
    figure, places = pyplot.subplots(rows, 2, figsize=(12, 2.7 * rows))
    for axes, graph in zip(places.flat, graphs, strict=False):
        axes.set_title(graph.title, loc="left")
        if graph.title == "Latency":
            _heatmap(axes, graph, between)
        else:
            _lines(axes, graph, between)
        axes.set_xlim(0, between[1] - between[0])
        axes.set_xlabel("seconds of the test", fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    _save(figure, file)


def _lines(axes: Axes, graph: Graph, between: tuple[float, float]) -> None:
    for legend, series in graph.series:
        for one in series:
            points = [(at - between[0], float(value)) for at, value in one["values"] if math.isfinite(float(value))]
            label = _label(legend, one["metric"])
            if points:
                axes.plot(*zip(*points, strict=True), label=label, linewidth=1.2)
    axes.set_ylabel(UNITS[graph.unit])
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize=6, loc="upper left", frameon=False)


def _label(legend: str, labels: dict[str, str]) -> str:
    filled_in = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
    # Ports are other ones each time.
    return re.sub(r"127\.0\.0\.1:\d+", "server", filled_in)


def _heatmap(axes: Axes, graph: Graph, between: tuple[float, float]) -> None:
    """Calls in each bucket, which count those of all buckets below, too."""
    counts: dict[float, dict[float, float]] = defaultdict(dict)
    for _, series in graph.series:
        for one in series:
            for at, value in one["values"]:
                counts[at][float(one["metric"]["le"])] = float(value)
    bounds = sorted(bound for bound in next(iter(counts.values())) if bound != float("inf"))
    times = sorted(counts)
    cells = [
        [max(counts[at].get(bound, 0) - (counts[at].get(below, 0) if below else 0), 0) for at in times]
        for below, bound in zip([None, *bounds], bounds, strict=False)
    ]
    edges = [bounds[0] / 2, *bounds]
    across = [at - between[0] for at in times]
    across.append(across[-1] + (across[1] - across[0]))
    masked = [[cell if cell >= 1 else float("nan") for cell in row] for row in cells]
    axes.set_yscale("log")
    axes.pcolormesh(across, edges, masked, norm=LogNorm(vmin=1), cmap="Oranges")
    shown = [exemplar for exemplar in graph.exemplars if between[0] <= exemplar["timestamp"] <= between[1]]
    dots = [(exemplar["timestamp"] - between[0], float(exemplar["value"])) for exemplar in shown]
    if dots:
        axes.scatter(*zip(*dots, strict=True), marker="D", s=9, color="#1f60c4", label="exemplars: traces", zorder=3)
        axes.legend(fontsize=6, loc="upper left", frameon=False)
    axes.set_ylim(edges[0], edges[-1])
    axes.set_ylabel("seconds")


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
