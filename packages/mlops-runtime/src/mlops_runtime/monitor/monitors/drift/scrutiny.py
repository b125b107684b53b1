"""Tested, partly tested and untested features of a drift decision, and large shifts that no test could confirm."""

from collections.abc import Iterable, Sequence

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.monitor_report import FeatureDrift, Scrutiny
from mlops_runtime.monitor.counting.baseline_cells import NULL_PATTERNS
from mlops_runtime.monitor.monitors.drift.decision import CALL_TIMES, UNREADABLE_ROWS
from mlops_runtime.monitor.spec import MonitorSpec

# commonly called a large shift; smaller shifts of untested features are not reported for inspection
_LARGE_PSI = 0.25
_NAMED = 3
_REASONS = {
    "few_clusters": "too few clusters",
    "few_rows": "too few rows",
    "condition_unknown": "conditions that are not in the baseline",
}


def compared_features(baseline: Baseline, features: Iterable[FeatureDrift]) -> list[FeatureDrift]:
    """Return the features that count as compared in a window, without those excluded permanently.

    Null patterns, unreadable rows and call times do not count, since every window has them. Predictions, which exist for any input,
    count only if no other feature does.

    Example:
        >>> baseline = Baseline(features=(), rows=0, training_set_id="t", created="", left_out={"order": "identifier"})
        >>> found = [FeatureDrift(name=name, psi=0, p_value=1, drifted=False) for name in ("price", "order", "null_patterns")]
        >>> [feature.name for feature in compared_features(baseline, found)]
        ['price']
    """
    aside = {NULL_PATTERNS, UNREADABLE_ROWS, CALL_TIMES, *(baseline.left_out or ())}
    if baseline.strata is not None:
        aside |= {condition.name for condition in baseline.conditions or () if condition.kind == "column"}
    found = [feature for feature in features if feature.name not in aside]
    predicted = {each.name for each in baseline.predicted}
    return [feature for feature in found if feature.name not in predicted] or found


def scrutinise(baseline: Baseline, features: Iterable[FeatureDrift]) -> Scrutiny:
    """Return which features were tested, in part or not at all.

    All shares of a partly tested category were tested: its result is known. Of a partly tested number neither location nor spread
    was tested: it is as unknown as an untested one.

    Example:
        >>> baseline = Baseline(features=(), rows=0, training_set_id="t", created="")
        >>> store = FeatureDrift(name="store", psi=0, p_value=1, drifted=False, in_part="few", reason="few_clusters")
        >>> scrutinise(baseline, [store]).unknown
        ()
    """
    numbers = {each.name for each in (*baseline.features, *baseline.predicted) if each.type == "number"}
    found = compared_features(baseline, features)
    untested = [each.name for each in found if each.untested is not None]
    in_part = [each.name for each in found if each.in_part is not None]
    return Scrutiny(
        requested=len(found),
        untested=tuple(untested),
        in_part=tuple(in_part),
        unknown=tuple(each.name for each in found if each.name in {*untested, *({*in_part} & numbers)}),
    )


def is_enough(found: Scrutiny, spec: MonitorSpec) -> bool:
    """Return whether enough was tested for a window without a finding to be ``OK``.

    Args:
        found: The tested and untested features.
        spec: ``maximum_untested``, and ``alarm_features``, all of which must have been tested.

    Example:
        >>> is_enough(Scrutiny(requested=10, untested=("a", "b"), unknown=("a", "b")), MonitorSpec())
        True
        >>> is_enough(Scrutiny(requested=10, untested=("a",), unknown=("a",)), MonitorSpec(alarm_features=("a",)))
        False
    """
    if set(found.unknown) & set(spec.alarm_features):
        return False
    return found.requested > len(found.unknown) and len(found.unknown) <= spec.maximum_untested * found.requested


def to_inspect(features: Iterable[FeatureDrift]) -> list[FeatureDrift]:
    """Return untested features with a larger PSI than windows without drift, the largest ratio first.

    Example:
        >>> moved = FeatureDrift(
        ...     name="coupon", psi=2.3, p_value=1, drifted=False, untested="few", reason="few_rows", raw_psi=2.4, ordinary_psi=0.4
        ... )
        >>> [feature.name for feature in to_inspect([moved])]
        ['coupon']
    """
    found = [each for each in features if _is_to_inspect(each)]
    return sorted(found, key=lambda each: -(each.raw_psi or 0.0) / (each.ordinary_psi or 1.0))


def untested_words(found: Scrutiny, features: Sequence[FeatureDrift]) -> list[str]:
    """Return the partly tested and the untested features with the reasons, as parts of a sentence.

    Example:
        >>> store = FeatureDrift(name="store", psi=0, p_value=1, drifted=False, in_part="few", reason="few_clusters")
        >>> untested_words(Scrutiny(requested=3, in_part=("store",)), [store])
        ['1 tested in part: too few clusters for store']
    """
    by_name = {each.name: each for each in features}
    parts = []
    for names, word in ((found.in_part, "tested in part"), (found.untested, "not tested")):
        reasons: dict[str, list[str]] = {}
        for name in names:
            reasons.setdefault(_REASONS[by_name[name].reason or "few_rows"], []).append(name)
        if names:
            listed = ", ".join(f"{reason} for {_listed(of)}" for reason, of in reasons.items())
            parts.append(f"{len(names)} {word}: {listed}")
    return parts


def _is_to_inspect(feature: FeatureDrift) -> bool:
    if feature.drifted or feature.reason in (None, "by_choice") or feature.raw_psi is None:
        return False
    return feature.raw_psi > max(_LARGE_PSI, feature.ordinary_psi or 0.0)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
