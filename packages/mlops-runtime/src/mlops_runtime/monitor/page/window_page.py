"""The report page of a window: one self-contained HTML file without scripts or network requests.

The verdict and the states are first, then the evidence, and the thresholds last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jinja2

from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport, monitor_states
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.monitor import wording
from mlops_runtime.monitor.counting.baseline_cells import NULL_PATTERNS
from mlops_runtime.monitor.counting.pairs import pair_name
from mlops_runtime.monitor.monitors.drift import feature_words
from mlops_runtime.monitor.monitors.drift.comparison import Comparison
from mlops_runtime.monitor.monitors.drift.paired_strata import pair_strata
from mlops_runtime.monitor.monitors.monitor_table import results
from mlops_runtime.monitor.page import drawings as page_marks
from mlops_runtime.monitor.page import report_words
from mlops_runtime.monitor.page.course import course
from mlops_runtime.monitor.page.drawings import CellRow, PairTable, Spark, cell_rows, compared, pair_table
from mlops_runtime.monitor.report_message import problem_place, problems, problems_text
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.wording import number, percent

MOST_REPORTS = 30  # in the history

_HERE = Path(__file__).parent
# the template of a monitor's section is next to its module
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader([_HERE, _HERE.parent / "monitors"]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.globals |= {"wording": wording, "marks": page_marks.marks, "number": number, "percent": percent}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePart:
    """One feature on the page: verdict, distribution, history. ``scale``: the largest share of its rows."""

    drift: FeatureDrift
    label: str
    tone: str
    word: str
    rows: tuple[CellRow, ...]
    table: PairTable | None
    spark: Spark | None
    scale: float
    conditioned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Data of the page from which each feature's part is built."""

    report: MonitorReport
    baseline: Baseline | None
    counts: Counts | None
    comparisons: Mapping[str, Comparison]
    reports: Sequence[MonitorReport]


def page(
    report: MonitorReport,
    *,
    baseline: Baseline | None,
    counts: Counts | None,
    history: Sequence[MonitorReport],
    records: Sequence[AuditRecord] = (),
) -> str:
    """Return the page of one window.

    Args:
        report: The window's report.
        baseline: Baseline of the decision; without it, or with counts of another baseline, distributions are omitted.
        counts: The window's counts.
        history: Reports of other windows, in any order; the earlier ones are shown.
        records: Audit records of the endpoint and of its unit, for the timeline. Default: none.

    Example:
        >>> from mlops_runtime.contracts.monitor import MonitorState
        >>> from mlops_runtime.contracts.monitor_report import DriftResult, QualityResult
        >>> report = MonitorReport(endpoint="demand", variant="All", window_from="2017-08-07T06:00:00Z",
        ...     window_until="2017-08-08T06:00:00Z", drift=DriftResult(state=MonitorState.NO_TRAFFIC), quality=QualityResult(),
        ...     rows=0, baseline_sha256=None, model_package_arn=None)
        >>> "the endpoint got no requests" in page(report, baseline=None, counts=None, history=())
        True
    """
    reports = page_marks.in_order(report, history, MOST_REPORTS)
    comparisons, note = _comparisons(report, baseline, counts)
    window = _Window(report=report, baseline=baseline, counts=counts, comparisons=comparisons, reports=reports)
    parts = [_part(drift, window) for drift in feature_words.ranked(report.drift.features)]
    return _ENVIRONMENT.get_template("report.html.jinja").render(
        report=report,
        baseline=baseline,
        counts=counts,
        note=note,
        reports=reports,
        course=course(reports, records),
        features=parts,
        drifted=[part for part in parts if part.drift.drifted or part.drift.persistent],
        states=dict(sorted(monitor_states(report).items(), key=lambda item: report_words.TONES[item[1]] != "bad")),
        sections={kind.name: shown for kind, result in results(report) if (shown := kind.section(result, baseline))},
        uncovered=_uncovered(report, baseline, counts),
        ages=_ages(report),
        problems=problems(report),
        problems_text=problems_text(report),
        problem_place=problem_place,
        thresholds=_thresholds(report.spec),
        spark={"width": page_marks.SPARK_WIDTH, "height": page_marks.SPARK_HEIGHT},
        words=report_words,
        feature_words=feature_words,
        was_tested=page_marks.was_tested,
    )


def _comparisons(
    report: MonitorReport, baseline: Baseline | None, counts: Counts | None
) -> tuple[Mapping[str, Comparison], str]:
    """Return the comparison of each feature with its baseline, or a note with the reason."""
    if baseline is None or counts is None:
        missing = " and ".join(name for name, each in (("baseline", baseline), ("counts", counts)) if each is None)
        return {}, f"No distributions: the {missing} of this window cannot be used here."
    if counts.baseline_sha256 != report.baseline_sha256:
        return {}, "No distributions: counts and report have different baselines."
    try:
        return compared(baseline, counts), ""
    except ValueError as error:
        return {}, f"No distributions: {error}."


def _part(drift: FeatureDrift, window: _Window) -> FeaturePart:
    tone, word = feature_words.drift_word(drift, suppressed=window.report.suppressed is not None)
    comparison = window.comparisons.get(drift.name)
    rows = () if comparison is None else cell_rows(comparison)
    baseline, counts = window.baseline, window.counts
    return FeaturePart(
        drift=drift,
        label="null patterns" if drift.name == NULL_PATTERNS else drift.name,
        tone=tone,
        word=word,
        rows=rows,
        table=_table(drift.name, window),
        spark=page_marks.spark(drift.name, window.reports),
        scale=max((share for row in rows for share in (row.before, row.after)), default=1.0) or 1.0,
        conditioned=bool(baseline and baseline.strata and counts and counts.strata),
    )


def _table(name: str, window: _Window) -> PairTable | None:
    if window.baseline is None or window.counts is None or not window.comparisons:
        return None
    for pair, counted in zip(window.baseline.pairs or (), window.counts.pairs or (), strict=False):
        if name == pair_name(pair) and len(pair.counts) == len(counted.counts):
            return pair_table(pair, counted, {feature.name: feature for feature in window.baseline.features})
    return None


def _uncovered(report: MonitorReport, baseline: Baseline | None, counts: Counts | None) -> dict[str, int]:
    """Return the number of rows by stratum that the baseline does not have, most frequent first."""
    if baseline is None or counts is None or not baseline.strata or not report.drift.uncovered_rows:
        return {}
    return dict(sorted(pair_strata(baseline, counts).uncovered.items(), key=lambda item: (-item[1], item[0])))


def _ages(report: MonitorReport) -> dict[str, float]:
    """Return the ages of captures, labels and baseline by name; label coverage is shown with quality."""
    found = {} if report.staleness is None else asdict(report.staleness)
    return {name: value for name, value in sorted(found.items()) if value is not None and name != "label_coverage"}


def _thresholds(spec: MonitorSpec) -> dict[str, object]:
    """Return the formatted settings by name, without empty ones."""
    found = {field.name: getattr(spec, field.name) for field in fields(spec) if field.name != "format"}
    written = {name: _setting(value) for name, value in found.items()}
    return {name: value for name, value in written.items() if value}


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {limit:g}" for name, limit in sorted(value.items()))
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else f"{value:g}"
