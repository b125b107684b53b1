"""Two data frames compared in a notebook, and many weeks with one reference in a pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_runtime.monitor.frame_comparison import FrameComparison, Reference, compare


# [start:notebook]
def drift(last_month: Any, today: Any) -> FrameComparison:
    """Return how today's rows differ; as the last line of a notebook's cell it shows the verdict and a row a column."""
    return compare(last_month, today, cluster="household_id", timestamp="at")


# [end:notebook]


# [start:pipeline]
def check(reference: Any, weeks: Mapping[str, Any], pages: Path) -> None:
    """Write a page a week, and stop at the first week that drifted."""
    expected = Reference(reference, cluster="household_id", timestamp="at", categories=["store_id"])
    for name, rows in weeks.items():
        found = expected.compare(rows)
        found.html(pages / f"{name}.html")
        found.raise_for_drift()


# [end:pipeline]
