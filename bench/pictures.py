"""Pictures of the scenarios, if matplotlib is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.results import Summary, case_text
from bench.runner import LIMIT, Run
from bench.scenario import Metric, Scenario
from bench.text import value_text

try:
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.ticker import FuncFormatter, NullFormatter
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

__all__ = ["AVAILABLE", "draw"]

_OUR_COLOURS = {
    "chronostream": "#d62728",
    "chronostream-native": "#d62728",
    "chronostream-portable": "#ff9896",
}
_LIMIT_COLOUR = "#7f7f7f"
_PEER_COLOURS = (
    "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf",
    "#aec7e8", "#98df8a", "#c5b0d5", "#c49c94", "#f7b6d2", "#dbdb8d",
)  # fmt: skip
_LOG_RATIO = 30  # values that differ by more need a logarithmic axis
_FEW_POINTS = 50  # a line of fewer points needs markers
_DPI = 110


def draw(run: Run, scenario: Scenario, directory: Path) -> dict[str, Path]:
    """Draw a scenario's picture; return its path under the scenario's name, or an empty dict."""
    summaries = [summary for summary in run.summaries if summary.scenario == scenario.name and summary.spreads]
    if not AVAILABLE or scenario.draw is None or not summaries:
        return {}
    mpl.use("Agg")
    height = max(3.2, 0.32 * len(summaries) + 1.2) if scenario.draw == "bars" else 5.5
    figure, axes = plt.subplots(figsize=(9, height))
    _DRAW[scenario.draw](axes, scenario, summaries)
    axes.set_title(f"{scenario.name}: {scenario.title}", fontsize=9, loc="left", wrap=True)
    axes.grid(visible=True, which="major", alpha=0.3)
    path = directory / f"{scenario.name}.png"
    figure.savefig(path, dpi=_DPI, bbox_inches="tight")
    plt.close(figure)
    return {scenario.name: path}


def _bars(axes: Axes, scenario: Scenario, summaries: list[Summary]) -> None:
    """Draw the first metric: a bar for each contender and case, the best on top, with the spread of the rounds."""
    metric = scenario.metrics[0]
    ordered = sorted(
        summaries, key=lambda summary: summary.spreads[metric.key].median, reverse=bool(metric.less_is_better)
    )
    names = [f"{summary.contender} {case_text(summary.case)}".strip() for summary in ordered]
    spreads = [summary.spreads[metric.key] for summary in ordered]
    values = [spread.median for spread in spreads]
    errors = [[spread.median - spread.low for spread in spreads], [spread.high - spread.median for spread in spreads]]
    axes.barh(
        names,
        values,
        xerr=errors,
        color=[_colour(summary.contender, summaries) for summary in ordered],
        ecolor="#444444",
    )
    for row, value in enumerate(values):
        axes.annotate(f" {value_text(value, metric.unit)}", (max(value, 0), row), fontsize=8, va="bottom")
    positive = [value for value in values if value > 0]
    if positive and max(positive) > _LOG_RATIO * min(positive):
        axes.set_xscale("log")
        axes.set_xlim(left=min(positive) / 2)
    axes.margins(x=0.12)
    axes.tick_params(axis="y", labelsize=8)
    _label(axes.xaxis, metric, axes.set_xlabel)


def _lines(axes: Axes, scenario: Scenario, summaries: list[Summary]) -> None:
    """Draw the first metric over the first variable of the scenario's cases."""
    metric = scenario.metrics[0]
    varied = next(iter(summaries[0].case))
    for contender in dict.fromkeys(summary.contender for summary in summaries):
        points = sorted(
            (summary.case[varied], summary.spreads[metric.key].median)
            for summary in summaries
            if summary.contender == contender and varied in summary.case
        )
        style = "--" if contender.startswith(LIMIT) else "-"
        axes.plot(
            *zip(*points, strict=True),
            style,
            marker="o",
            markersize=3.5,
            label=contender,
            color=_colour(contender, summaries),
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(varied)
    _label(axes.yaxis, metric, axes.set_ylabel)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def _latencies(axes: Axes, scenario: Scenario, summaries: list[Summary]) -> None:
    """Draw the distribution of each contender: the share of messages that were at least so late."""
    for summary in summaries:
        assert summary.histogram is not None
        total = summary.histogram.get_total_count()
        points = [
            (
                item.value_iterated_to,
                100 * (total - item.total_count_to_this_value + item.count_at_value_iterated_to) / total,
            )
            for item in summary.histogram.get_recorded_iterator()
        ]
        style = "--" if summary.contender.startswith(LIMIT) else "-"
        colour = _colour(summary.contender, summaries)
        marker = "." if len(points) < _FEW_POINTS else ""
        axes.step(*zip(*points, strict=True), style, marker=marker, where="pre", label=summary.contender, color=colour)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("share at least as late")
    _label(axes.xaxis, scenario.metrics[0], axes.set_xlabel, "late by")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


_DRAW: dict[str, Callable[[Any, Scenario, list[Summary]], None]] = {
    "bars": _bars,
    "lines": _lines,
    "latencies": _latencies,
}


def _label(axis: Any, metric: Metric, set_label: Callable[[str], object], title: str | None = None) -> None:
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: value_text(value, metric.unit)))
    set_label(metric.title if title is None else title)


def _colour(contender: str, summaries: list[Summary]) -> str:
    if contender.startswith(LIMIT):
        return _LIMIT_COLOUR
    peers = [name for name in dict.fromkeys(summary.contender for summary in summaries) if name not in _OUR_COLOURS]
    return _OUR_COLOURS.get(contender) or _PEER_COLOURS[peers.index(contender) % len(_PEER_COLOURS)]
