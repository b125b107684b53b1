"""Shared parts of the campaigns: results stored as they come, so that a run resumes, and shares with Wilson intervals."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from benchmarks.monitor.windows import columns, types

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import FeatureDrift
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.decision import decide
from mlops_runtime.monitor.monitors.drift.persistence import is_persistent
from mlops_runtime.monitor.monitors.drift.tails import wilson
from mlops_runtime.monitor.spec import MonitorSpec

RESULTS = Path(__file__).parent / "results"
SPEC = MonitorSpec()

Verdicts = tuple[FeatureDrift, ...]


class Ledger:
    """Figures by key in a JSON file; a key with figures is not measured again.

    Args:
        name: Name of the file.
        folder: Its folder. Default: ``results`` beside this file, ignored by git.
    """

    def __init__(self, name: str, folder: Path = RESULTS) -> None:
        folder.mkdir(exist_ok=True)
        self._path = folder / f"{name}.json"
        self.figures: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def measure(self, key: str, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the figures of a key; measure and store them if missing."""
        if key not in self.figures:
            self.figures[key] = measured()
            self._path.write_text(json.dumps(self.figures, indent=1))
        found: dict[str, Any] = self.figures[key]
        return found


@dataclass(frozen=True, slots=True)
class Tally:
    """Number of windows of one run that alarmed.

    Args:
        windows: Number of windows.
        fired: Windows in which any feature drifted.
        runs: Windows with two windows before them.
        persisted: Windows of ``runs`` in which a feature drifted in two of three windows.
        untested: Share of feature tests that were skipped.
        silent: Windows without any test.
    """

    windows: int
    fired: int
    runs: int
    persisted: int
    untested: float
    silent: int


def fit(rows: pa.Table, *, leave_out: str | None = None, **more: Any) -> Baseline:
    """Return the baseline of a table.

    Args:
        rows: Features of the table.
        leave_out: A feature to leave out. Default: none.
        more: Further arguments of `fit_baseline`.
    """
    of = columns(rows, leave_out)
    return fit_baseline(of, types=types(of), training_set_id="campaign", created="2026-11-26T00:00:00Z", **more)


def verdicts(baseline: Baseline, rows: pa.Table, spec: MonitorSpec = SPEC, **more: Any) -> Verdicts:
    """Return the verdict on each feature of a window.

    Args:
        baseline: Baseline to compare with.
        rows: The window.
        spec: Thresholds. Default: the defaults.
        more: Further arguments of `count_columns`.
    """
    counts = count_columns(columns(rows), baseline, **more)
    return decide(baseline, counts, spec)


def tally(windows: Sequence[Verdicts], spec: MonitorSpec = SPEC) -> Tally:
    """Return the tally of a sequence of windows."""
    runs = [windows[i - spec.of_windows + 1 : i + 1] for i in range(spec.of_windows - 1, len(windows))]
    untested = [one.untested is not None for window in windows for one in window]
    return Tally(
        windows=len(windows),
        fired=sum(any(one.drifted for one in window) for window in windows),
        runs=len(runs),
        persisted=sum(any(is_persistent(one, run[:-1], spec) for one in run[-1]) for run in runs),
        untested=sum(untested) / max(1, len(untested)),
        silent=sum(all(one.untested is not None for one in window) for window in windows),
    )


def percent(successes: int, trials: int) -> str:
    """Return a share with its 95 % Wilson interval."""
    if trials == 0:
        return "-"
    low, high = wilson(successes, trials)
    return f"{successes / trials:.1%} ({low:.1%} to {high:.1%})"
