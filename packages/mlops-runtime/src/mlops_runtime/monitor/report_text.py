"""What a report says, in a sentence and in a message that people can act on."""

import re
from collections.abc import Iterable, Sequence

from mlops_runtime.contracts.monitor import FeatureDrift, Measured, MonitorReport, MonitorState, is_confirmed
from mlops_runtime.monitor.counting.baseline_cells import NULL_PATTERNS
from mlops_runtime.monitor.monitors.drift.decision import UNREADABLE
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.wording import number, percent

_NAMED = 3
_MANY = 0.01  # of the rows and what could not be read


def problems(report: MonitorReport) -> list[tuple[str, int]]:
    """Return the problems of a report, the most frequent first; a baseline that cannot be used is said elsewhere.

    Args:
        report: The run's.
    """
    found = [(name, times) for name, times in (report.problems or {}).items() if name != report.baseline_flaw]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def problems_text(report: MonitorReport) -> str:
    """Return the three most frequent problems with how often each came, and how many other kinds there are.

    Args:
        report: The run's.

    Returns:
        A sentence without its period; empty where there is no problem.
    """
    found = problems(report)
    named = [f"{name} ({times:,})" for name, times in found[:_NAMED]]
    more = len(found) - _NAMED
    return "; ".join([*named, f"{more} more {'kind' if more == 1 else 'kinds'}"] if more > 0 else named)


def are_many(report: MonitorReport) -> bool:
    """Return whether any problem came for more than one in a hundred of the rows.

    Args:
        report: The run's.
    """
    found = problems(report)
    return bool(found) and found[0][1] > _MANY * (report.rows + found[0][1])


def short_flaw(flaw: str) -> str:
    """Return why a baseline cannot be used, without where it lies and its hashes.

    Example:
        >>> short_flaw("the baseline s3://artifacts/baseline.json was changed: it has SHA-256 1a, approved was 2b")
        'the baseline was changed'
    """
    return re.sub(r"^the baseline s3://\S+ ", "the baseline ", flaw).partition(":")[0]


# features and metrics that a sentence names; the report has all
_LISTED = 10
# what people know a model by, the first that was measured
_PRIMARY = ("wape", "auc", "rmse", "brier")
_UNJUDGED = "no metric has both an interval and a limit, of quality_limits or from the holdout"
_UNCOVERED = "are of conditions that the baseline does not know"
_SILENT = {
    MonitorState.NOT_YET_DEPLOYED: "nothing serves yet",
    MonitorState.NO_TRAFFIC: "nobody called",
    MonitorState.NO_CAPTURE: "calls were made and none was captured",
    MonitorState.BASELINE_OLDER_THAN_MODEL: "the baseline is of another training set than the model",
    MonitorState.MONITOR_NOT_RUN: "captures of the newest hours are not counted",
}
_ADVICE = {
    MonitorState.NOT_YET_DEPLOYED: "nothing: the first approved model starts it",
    MonitorState.NO_TRAFFIC: "ask the callers whether that is meant",
    MonitorState.NO_CAPTURE: "look at the endpoint's data capture, and at the free disk of its instances: capture stops without",
    MonitorState.BASELINE_OLDER_THAN_MODEL: "register the model with the baseline of its own training set",
    MonitorState.MONITOR_NOT_RUN: "read the log and the dead letters of the counting function, mend the cause, redrive the queue",
}


