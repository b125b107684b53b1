"""Comparison of two data frames in a notebook, and of many weeks with one reference in a pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_runtime.monitor.frame_comparison import FrameComparison, Reference, compare


# [start:notebook]
def drift(last_month: Any, today: Any) -> FrameComparison:
    """Return the differences of today's rows; as the last line of a notebook cell, they show as a verdict and a row per column."""
    return compare(last_month, today, cluster="household_id", timestamp="at")


# [end:notebook]


# [start:pipeline]
def check(reference: Any, weeks: Mapping[str, Any], pages: Path) -> None:
    """Write a page per week, and stop at the first week with drift."""
    expected = Reference(reference, cluster="household_id", timestamp="at", categories=["store_id"])
    for name, rows in weeks.items():
        found = expected.compare(rows)
        found.html(pages / f"{name}.html")
        found.raise_for_drift()


# [end:pipeline]
