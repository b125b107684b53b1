"""Decide from a window's counts whether features drifted: valid p-values, Bonferroni within a feature, Holm over features.

A classical test of "no difference" rejects every sufficiently large window; a fixed PSI threshold has no error control and alarms
on small windows. Each rule here tests for a shift beyond a minimum effect and counts clustered rows by their effective number.
Unreadable rows are a separate finding above 5 %.

See: Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6; `rules` and
`location` for each rule's source.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, PairBaseline
from mlops_runtime.contracts.monitor_report import FeatureDrift, UntestedReason
from mlops_runtime.monitor.counting.pairs import pair_name
from mlops_runtime.monitor.counting.problems import ROWS_OTHER, TIME_ELSEWHERE, is_unreadable, sentence, unreadable_rows
from mlops_runtime.monitor.monitors.drift import location, rules, strata
from mlops_runtime.monitor.monitors.drift.comparison import (
    Comparison,
    Layout,
    clusters_met,
    conditioned,
    counted_features,
    plain,
)
from mlops_runtime.monitor.monitors.drift.effect_sizes import effect_sizes, jensen_shannon, l_infinity, psi
from mlops_runtime.monitor.monitors.drift.feed_faults import feed_fault
from mlops_runtime.monitor.monitors.drift.location import spread
from mlops_runtime.monitor.monitors.drift.paired_strata import at_the_windows_mix, stratum_tables
from mlops_runtime.monitor.monitors.drift.rules import Finding, Rule, association
from mlops_runtime.monitor.monitors.drift.tails import binomial_tail
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.wording import percent


def known(spec: MonitorSpec, baseline: Baseline) -> tuple[MonitorSpec, dict[str, int]]:
    """Return thresholds without features that the live model does not have, and a problem for each of these.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(500, 500, 0))
        >>> baseline = Baseline(features=(price,), rows=1000, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> found, problems = known(MonitorSpec(alarm_features=("price", "promo")), baseline)
        >>> found.alarm_features, list(problems)
        (('price',), ["the monitor names 'promo', which the live model does not have"])
    """
    unknown = _unknown(spec, baseline)
    if not unknown:
        return spec, {}
    features, alarms = (tuple(n for n in of if n not in unknown) for of in (spec.features, spec.alarm_features))
    amounts = None if spec.amounts is None else tuple(name for name in spec.amounts if name not in unknown)
    known = replace(spec, features=features, alarm_features=alarms, amounts=amounts)
    return known, {f"the monitor names {name!r}, which the live model does not have": 1 for name in unknown}


def _unknown(spec: MonitorSpec, baseline: Baseline) -> list[str]:
    """Return the names in a spec of features that the baseline does not have."""
    names = {one.name for one in (*baseline.features, *baseline.predicted, baseline.null_patterns) if one is not None}
    names |= {pair_name(pair) for pair in baseline.pairs or ()}
    return sorted({*spec.features, *spec.alarm_features, *(spec.amounts or ())} - names)


# ten cells of five independent rows each
MINIMUM_EFFECTIVE_ROWS = 50
# above it, a window has so few clusters that a single atypical one decides the statistic
MAXIMUM_EXCESS = 2.0
# with fewer clusters in the baseline, no test of one window can exclude a kind of cluster that the baseline happens to lack
FEW_CLUSTERS = 20
# weights of a feature's significance level: distribution, shares, location and spread; rules that do not apply leave theirs to the
# others
_WEIGHTS = (0.35, 0.3, 0.35)
# weight of the test of types: without drift no values are of another type, else many
_OF_TYPE = 0.01
# parts of a feature's significance level given conditions: the mix of strata, all strata together, a single stratum. A common shift
# needs little of it, a shift in one of many strata all that it gets
_LOOKS = (1 / 3, 1 / 6, 1 / 2)
# weights within an amount's location: mean, ranks, quantiles, spread
_LOCATION_WEIGHTS = (0.16, 0.54, 0.15, 0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One feature's test before Holm's step-down."""

    p_value: float  # p-value of the hypothesis that nothing shifted by more than the minimum effect
    rule: Rule | None = None  # rule of the p-value; None if nothing was tested
    description: str | None = None  # the largest shift, in words
    untested: str | None = None  # why there was no test
    in_part: str | None = None  # why only the exact rules were applied, those of shares and types
    reason: UntestedReason | None = None  # kind of reason of `untested` or `in_part`


def decide(
    baseline: Baseline, counts: Counts, spec: MonitorSpec, *, given_conditions: bool | None = None
) -> tuple[FeatureDrift, ...]:
    """Return effect sizes, p-value and verdict of each feature, then of the prediction, the null patterns and the pairs.

    Features that are not tested are included, with the reason.

    Args:
        baseline: Baseline of the counts.
        counts: The window's counts.
        spec: Features, minimum effects, significance level.
        given_conditions: Whether to compare given the baseline's conditions (see `comparison`). Default: if baseline and counts
            have strata.

    Raises:
        ValueError: If the spec names features that the baseline does not have.

    Example:
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0, 5.0), counts=(500, 500, 500, 0))
        >>> baseline = Baseline(features=(price,), rows=1500, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> from mlops_runtime.contracts.monitor import FeatureCounts
        >>> found = FeatureCounts(name="price", counts=(900, 50, 50, 0))
        >>> window = Counts(baseline_sha256="b", rows=1000, calls=1000, features=(found,), first="", last="")
        >>> decide(baseline, window, MonitorSpec())[0].description
        'distribution changed, most in below 2: from 33 % to 90 % of the rows'
    """
    if unknown := _unknown(spec, baseline):
        known = ", ".join(repr(feature.name) for feature in baseline.features)
        raise ValueError(f"the monitor names features {', '.join(map(repr, unknown))}; the baseline has {known}")
    stratified = baseline.strata is not None and counts.strata is not None
    given = stratified if given_conditions is None else given_conditions and stratified
    reasons = dict(baseline.left_out or {})
    if given:
        names = {condition.name for condition in baseline.conditions or () if condition.kind == "column"}
        reasons |= dict.fromkeys(names, "it is a condition of the comparison")
        compared = list(conditioned(baseline, counts))
    else:
        compared = [plain(*pair) for pair in counted_features(baseline, counts)]
    met = clusters_met(baseline, counts)
    came = [one for one in compared if not spec.features or one.feature.name in spec.features]
    chosen = [one.held_to(met) for one in came]
    examined = [
        examine(one, spec, untested=reasons.get(one.feature.name), rows=whole.window_rows)
        for one, whole in zip(chosen, came, strict=True)
    ]
    drifts = [effect_sizes(one, one.cells) for one in chosen]
    known_clusters = [one.feature.clusters for one in chosen]
    weights = {
        one.feature.name: one.window_rows / max(1.0, whole.window_rows) for one, whole in zip(chosen, came, strict=True)
    }
    for pair, drift, test in _pairs(baseline, counts, weights, spec, given=given):
        drifts.append(drift)
        examined.append(test)
        known_clusters.append(pair.clusters)
    tested = [index for index, test in enumerate(examined) if test.untested is None]
    rejected = holm([examined[index].p_value for index in tested], spec.significance)
    verdicts = dict(zip(tested, rejected, strict=True))
    inputs = {feature.name for feature in baseline.features}
    few = {index: known for index, known in enumerate(known_clusters) if known is not None and known < FEW_CLUSTERS}
    faults = {
        index: feed_fault(one, spec)
        for index, one in enumerate(chosen)
        if verdicts.get(index, False) and one.feature.name in inputs
    }
    return tuple(
        replace(
            sizes,
            p_value=test.p_value,
            drifted=verdicts.get(index, False),
            rule=None if test.rule is None else test.rule.value,
            description=test.description,
            untested=test.untested,
            in_part=test.in_part,
            reason=test.reason,
            feed_fault=faults.get(index),
            few_clusters=few.get(index),
        )
        for index, (sizes, test) in enumerate(zip(drifts, examined, strict=True))
    )


def examine(
    compared: Comparison, spec: MonitorSpec, *, untested: str | None = None, rows: float | None = None
) -> Examination:
    """Apply to one feature every rule that its number of rows allows.

    Given conditions there are three tests, combined by a weighted Bonferroni: at the window's mix of strata, of all strata
    together, and the smallest p-value of a single stratum.

    Args:
        compared: The window compared with its baseline.
        spec: Minimum effects and ``minimum_rows``: a feature with fewer values is not tested. A feature with too few independent
            rows is tested in part: large-sample tests are skipped, while exact tests of shares only lose power.
        untested: Why the feature is excluded from tests by choice. Default: it is not.
        rows: Number of the window's rows if fewer count (`Comparison.held_to`). Default: every row counts.
    """
    m = compared.window_rows if rows is None else rows
    cells = compared.cells
    if untested is not None:
        return Examination(p_value=1.0, untested=untested, reason="by_choice")
    if m < spec.minimum_rows or compared.baseline_rows == 0:
        broken = rules.types(compared, spec)
        if compared.sent >= spec.minimum_rows and broken.p_value <= spec.significance:
            # too few values of the right type to test: report the type instead
            return Examination(p_value=broken.p_value, rule=broken.rule, description=broken.words())
        kind, untested = _too_few(compared, spec)
        return Examination(p_value=1.0, untested=untested, reason=kind)
    limit = _too_few_independent(compared, m)
    weighted = _weighted(compared, cells, spec, in_part=limit is not None)
    total = sum(weight for weight, _ in weighted)
    p_value, finding = min(((one.p_value * total / weight, one) for weight, one in weighted), key=lambda pair: pair[0])
    if len(compared.strata) > 1:
        within = (strata.together(compared, cells, spec), strata.smallest(compared, cells, spec))
        looks = [(p_value, finding), *((one.p_value, one) for one in within)]
        shared = ((p / part, one) for (p, one), part in zip(looks, _LOOKS, strict=True))
        p_value, finding = min(shared, key=lambda pair: pair[0])
    p_value = min(1.0, p_value)
    reported = finding.words() if p_value < 1 else ""
    reason, in_part = limit or (None, None)
    return Examination(
        p_value=p_value,
        rule=finding.rule,
        description=reported or None,
        in_part=in_part,
        reason=reason,
    )


def effective_rows(feature: FeatureBaseline, rows: float) -> float:
    """Return the effective number of independent rows of clustered ones.

    Example:
        >>> effective_rows(FeatureBaseline(name="x", type="number", counts=(9, 0), overdispersion=4.0), 100)
        25.0
    """
    return rows / max(1.0, feature.overdispersion)


def holm(p_values: Sequence[float], significance: float) -> list[bool]:
    """Return which hypotheses Holm's step-down procedure rejects, with a family-wise error rate of at most ``significance``.

    Example:
        >>> holm([0.001, 0.04, 0.03], 0.05)
        [True, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > significance / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def _too_few(compared: Comparison, spec: MonitorSpec) -> tuple[UntestedReason, str]:
    known = compared.sent - compared.invalid - compared.infinite
    if known >= spec.minimum_rows > compared.window_rows:
        reason = f"{compared.window_rows:.0f} of {known:.0f} values have conditions that are in the baseline"
        return "condition_unknown", f"{reason}, fewer than {spec.minimum_rows}"
    if compared.baseline_rows == 0:
        return "few_rows", "the baseline has no rows"
    return "few_rows", f"{compared.window_rows:.0f} values are fewer than {spec.minimum_rows}"


def _too_few_independent(compared: Comparison, came: float) -> tuple[UntestedReason, str] | None:
    """Return why large-sample tests are not applied; None if they are."""
    feature, n, m = compared.feature, compared.baseline_rows, compared.window_rows
    if feature.clusters == 1:
        return (
            "few_clusters",
            "all rows of the baseline belong to one cluster: the variance between clusters is unknown",
        )
    for rows, counted, of in ((came, m, "the window"), (n, n, "the baseline")):
        worth = effective_rows(feature, counted)
        if worth >= MINIMUM_EFFECTIVE_ROWS:
            continue
        needed = f"fewer than {MINIMUM_EFFECTIVE_ROWS}"
        if feature.overdispersion <= 1:
            return "few_rows", f"{rows:.0f} values of {of} are {needed}"
        reason = f"{rows:.0f} values of {of} come in clusters and count as {worth:.0f} independent ones, {needed}"
        return "few_clusters", reason
    if compared.excess > MAXIMUM_EXCESS:
        clusters = math.ceil((feature.cluster_excess or 0.0) / MAXIMUM_EXCESS)
        found = max(1, round(min(n, m) / (feature.cluster_rows or 1.0)))
        of = f"{found} {'cluster' if found == 1 else 'clusters'}"
        reason = f"{min(n, came):.0f} values come from about {of}; clusters differ so much that {clusters} are needed"
        return "few_clusters", reason
    return None


def _weighted(compared: Comparison, cells: Layout, spec: MonitorSpec, *, in_part: bool) -> list[tuple[float, Finding]]:
    """Return each rule's finding with its weight for a weighted Bonferroni."""
    of_distribution, of_shares, of_location = _WEIGHTS
    found = rules.shares(compared, cells, spec)
    weighted = [(of_shares / len(found), one) for one in found]
    weighted.append((_OF_TYPE, rules.types(compared, spec)))
    if in_part:
        return weighted
    weighted.append((of_distribution, rules.distribution(compared, cells, spec)))
    located = [
        location.mean(compared, spec),
        location.ranks(compared, spec),
        location.quantiles(compared, spec),
        spread(compared, spec),
    ]
    there = [(weight, one) for weight, one in zip(_LOCATION_WEIGHTS, located, strict=True) if one is not None]
    whole = sum(weight for weight, _ in there)
    return weighted + [(of_location * weight / whole, one) for weight, one in there]


def _pairs(
    baseline: Baseline, counts: Counts, weights: Mapping[str, float], spec: MonitorSpec, *, given: bool
) -> list[tuple[PairBaseline, FeatureDrift, Examination]]:
    features = {feature.name: feature for feature in baseline.features if feature.name in weights}
    found = []
    for place, known in enumerate(baseline.pairs or ()):
        if known.first not in features or known.second not in features or counts.pairs is None:
            continue
        pair = known
        whole = np.array(known.counts, dtype=np.float64), np.array(counts.pairs[place].counts, dtype=np.float64)
        looks = [[whole]]
        if given and known.given is not None:
            pair = replace(known, **{each.name: getattr(known.given, each.name) for each in fields(known.given)})
            by_stratum = stratum_tables(baseline, counts, known)
            whole = at_the_windows_mix(by_stratum, len(whole[0]))
            looks = [[whole], by_stratum] if len(by_stratum) > 1 else [[whole]]
        weight, came = min(weights[known.first], weights[known.second]), whole[1].sum()
        looks = [[(a, b * weight) for a, b in tables] for tables in looks]
        a, b = looks[0][0]
        untested = None
        if b.sum() / max(1.0, pair.overdispersion) < MINIMUM_EFFECTIVE_ROWS or came < spec.minimum_rows:
            untested = f"{came:.0f} rows with both values are too few"
        names = features[known.first], features[known.second]
        findings = [] if untested else [association(pair, tables, names, spec) for tables in looks]
        finding = min(findings, key=lambda one: one.p_value, default=None)
        test = Examination(
            p_value=1.0 if finding is None else min(1.0, finding.p_value * len(findings)),
            rule=None if finding is None else finding.rule,
            description=None if finding is None else finding.words() or None,
            untested=untested,
            reason="few_rows" if untested else None,
        )
        sizes = FeatureDrift(
            name=pair_name(known),
            psi=psi(a, b, dispersion=pair.overdispersion),
            p_value=1.0,
            drifted=False,
            jensen_shannon=jensen_shannon(a, b),
            l_infinity=l_infinity(a, b, ordered=False),
        )
        found.append((pair, sizes, test))
    return found


def hours_to_add(rows: int, before: Iterable[int], spec: MonitorSpec) -> int:
    """Return the number of earlier hours to add to a window so that it has ``minimum_rows``.

    If all allowed hours are too few, all are added, and the report has their rows. No hours are added to a window without rows:
    missing traffic must stay visible.

    Args:
        rows: Rows of the window.
        before: Rows of each hour before the window, newest first, including hours without rows.
        spec: ``minimum_rows`` and ``merge_hours``.

    Example:
        >>> hours_to_add(120, [50, 0, 40, 90], MonitorSpec(minimum_rows=200))
        3
    """
    if rows == 0:
        return 0
    added = 0
    for found in before:
        if rows >= spec.minimum_rows or added == spec.merge_hours:
            break
        rows += found
        added += 1
    return added


UNREADABLE_ROWS, CALL_TIMES = "unreadable_rows", "call_times"
UNREADABLE, CLOCK = "unreadable", "clock"
# rules of calls, not of a feature
OF_CALLS = frozenset({UNREADABLE, CLOCK})
MAXIMUM_SHARE = 0.05


def unreadable(counts: Counts, spec: MonitorSpec) -> tuple[FeatureDrift, ...]:
    """Return the finding that more than 5 % of a window's rows cannot be read; empty if not.

    An exact binomial test of the share at ``significance``. It is persistent at once: unreadable rows cannot confirm drift in later
    windows.

    Example:
        >>> window = Counts(baseline_sha256="b", rows=300, calls=300, features=(), first="", last="", malformed=9700,
        ...     problems={"row_width[3,4]": 9700})
        >>> unreadable(window, MonitorSpec())[0].description
        '97 % of 10,000 rows cannot be read, most often: row has 3 values instead of 4'
    """
    broken = unreadable_rows(counts)
    rows = counts.rows + broken
    problems = counts.problems or {}
    kinds = {name: times for name, times in problems.items() if is_unreadable(name) and name != ROWS_OTHER()}
    most = f", most often: {sentence(max(kinds, key=lambda name: kinds[name]))}" if kinds else ""
    return _too_many(broken, rows, f"rows cannot be read{most}", spec, name=UNREADABLE_ROWS, rule=UNREADABLE)


def misdated(counts: Counts, spec: MonitorSpec) -> tuple[FeatureDrift, ...]:
    """Return the finding that more than 5 % of a window's calls have a time outside the hour of their capture object.

    Clocks then disagree on the window of a call and on its hour of day. The test is that of `unreadable`.

    Example:
        >>> problems = {TIME_ELSEWHERE(): 300}
        >>> window = Counts(baseline_sha256="b", rows=300, calls=300, features=(), first="", last="", problems=problems)
        >>> misdated(window, MonitorSpec())[0].description
        '100 % of 300 calls have an inferenceTime outside the hour of their capture object: clocks differ'
    """
    calls, apart = counts.calls + (counts.earlier or 0), (counts.problems or {}).get(TIME_ELSEWHERE(), 0)
    reason = "calls have an inferenceTime outside the hour of their capture object: clocks differ"
    return _too_many(apart, calls, reason, spec, name=CALL_TIMES, rule=CLOCK)


def _too_many(broken: int, of: int, words: str, spec: MonitorSpec, *, name: str, rule: str) -> tuple[FeatureDrift, ...]:
    if of < spec.minimum_rows or broken <= MAXIMUM_SHARE * of:
        return ()
    p_value = binomial_tail(broken, of, MAXIMUM_SHARE)
    if p_value > spec.significance:
        return ()
    reason = f"{percent(broken / of)} of {of:,} {words}"
    finding = FeatureDrift(
        name=name,
        psi=0.0,
        p_value=p_value,
        drifted=True,
        persistent=True,
        rule=rule,
        description=reason,
        feed_fault=reason,
    )
    return (finding,)