def verdict(report: MonitorReport) -> str:
    """Return a report in one sentence.

    Args:
        report: With its states; its own ``verdict`` is not read.

    Example:
        >>> report = MonitorReport(endpoint="demand-forecast", variant="AllTraffic", window_from="", window_until="", rows=0,
        ...     drift_state=MonitorState.NO_TRAFFIC, quality_state=MonitorState.NO_LABELS_YET, labelled_rows=0,
        ...     baseline_sha256=None, model_package_arn=None)
        >>> verdict(report)
        'demand-forecast: nobody called; no labels yet'
    """
    if report.drift_state is MonitorState.NOT_YET_DEPLOYED:
        return f"{report.endpoint}: {_SILENT[report.drift_state]}"
    if report.baseline_flaw is not None:
        return f"{report.endpoint}: nothing is decided, {report.baseline_flaw}"
    parts = [_drift(report), _quality(report), *_bias(report), *_others(report)]
    if report.suppressed is not None:
        parts.append(f"drift is not published, {report.suppressed}")
    return f"{report.endpoint}: {'; '.join(parts)}"


def message(report: MonitorReport, uri: str) -> str:
    """Return what people are told: what happened, what to do, and where the report is.

    Args:
        report: With its verdict.
        uri: Where it lies.
    """
    lines = [
        verdict(report) if report.verdict is None else report.verdict,
        "",
        f"Window: {report.window_from} to {report.window_until}, {report.rows:,} rows, {report.labelled_rows:,} labelled",
        f"Model: {report.model_package_arn or 'none'}",
        *_section("What happened:", _happened(report)),
        *_section("What to do:", _advice(report)),
        *_section("Left out, and how often:", _problems(report)),
        "",
        f"Report: {uri}",
    ]
    return "\n".join(lines)


def advice(report: MonitorReport) -> str:
    """Return what to do in one line, for where a message has no lines of its own.

    Args:
        report: With its states.

    Example:
        >>> report = MonitorReport(endpoint="demand-forecast", variant="AllTraffic", window_from="", window_until="", rows=0,
        ...     drift_state=MonitorState.NO_TRAFFIC, quality_state=MonitorState.NO_LABELS_YET, labelled_rows=0,
        ...     baseline_sha256=None, model_package_arn=None)
        >>> advice(report)
        'ask the callers whether that is meant'
    """
    return "; ".join(_advice(report)) or "nothing"


def interval(measured: Measured) -> str:
    """Return a metric's value with its interval.

    Example:
        >>> interval(Measured(name="wape", value=0.4123, low=0.391, high=0.43))
        '0.412, 0.391 to 0.43'
    """
    if measured.value is None:
        return "unknown"
    if measured.low is None or measured.high is None:
        return number(measured.value)
    return f"{number(measured.value)}, {number(measured.low)} to {number(measured.high)}"


def _spec(report: MonitorReport) -> MonitorSpec:
    return MonitorSpec() if report.spec is None else report.spec


def _drift(report: MonitorReport) -> str:
    spec, state = _spec(report), report.drift_state
    if state is MonitorState.VIOLATION:
        windows = "this window" if spec.of_windows == 1 else f"{spec.alarm_windows} of {spec.of_windows} windows"
        said = [f.description or f.name for f in report.features if f.rule == UNREADABLE]
        confirmed = [f for f in report.features if f.rule != UNREADABLE and is_confirmed(f)]
        said += [f"drift in {windows}: {_names(confirmed)}"] if confirmed else []
        return "; ".join([*said, *_mostly_uncovered(report)])
    if state is MonitorState.INSUFFICIENT_DATA:
        return too_little(report)
    if state is MonitorState.NO_TRAFFIC:
        return f"{_SILENT[state]}{_since_live(report)}"
    if state is not MonitorState.OK:
        return _SILENT.get(state, str(state))
    suspects = [feature for feature in report.features if feature.drifted]
    if suspects:
        said = [f"drift in this window, not yet in {spec.alarm_windows} of {spec.of_windows}: {_names(suspects)}"]
        return "; ".join([*said, *_mostly_uncovered(report)])
    uncovered = report.uncovered_rows or 0
    rest = f", {uncovered:,} more {_UNCOVERED}" if uncovered else ""
    return f"no drift in {report.rows - uncovered:,} rows{rest}"


