"""A report, and one of its features, as lines of text for the command and the console."""

from collections.abc import Iterator

from mlops_runtime.contracts.monitor_report import FeatureDrift, MonitorReport, monitor_states
from mlops_runtime.monitor import wording
from mlops_runtime.monitor.monitors.drift import feature_words
from mlops_runtime.monitor.page import report_words
from mlops_runtime.monitor.report_message import problem_place, problems
from mlops_runtime.monitor.wording import number


def report_lines(report: MonitorReport) -> Iterator[str]:
    """Yield the lines of a report that precede its features."""
    span = f"{wording.moment(report.window_from)} to {wording.moment(report.window_until)} UTC"
    yield f"{report.endpoint} {report.variant}, {span}: {report.rows:,} rows"
    yield report_words.verdict(report)
    if report.baseline_flaw is not None:
        yield f"  {report.baseline_flaw}"
    if report.engine is not None:
        yield f"  {'engine':<14} {report_words.engine_text(report)}"
    for monitor, state in monitor_states(report).items():
        said = report_words.said(report, monitor)
        do = f"; do: {said.do}" if said.do and said.tone != "good" else ""
        yield f"  {monitor:<14} {state.value:<17} {said.means}{do}"
    if report.suppressed is not None:
        yield f"  drift was not published: {wording.seconds(report.suppressed)}"
    for name, times in problems(report):
        where = problem_place(report, name)
        yield f"  problem        {times:,} x {name}{f', the newest in {where}' if where else ''}"


def feature_lines(report: MonitorReport, drift: FeatureDrift) -> Iterator[str]:
    """Yield the lines of one feature that precede its distribution."""
    _, word = feature_words.drift_word(drift, suppressed=report.suppressed is not None)
    span = f"{wording.moment(report.window_from)} to {wording.moment(report.window_until)} UTC"
    yield f"{drift.name} of {report.endpoint}, {span}: {word}"
    if drift.description is not None:
        yield f"  {drift.description}"
    yield f"  do: {feature_words.what_to_do(drift)}"
    numbers = [("Jensen-Shannon", drift.jensen_shannon), ("L-infinity", drift.l_infinity)]
    numbers += [("Wasserstein", drift.wasserstein), ("mean moved, in sd", drift.mean_shift)]
    shown = [f"PSI {feature_words.psi_text(drift)}"] if feature_words.has_psi(drift) else []
    shown += [f"{name} {number(value)}" for name, value in numbers if value is not None]
    rule = "" if drift.rule is None else f", by the rule {drift.rule.replace('_', ' ')}"
    yield f"  {', '.join([*shown, f'p-value {wording.p_text(drift.p_value)}'])}{rule}"
    for name, rate in (("nulls", drift.null_rate), ("new", drift.new_rate)):
        if rate is not None:
            was = "" if rate.baseline is None else f", was {wording.value_text(rate, rate.baseline)}"
            yield f"  {name} {wording.interval_text(rate)}{was}"
