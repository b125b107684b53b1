"""Tables of ``mlops monitor``: features, a feature's distribution and history; words are never cut, even in narrow terminals."""

from typing import TYPE_CHECKING

import typer

from mlops_cli.answers import LONGEST_WORD, console, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport
    from mlops_runtime.monitor.page.drawings import CellRow

_ROWS = 20  # shown features, unless more drifted
_WIDE = 110  # least terminal width for all columns
_NARROW = (0, 1, 2, -1)  # columns in narrower terminals
_BAR = 30  # characters
_BORDERS = 13  # characters of a table of four columns


def print_features(report: "MonitorReport") -> None:
    """Print a report's features by evidence: 20, or all that drifted if these are more."""
    from mlops_runtime.monitor.monitors.drift import feature_words

    ranked = feature_words.ranked(report.drift.features)
    if not ranked:
        return
    shown = ranked[: max(_ROWS, sum(feature.drifted for feature in ranked))]
    heads = ("feature", "verdict", "PSI", "p-value", "nulls", "new", "what happened")
    columns = range(len(heads)) if console().width >= _WIDE else _NARROW
    rows = [_feature(feature, suppressed=report.suppressed is not None) for feature in shown]
    print_table([heads[at] for at in columns], [[row[at] for at in columns] for row in rows], whole_words=True)
    if len(ranked) > len(shown):
        typer.echo(f"and {len(ranked) - len(shown)} more without drift; see all on the page or with --json")


def print_distribution(rows: "Sequence[CellRow]") -> None:
    """Print a feature's distribution as bars that fit the terminal."""
    from mlops_runtime.monitor.wording import percent

    scale = max(share for row in rows for share in (row.before, row.after)) or 1.0
    shares = [(percent(row.before), percent(row.after)) for row in rows]
    label = max(len("value"), *(len(row.label) for row in rows))
    numbers = sum(max(len(head), *(len(pair[at]) for pair in shares)) for at, head in enumerate(("baseline", "window")))
    room = console().width - _BORDERS - min(label, LONGEST_WORD) - numbers
    width = max(8, min(_BAR, room))
    typer.echo("█ both, ░ baseline only, ▓ window only")
    print_table(
        ("value", "baseline", "window", "share"),
        [
            (row.label, *pair, bar(row.before, row.after, scale, width=width))
            for row, pair in zip(rows, shares, strict=True)
        ],
        whole_words=True,
    )


def print_history(past: "Sequence[tuple[MonitorReport, FeatureDrift]]") -> None:
    """Print the PSI and verdict of a feature in each window."""
    from mlops_runtime.monitor import wording
    from mlops_runtime.monitor.monitors.drift import feature_words

    print_table(
        ("window until", "PSI", "verdict", "what happened"),
        [
            (
                wording.moment(report.window_until),
                feature_words.psi_text(drift),
                feature_words.drift_word(drift, suppressed=report.suppressed is not None)[1],
                drift.untested or (drift.description or "" if drift.drifted else ""),
            )
            for report, drift in past
        ],
        whole_words=True,
    )


def bar(before: float, after: float, scale: float, *, width: int = _BAR) -> str:
    """Return two shares as one overlaid bar.

    Args:
        before: Share of the baseline.
        after: Share of the window.
        scale: The share that fills the bar.
        width: Characters of a full bar. Default: 30.

    Example:
        >>> bar(0.1, 0.2, 0.6), bar(0.2, 0.1, 0.6, width=12)
        ('█████▓▓▓▓▓', '██░░')
    """
    first, second = (round(width * share / scale) for share in (before, after))
    return "█" * min(first, second) + ("░" * (first - second) if first > second else "▓" * (second - first))


def _feature(feature: "FeatureDrift", *, suppressed: bool) -> tuple[str, ...]:
    from mlops_runtime.monitor import wording
    from mlops_runtime.monitor.monitors.drift import feature_words

    rates = (feature.null_rate, feature.new_rate)
    return (
        feature.name,
        feature_words.drift_word(feature, suppressed=suppressed)[1],
        feature_words.psi_text(feature),
        wording.p_text(feature.p_value),
        *("" if rate is None else wording.value_text(rate, rate.value) for rate in rates),
        feature_words.shift_text(feature),
    )