def too_little(report: MonitorReport) -> str:
    """Return why drift could not be decided about although there was traffic: too few rows, or none that can be compared.

    Args:
        report: Whose drift is ``INSUFFICIENT_DATA``.
    """
    spec, uncovered = _spec(report), report.uncovered_rows or 0
    if report.rows < spec.minimum_rows:
        rows = f"{report.rows:,} rows{_since_live(report)}"
        return f"{rows} are too few to decide about drift, {spec.minimum_rows} are needed"
    if report.rows - uncovered < spec.minimum_rows:
        return f"{uncovered:,} of {report.rows:,} rows {_UNCOVERED}: the others are too few to decide about drift"
    aside = {*(report.left_out or ()), NULL_PATTERNS}
    reasons = [f"{f.name}: {f.untested}" for f in report.features if f.untested is not None and f.name not in aside]
    because = f", {reasons[0]}" if reasons else ""
    return f"no feature could be tested in {report.rows:,} rows{because}"


def _since_live(report: MonitorReport) -> str:
    """Return since when calls count, where a model went live in the window: others were made of the one before it."""
    since = report.live_since
    if (
        since is None
        or since[:19] <= report.window_from[:19]
        or (report.drift_state is MonitorState.NO_TRAFFIC and report.rows)
    ):
        return ""
    return f" since the model went live at {since[:16]}Z"


def _mostly_uncovered(report: MonitorReport) -> list[str]:
    uncovered = report.uncovered_rows or 0
    return [f"{uncovered:,} of {report.rows:,} rows {_UNCOVERED}"] if 2 * uncovered > report.rows else []


def _names(features: Sequence[FeatureDrift]) -> str:
    # the surest first
    ordered = sorted(features, key=lambda feature: (feature.p_value, -feature.psi, feature.name))
    named = [f"{f.name} ({_what(f)})" for f in ordered[:_NAMED]]
    return ", ".join([*named, f"{len(ordered) - _NAMED} more"] if len(ordered) > _NAMED else named)


def _what(feature: FeatureDrift) -> str:
    return f"PSI {number(feature.psi)}" if feature.description is None else feature.description


def _quality(report: MonitorReport) -> str:
    state, spec = report.quality_state, _spec(report)
    if state is MonitorState.NO_LABELS_YET:
        return "no labels yet"
    if state is MonitorState.INSUFFICIENT_DATA and report.quality_unjudged is not None:
        return f"quality is not judged: {report.quality_unjudged}"
    if state is MonitorState.INSUFFICIENT_DATA and report.labelled_rows < spec.minimum_labels:
        return f"{report.labelled_rows:,} labelled rows are too few to decide about quality, {spec.minimum_labels} are needed"
    if state is MonitorState.INSUFFICIENT_DATA:
        return f"quality of {report.labelled_rows:,} labelled rows is not judged: {_UNJUDGED}"
    if state not in (MonitorState.OK, MonitorState.VIOLATION):
        return f"quality is not known: {_SILENT.get(state, str(state))}"
    measured = report.quality_metrics or ()
    violated = [metric for metric in measured if metric.violated]
    first = next((metric for name in _PRIMARY for metric in measured if metric.name == name), None)
    shown = (
        violated[:_NAMED] if state is MonitorState.VIOLATION and violated else [m for m in (first,) if m is not None]
    )
    said = "; ".join(_metric(metric) for metric in shown)
    told = "quality fell" if state is MonitorState.VIOLATION else "quality holds"
    return f"{told} ({said})" if said else told


def _metric(metric: Measured) -> str:
    name = metric.name.upper() if len(metric.name) <= 4 else metric.name.replace("_", " ")
    against = "" if metric.baseline is None else f"; holdout {number(metric.baseline)}"
    return f"{name} {interval(metric)}{against if metric.violated else ''}"


