"""Where the marks of the page's small drawings lie: a feature's history, a number's interval. Coordinates only; the page draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_runtime.contracts.monitor import Measured, MonitorReport
from mlops_runtime.monitor.drift.wording import number
from mlops_runtime.monitor.page.text import TESTED

SPARK_WIDTH, SPARK_HEIGHT = 132, 28
_PAD = 4
# a PSI of 0.25 is a mean that moved by half a standard deviation: what reaches the top unless something moved farther
_TOP_PSI = 0.25


@dataclass(frozen=True, slots=True)
class Dot:
    """One report in a feature's history; ``drifted`` is its verdict there."""

    x: float
    y: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class Spark:
    """A feature's history: dots in order of time, what joins them, and the same in words."""

    dots: tuple[Dot, ...]
    line: str
    words: str


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a metric's value, interval, baseline and limit lie, in percent of the width; None for what there is not."""

    value: float
    low: float | None
    high: float | None
    baseline: float | None
    limit: float | None


def spark(name: str, reports: Sequence[MonitorReport]) -> Spark | None:
    """Return a feature's PSI over reports; its height is the square root, which goes as the shift in standard deviations.

    Args:
        name: The feature's name.
        reports: Earlier ones and this one, oldest first; those that did not test it leave a gap.

    Returns:
        None with fewer than two reports that tested it.
    """
    found = [(i, f) for i, report in enumerate(reports) for f in report.features if f.name == name and not f.untested]
    if len(found) < 2:
        return None
    top = max(_TOP_PSI, *(feature.psi for _, feature in found))
    step = (SPARK_WIDTH - 2 * _PAD) / max(1, len(reports) - 1)
    dots = tuple(
        Dot(
            x=round(_PAD + index * step, 1),
            y=round(SPARK_HEIGHT - _PAD - (SPARK_HEIGHT - 2 * _PAD) * math.sqrt(max(0.0, feature.psi) / top), 1),
            drifted=feature.drifted,
        )
        for index, feature in found
    )
    values = ", ".join(number(feature.psi) for _, feature in found[-8:])
    words = f"PSI in the last {min(8, len(found))} reports: {values}; drifted in {sum(d.drifted for d in dots)} of {len(dots)}"
    return Spark(dots=dots, line=" ".join(f"{dot.x},{dot.y}" for dot in dots), words=words)


def marks(measured: Measured) -> Marks | None:
    """Return where a metric's marks lie on a line of its own.

    Returns:
        None where nothing can be drawn: no value, or one that is infinite.

    Example:
        >>> marks(Measured(name="wape", value=0.5, low=0.4, high=0.6, baseline=0.4))
        Marks(value=50.0, low=8.0, high=92.0, baseline=8.0, limit=None)
    """
    numbers = (measured.value, measured.low, measured.high, measured.baseline, measured.limit)
    known = [each for each in numbers if each is not None]
    if measured.value is None or not all(map(math.isfinite, known)):
        return None
    least, most = min(known), max(known)

    def place(value: float | None) -> float | None:
        if value is None:
            return None
        return 50.0 if most == least else round(8 + 84 * (value - least) / (most - least), 1)

    value = place(measured.value)
    return Marks(
        value=50.0 if value is None else value,
        low=place(measured.low),
        high=place(measured.high),
        baseline=place(measured.baseline),
        limit=place(measured.limit),
    )


def in_order(report: MonitorReport, history: Sequence[MonitorReport], most: int) -> list[MonitorReport]:
    """Return the newest earlier reports and the report itself, oldest first, one for each end of a window.

    Args:
        report: The report.
        history: Others, in any order; later ones and the report itself are left out.
        most: How many at most, with the report.
    """
    earlier = {each.window_until: each for each in history if each.window_until < report.window_until}
    return [*(earlier[at] for at in sorted(earlier)[-(most - 1) :]), report]


def was_tested(report: MonitorReport) -> bool:
    """Return whether a report says anything about drift."""
    return report.drift_state in TESTED
