"""The drift monitor: verdicts on features, their persistence, and their wording. `decision` tests the counts of one window."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mlops_runtime.contracts.monitor import TESTED, Baseline, Counts, MetricValue, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import DriftResult, FeatureDrift, MonitorReport, feed_faults, is_confirmed
from mlops_runtime.monitor.counting.problems import (
    COLUMN_FOREIGN,
    COLUMN_MISSING,
    ROW_WIDTH,
    arguments_of,
    kind_of,
    unreadable_rows,
)
from mlops_runtime.monitor.monitors.drift.decision import (
    CLOCK,
    OF_CALLS,
    UNREADABLE,
    decide,
    known,
    misdated,
    unreadable,
)
from mlops_runtime.monitor.monitors.drift.feature_words import few_clusters_text
from mlops_runtime.monitor.monitors.drift.paired_strata import compared_without_conditions, pair_strata
from mlops_runtime.monitor.monitors.drift.persistence import confirming, neighbours, past_windows, persist, too_few_rows
from mlops_runtime.monitor.monitors.drift.rules import Rule
from mlops_runtime.monitor.monitors.drift.scrutiny import is_enough, scrutinise, to_inspect, untested_words
from mlops_runtime.monitor.monitors.monitor_kind import LISTED, NAMED, SILENT, MonitorKind, StateText, more, silence
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import number, percent

_DAY = 24.0
_UNCOVERED = "have conditions that are not in the baseline"
_ADVICE = {
    MonitorState.NOT_YET_DEPLOYED: "nothing: the first approved model starts it",
    MonitorState.NO_TRAFFIC: "check with the callers whether this is expected",
    MonitorState.NO_CAPTURE: "check the endpoint's data capture, and the disk usage of its instances: capture stops if it is high",
    MonitorState.BASELINE_OLDER_THAN_MODEL: "register the model with the baseline of its own training set",
    MonitorState.MONITOR_NOT_RUN: "check the log and dead-letter queue of the counting function, fix the cause, redrive the queue",
}
# Model Monitor's names of violations of the number of columns
_MISSING, _EXTRA = "Missing columns", "Extra columns"
_CHECKS = {
    Rule.NULL_SHARE.value: "completeness_check",
    Rule.NEW_LEVEL.value: "categorical_values_check",
    Rule.TYPE.value: "data_type_check",
    UNREADABLE: "unreadable_rows_check",
    CLOCK: "call_times_check",
}


def _measure(evidence: Evidence, window: Window, spec: MonitorSpec) -> DriftResult:
    baseline, counts = evidence.baseline, evidence.counts
    if baseline is None:
        return DriftResult()
    result = DriftResult(left_out=baseline.left_out, uncovered_rows=_uncovered_rows(baseline, counts))
    is_decided = evidence.unusable is None and silence(evidence.traffic) is None
    if counts is None or not is_decided or evidence.rows_sent < spec.minimum_rows:
        return result
    spec, problems = known(spec, baseline)
    start = window.start - evidence.hours_merged * HOUR
    package = None if evidence.live is None else evidence.live.model_package_arn
    earlier = past_windows(evidence.earlier(), baseline_sha256=counts.baseline_sha256, model_package_arn=package)
    windows = neighbours(earlier, start=start, end=window.end, spec=spec)
    features = persist(decide(baseline, counts, spec), windows, spec)
    features = (*features, *unreadable(counts, spec), *misdated(counts, spec))
    return replace(
        result,
        features=features,
        scrutiny=scrutinise(baseline, features),
        problems=problems
        | compared_without_conditions(baseline)
        | _too_long(baseline, window.hours + evidence.hours_merged)
        or None,
        too_few_rows=too_few_rows(windows),
    )


def _too_long(baseline: Baseline, hours: int) -> dict[str, int]:
    """Return the problem of a window with several clusters of a day: design effects do not include their correlation."""
    lasts = baseline.cluster_hours
    if lasts is None or lasts >= _DAY or hours <= lasts:
        return {}
    reason = f"windows of {hours} hours contain several clusters of {number(lasts)} hours, and clusters of a day are correlated"
    return {f"{reason}: use the day as cluster in the model's plan, or shorten the windows": 1}


def _uncovered_rows(baseline: Baseline, counts: Counts | None) -> int | None:
    if counts is None or baseline.strata is None:
        return None
    return sum(pair_strata(baseline, counts).uncovered.values())


def _state(result: DriftResult, evidence: Evidence, spec: MonitorSpec) -> MonitorState:
    silent = silence(evidence.traffic)
    if silent is not None:
        return silent
    if evidence.rows_sent < spec.minimum_rows:
        return MonitorState.INSUFFICIENT_DATA
    if any(map(is_confirmed, result.features)):
        return MonitorState.VIOLATION
    # enough rows, but too few independent ones, or with conditions that are not in the baseline
    if result.scrutiny is not None and not is_enough(result.scrutiny, spec):
        return MonitorState.INSUFFICIENT_DATA
    return MonitorState.OK


def _metrics(result: DriftResult, report: MonitorReport) -> Iterator[MetricValue]:
    yield MetricValue("drift", "SampleCount", report.rows)
    if result.state is not MonitorState.NOT_YET_DEPLOYED:
        yield MetricValue("drift", "BaselineTampered", float(report.baseline_flaw is not None))
    if report.unannounced_calls is not None:
        yield MetricValue("drift", "UnannouncedCalls", report.unannounced_calls)
    if result.state not in TESTED or report.suppressed is not None:
        return
    yield MetricValue("drift", "FeaturesDrifted", sum(map(is_confirmed, result.features)))
    yield MetricValue("drift", "FeaturesSuspect", sum(feature.drifted for feature in result.features))
    yield MetricValue("drift", "FeaturesToInspect", len(to_inspect(result.features)))
    yield MetricValue("drift", "MaxPsi", max((feature.psi for feature in result.features), default=0.0))
    for feature in result.features:
        if feature.name in report.spec.alarm_features:
            yield MetricValue("drift", "Psi", feature.psi, feature.name)


def _violations(result: DriftResult, evidence: Evidence, spec: MonitorSpec) -> Iterator[Violation]:
    found = [_violation(feature) for feature in result.features if feature.drifted or is_confirmed(feature)]
    yield from found
    if evidence.baseline is not None and evidence.counts is not None:
        reported = {line.feature_name for line in found if line.constraint_check_type == "data_type_check"}
        for line in _types(evidence.baseline, evidence.counts, spec):
            if line.feature_name not in reported:
                yield line
        yield from _columns(evidence, evidence.counts, spec)


def _violation(feature: FeatureDrift) -> Violation:
    description = f"PSI {feature.psi:.4f}" if feature.description is None else feature.description
    return Violation(
        feature_name=feature.name,
        constraint_check_type=_CHECKS.get(feature.rule or "", "baseline_drift_check"),
        description=f"{description} (p-value {feature.p_value:.2g})",
    )


def _types(baseline: Baseline, counts: Counts, spec: MonitorSpec) -> Iterator[Violation]:
    kinds = {feature.name: feature.type for feature in baseline.features}
    for counted in counts.features:
        values = sum(counted.counts) + counted.invalid + (counted.infinite or 0)
        if values and counted.invalid / values > spec.minimum_share:
            share = f"{counted.invalid / values:.2%} of {values} values are not of type {kinds[counted.name]}"
            yield Violation(
                feature_name=counted.name,
                constraint_check_type="data_type_check",
                description=f"Data type match requirement is not met: {share}",
            )


def _columns(evidence: Evidence, counts: Counts, spec: MonitorSpec) -> Iterator[Violation]:
    rows = counts.rows + unreadable_rows(counts)
    for problem, times in evidence.problems.items():
        if not rows or times / rows <= spec.minimum_share:
            continue
        kind = kind_of(problem)
        if kind is COLUMN_MISSING or kind is COLUMN_FOREIGN:
            word, check = (
                ("a missing", "missing_column_check") if kind is COLUMN_MISSING else ("an extra", "extra_column_check")
            )
            description = f"There is {word} column in {times} of {rows} rows"
            yield Violation(
                feature_name=str(arguments_of(problem)[0]), constraint_check_type=check, description=description
            )
        elif kind is ROW_WIDTH:
            here, there = map(int, arguments_of(problem))
            name, word, check = (
                (_MISSING, "missing", "missing_column_check")
                if here < there
                else (_EXTRA, "extra", "extra_column_check")
            )
            description = (
                f"There are {word} columns in current dataset. Number of columns in current dataset: {here}, Number of columns in "
                f"baseline constraints: {there}"
            )
            yield Violation(feature_name=name, constraint_check_type=check, description=description)


def _sentence(result: DriftResult, report: MonitorReport) -> Iterator[str]:
    spec, state = report.spec, result.state
    if state is MonitorState.VIOLATION:
        yield from (f.description or f.name for f in result.features if f.rule in OF_CALLS)
        confirmed = [f for f in result.features if f.rule not in OF_CALLS and is_confirmed(f)]
        for needed, features in _by_confirming(confirmed, spec):
            windows = "this window" if spec.of_windows == 1 else f"{needed} of {spec.of_windows} windows"
            few = few_clusters_text(features) if spec.of_windows == 1 else ""
            yield "; ".join(filter(None, (f"drift in {windows}: {_names(features)}", few)))
        yield from _mostly_uncovered(result, report)
    elif state is MonitorState.INSUFFICIENT_DATA:
        yield _too_little(result, report)
    elif state is MonitorState.NO_TRAFFIC:
        yield f"{SILENT[state]}{_since_live(result, report)}"
    elif state is not MonitorState.OK:
        yield SILENT.get(state, str(state))
    else:
        yield from _quiet_sentence(result, report)
    yield from _look_sentence(result)


def _look_sentence(result: DriftResult) -> Iterator[str]:
    found = to_inspect(result.features)
    if not found:
        return
    named = ", ".join(
        f"{each.name} (PSI {number(each.raw_psi or 0.0)}; windows of this size without drift stay below "
        f"{number(each.ordinary_psi or 0.0)})"
        for each in found[:NAMED]
    )
    yield f"not tested, but moved: {named}{more(len(found))}: inspect"


def _quiet_sentence(result: DriftResult, report: MonitorReport) -> Iterator[str]:
    spec = report.spec
    suspects = [feature for feature in result.features if feature.drifted]
    for needed, features in _by_confirming(suspects, spec):
        waits = f"drift in this window, not yet in {needed} of {spec.of_windows}: {_names(features)}"
        yield "; ".join(filter(None, (waits, few_clusters_text(features))))
    if suspects:
        yield from _mostly_uncovered(result, report)
        return
    uncovered = result.uncovered_rows or 0
    rest = f", {uncovered:,} more {_UNCOVERED}" if uncovered else ""
    rows = f"{report.rows - uncovered:,} rows{rest}"
    scrutiny = result.scrutiny
    missing = [] if scrutiny is None else untested_words(scrutiny, result.features)
    if scrutiny is None or not missing:
        yield f"no drift in {rows}"
        return
    whole = scrutiny.requested - len(scrutiny.untested) - len(scrutiny.in_part)
    yield "; ".join([f"no drift in {whole} of {scrutiny.requested} features ({rows})", *missing])


def _by_confirming(features: Sequence[FeatureDrift], spec: MonitorSpec) -> list[tuple[int, list[FeatureDrift]]]:
    """Return features by the number of windows that must agree, ascending."""
    needed = {each.name: confirming(each, spec) for each in features}
    return [(number, [f for f in features if needed[f.name] == number]) for number in sorted({*needed.values()})]


def _too_little(result: DriftResult, report: MonitorReport) -> str:
    """Return why drift could not be decided despite traffic: too few rows, or too few that can be compared."""
    spec, uncovered = report.spec, result.uncovered_rows or 0
    if report.rows < spec.minimum_rows:
        rows = f"{report.rows:,} rows{_since_live(result, report)}"
        return f"{rows} are too few to decide about drift, {spec.minimum_rows} are needed"
    if report.rows - uncovered < spec.minimum_rows:
        return f"{uncovered:,} of {report.rows:,} rows {_UNCOVERED}: the others are too few to decide about drift"
    scrutiny = result.scrutiny
    if scrutiny is None:
        return f"no feature could be tested in {report.rows:,} rows"
    missing = "; ".join(untested_words(scrutiny, result.features))
    alarms = [name for name in scrutiny.unknown if name in spec.alarm_features]
    if len(scrutiny.unknown) > spec.maximum_untested * scrutiny.requested or not alarms:
        count = f"{len(scrutiny.unknown)} of {scrutiny.requested} features, more than {percent(spec.maximum_untested)}"
        return f"no result for {count}, in {report.rows:,} rows; {missing}"
    return f"no result for {', '.join(alarms)}, which has an alarm, in {report.rows:,} rows; {missing}"


def _since_live(result: DriftResult, report: MonitorReport) -> str:
    """Return the time since which calls count if a model went live in the window: earlier calls belong to the previous one."""
    since = report.live_since
    is_silent = result.state is MonitorState.NO_TRAFFIC and report.rows
    if since is None or since[:19] <= report.window_from[:19] or is_silent:
        return ""
    return f" since the model went live at {since[:16]}Z"


def _mostly_uncovered(result: DriftResult, report: MonitorReport) -> list[str]:
    uncovered = result.uncovered_rows or 0
    return [f"{uncovered:,} of {report.rows:,} rows {_UNCOVERED}"] if 2 * uncovered > report.rows else []


def _names(features: Sequence[FeatureDrift]) -> str:
    # most significant first
    ordered = sorted(features, key=lambda feature: (feature.p_value, -feature.psi, feature.name))
    named = [f"{f.name} ({_what(f)})" for f in ordered[:NAMED]]
    return ", ".join([*named, f"{len(ordered) - NAMED} more"] if len(ordered) > NAMED else named)


def _what(feature: FeatureDrift) -> str:
    return f"PSI {number(feature.psi)}" if feature.description is None else feature.description


def _happened(result: DriftResult, _report: MonitorReport) -> Iterator[str]:
    drifted = [feature for feature in result.features if feature.drifted or is_confirmed(feature)]
    for feature in drifted[:LISTED]:
        yield f"{feature.name}: {_what(feature)}{'' if is_confirmed(feature) else ' (this window alone)'}"
    if len(drifted) > LISTED:
        yield f"{len(drifted) - LISTED} more features"


def _advice(result: DriftResult, report: MonitorReport) -> Iterator[str]:
    if result.state in _ADVICE:
        yield _ADVICE[result.state]
    if any(feature.rule == UNREADABLE for feature in result.features):
        yield "ask the callers what they changed: rows must have the columns of the model's inputs, in their order"
    if any(feature.rule == CLOCK for feature in result.features):
        yield "synchronise the clocks of the servers that capture calls and of those that answer them"
    broken = [f"{each.name}: {each.feed_fault}" for each in feed_faults(result) if each.rule not in OF_CALLS]
    if broken:
        more = f", {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        yield f"fix the feed before anything is trained on it, {', '.join(broken[:NAMED])}{more}"
    elif any(feature.rule not in OF_CALLS and is_confirmed(feature) for feature in result.features):
        yield "if the feed is broken, fix it and pause the unit's automation meanwhile; else retrain the model"
    if 2 * (result.uncovered_rows or 0) > report.rows:
        yield "check the conditions on the page: calls with new conditions need a model that was trained on them"


def _meaning(result: DriftResult, report: MonitorReport) -> StateText | None:
    scrutiny = result.scrutiny
    missing = [] if scrutiny is None else untested_words(scrutiny, result.features)
    look = to_inspect(result.features)
    do = f"inspect the values of {', '.join(each.name for each in look[:NAMED])}{more(len(look))}" if look else ""
    if result.state is MonitorState.OK and missing:
        return StateText(
            "warn", "tested in part", "; ".join(missing), do or "check which features were not fully tested"
        )
    if result.state is not MonitorState.INSUFFICIENT_DATA:
        return None
    waits = "nothing: earlier hours are added until there are enough rows"
    return StateText("warn" if missing else "unknown", "too few rows", _too_little(result, report), do or waits)


DRIFT = MonitorKind(
    name="drift",
    measure=_measure,
    state=_state,
    metrics=_metrics,
    violations=_violations,
    sentence=_sentence,
    happened=_happened,
    advice=_advice,
    holds="no feature shifted by more than allowed",
    violated=(
        "features shifted by more than allowed, and by more than chance explains",
        "check the features that drifted; fix the feed if it is broken, else retrain",
    ),
    meaning=_meaning,
)
