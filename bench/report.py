"""The report in Markdown: the machine, the contenders, the verdicts, and a table for each scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from bench.figures import Verdict, figures, goals
from bench.peers import OWN
from bench.results import Case, Summary, case_text
from bench.runner import LIMIT, Run
from bench.scenario import Metric, Scenario
from bench.text import value_text

__all__ = ["write_report"]

_INTRODUCTION = (
    "A {} run of `python -m bench`. [bench/README.md](../../README.md) explains each scenario. Every value is the "
    "median of the rounds, with the minimum and the maximum in brackets."
)


def write_report(run: Run, scenarios: Sequence[Scenario], pictures: dict[str, Path], path: Path) -> None:
    """Write the report of everything measured so far."""
    parts = [
        "# ChronoStream measured",
        _INTRODUCTION.format(run.effort),
        _table(["machine", ""], [[name, text] for name, text in run.facts.items()]),
        "## Contenders",
        _table(
            ["contender", "version", "how it is used"],
            [[name, run.versions[name], run.how[name]] for name in run.versions]
            + [[name, "absent", reason] for name, reason in run.absent.items()],
        ),
    ]
    for title, verdicts in (("Figures", figures(run)), ("Goals", goals(run, scenarios))):
        if verdicts:
            parts += [f"## {title}", _verdicts(verdicts)]
    for scenario in scenarios:
        note = run.threaded if scenario.metrics[0].key == "send_ns" else set()
        summaries = [summary for summary in run.summaries if summary.scenario == scenario.name]
        if summaries:
            parts += _scenario(scenario, summaries, pictures.get(scenario.name), note)
    path.write_text("\n\n".join(parts) + "\n", "utf-8")


def _verdicts(verdicts: Iterable[Verdict]) -> str:
    words = {True: "yes", False: "**no**", None: "not measured"}
    return _table(
        ["what", "target", "measured", "met"],
        [[verdict.what, verdict.target, verdict.measured, words[verdict.met]] for verdict in verdicts],
    )


def _scenario(scenario: Scenario, summaries: list[Summary], picture: Path | None, threaded: set[str]) -> list[str]:
    parts = [f"## {scenario.name}", scenario.title]
    if picture is not None:
        parts.append(f"![{scenario.name}]({picture.name})")
    cases = [summary.case for summary in summaries if summary.contender == summaries[0].contender]
    measured = [summary for summary in summaries if summary.spreads]
    if len(cases) == 1:
        parts.append(_one_table(scenario, measured))
    else:
        for metric in scenario.metrics:
            table = _case_table(cases, measured, partial(_metric_text, metric=metric))
            parts += [f"{metric.title[0].upper()}{metric.title[1:]}:", table]
        if any(summary.checks for summary in measured):
            parts += ["Records:", _case_table(cases, measured, _verdict_text)]
    if threaded:
        parts.append(
            f"For {', '.join(sorted(threaded))}, this is only the cost of passing the message to a thread. It is not "
            "compared. one-to-one and one-to-many show the processor time of the whole process."
        )
    failed = [summary for summary in summaries if summary.failure is not None]
    if failed:
        parts.append("\n".join(f"- {_label(summary)}: {summary.failure}" for summary in failed))
    return parts


def _one_table(scenario: Scenario, summaries: list[Summary]) -> str:
    checked = any(summary.checks for summary in summaries)
    text_keys = sorted({key for summary in summaries for key in summary.texts})
    heads = ["", *(metric.title for metric in scenario.metrics), *(["records"] if checked else []), *text_keys]
    rows = [
        [
            _bold(summary.contender),
            *(_metric_text(summary, metric) for metric in scenario.metrics),
            *([_verdict_text(summary)] if checked else []),
            *(summary.texts.get(key, "") for key in text_keys),
        ]
        for summary in _ranked(summaries, scenario.metrics[0])
    ]
    return _table(heads, rows)


def _case_table(cases: list[Case], summaries: list[Summary], text_of: Callable[[Summary], str]) -> str:
    rows = []
    for contender in dict.fromkeys(summary.contender for summary in summaries):
        found = {str(summary.case): text_of(summary) for summary in summaries if summary.contender == contender}
        texts = [found.get(str(case), "") for case in cases]
        if any(texts):
            rows.append([_bold(contender), *texts])
    return _table(["", *map(case_text, cases)], rows)


def _ranked(summaries: list[Summary], metric: Metric) -> list[Summary]:
    if metric.less_is_better is None:
        return summaries
    sign = 1 if metric.less_is_better else -1
    return sorted(summaries, key=lambda summary: sign * summary.spreads[metric.key].median)


def _label(summary: Summary) -> str:
    case = case_text(summary.case)
    return f"{summary.contender} ({case})" if case else summary.contender


def _bold(contender: str) -> str:
    if contender in OWN or contender == "chronostream":
        return f"**{contender}**"
    return f"*{contender}*" if contender.startswith(LIMIT) else contender


def _metric_text(summary: Summary, metric: Metric) -> str:
    spread = summary.spreads.get(metric.key)
    if spread is None:
        return ""
    median, low, high = (value_text(value, metric.unit) for value in (spread.median, spread.low, spread.high))
    return median if low == high else f"{median} [{low} – {high}]"


def _verdict_text(summary: Summary) -> str:
    return summary.checks.verdict if summary.checks else ""


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