def _bias(report: MonitorReport) -> Iterable[str]:
    if report.bias_state is MonitorState.OK:
        yield "bias holds"
    elif report.bias_state is MonitorState.INSUFFICIENT_DATA:
        facets = sorted({each.facet for each in report.bias or () if each.metric.violated is not None})
        yield f"bias holds by {', '.join(facets)} and is not known of the others" if facets else "bias is not known"


def _others(report: MonitorReport) -> Iterable[str]:
    if report.bias_state is MonitorState.VIOLATION:
        moved = [each for each in report.bias or () if each.metric.violated]
        named = ", ".join(f"{m.metric.name} of {m.facet}={m.facet_value} {interval(m.metric)}" for m in moved[:_NAMED])
        yield f"bias moved: {named}{_more(len(moved))}"
    if report.explainability_state is MonitorState.VIOLATION and report.ndcg is not None:
        yield f"features matter in another order than in training (NDCG {number(report.ndcg)})"
    if report.latency_state is MonitorState.VIOLATION:
        slow = [metric for metric in report.latency or () if metric.violated]
        yield "the model is slow: " + ", ".join(
            f"{m.name} {number(m.value or 0)} ms, at most {number(m.limit or 0)}" for m in slow[:_NAMED]
        )


def _more(count: int) -> str:
    return f" and {count - _NAMED} more" if count > _NAMED else ""


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"- {line}" for line in lines)] if lines else []


def _happened(report: MonitorReport) -> list[str]:
    drifted = [feature for feature in report.features if feature.drifted or is_confirmed(feature)]
    lines = [f"{f.name}: {_what(f)}{'' if is_confirmed(f) else ' (this window alone)'}" for f in drifted[:_LISTED]]
    lines += [f"{len(drifted) - _LISTED} more features"] if len(drifted) > _LISTED else []
    lines += [_metric(metric) for metric in report.quality_metrics or () if metric.violated]
    lines += _others(report)
    return lines if report.baseline_flaw is None else [report.baseline_flaw, *lines]


def _advice(report: MonitorReport) -> list[str]:
    if report.baseline_flaw is not None:
        return [
            "find out who changed or removed it, and put the approved version of the object back; until then nothing is decided",
            "redrive the dead letters of the counting function afterwards",
        ]
    advice = []
    if report.drift_state in _ADVICE:
        advice.append(_ADVICE[report.drift_state])
    if any(feature.rule == UNREADABLE for feature in report.features):
        advice.append(
            "ask the callers what they changed: rows must have the columns of the model's inputs, in their order"
        )
    if any(feature.rule != UNREADABLE and is_confirmed(feature) for feature in report.features):
        advice.append(
            "if the feed is broken, mend it and pause the unit's automation meanwhile; else let the model be trained anew"
        )
    if 2 * (report.uncovered_rows or 0) > report.rows:
        advice.append(
            "look at the conditions on the page: calls of a kind that training had none of need a model that had"
        )
    if report.quality_state is MonitorState.VIOLATION:
        advice.append("check that the labels are right; then let the model be trained anew, or roll back")
    if report.bias_state is MonitorState.VIOLATION:
        advice.append("ask the model's owner before it is trained on these calls")
    if report.latency_state is MonitorState.VIOLATION:
        advice.append("look at the instances' load and at what was promoted last")
    coverage = (report.staleness or {}).get("label_coverage")
    if coverage is not None and coverage < 0.5:
        advice.append(f"only {percent(coverage)} of the predictions due a label have one: ask for the others")
    return advice


def _problems(report: MonitorReport) -> list[str]:
    told = sorted((report.problems or {}).items(), key=lambda item: (-item[1], item[0]))
    told = [(name, times) for name, times in told if name != report.baseline_flaw]
    objects = report.problem_objects or {}
    lines = [
        f"{name}: {times:,}{f', the newest in {objects[name]}' if name in objects else ''}"
        for name, times in told[:_LISTED]
    ]
    return [*lines, f"{len(told) - _LISTED} more kinds"] if len(told) > _LISTED else lines
