"""Wording of a feature's drift: what happened, what to do, ordering by evidence. Shared by the page and the command."""

from collections.abc import Sequence

from mlops_runtime.contracts.monitor_report import FeatureDrift
from mlops_runtime.monitor.monitors.drift.decision import CLOCK, OF_CALLS, UNREADABLE
from mlops_runtime.monitor.monitors.drift.scrutiny import to_inspect
from mlops_runtime.monitor.wording import number

# a PSI that is commonly called moderate: a smaller one needs no explanation
_NOTICED = 0.1
NO_PAIRS = "marginals only: joint changes are not monitored"


def ranked(features: Sequence[FeatureDrift]) -> list[FeatureDrift]:
    """Return features by evidence: persistent drift, drift in this window, small p-values, large shifts; untested ones last.

    Example:
        >>> a, b = (FeatureDrift(name=n, psi=0.1, p_value=p, drifted=p < 0.01) for n, p in (("a", 0.5), ("b", 0.001)))
        >>> [feature.name for feature in ranked([a, b])]
        ['b', 'a']
    """
    return sorted(
        features, key=lambda f: (f.untested is not None, not f.persistent, not f.drifted, f.p_value, -f.psi, f.name)
    )


def drift_word(feature: FeatureDrift, *, suppressed: bool = False) -> tuple[str, str]:
    """Return tone and words of one feature's verdict.

    Example:
        >>> drift_word(FeatureDrift(name="price", psi=0.2, p_value=1e-9, drifted=True, persistent=False))
        ('warn', 'in this window')
    """
    if feature.untested is not None:
        return ("unknown" if feature.reason == "by_choice" else "warn"), "not tested"
    if feature.in_part is not None and not feature.drifted and not feature.persistent:
        return "warn", "tested in part"
    if not feature.drifted:
        return ("warn", "in earlier windows") if feature.persistent else ("good", "holds")
    if suppressed:
        return "warn", "during a rollout"
    return ("warn", "in this window") if feature.persistent is False else ("bad", "drifted")


def shift_text(feature: FeatureDrift) -> str:
    """Return what happened to a feature; without drift, why its shift or its PSI is not significant.

    Example:
        >>> moved = FeatureDrift(name="price", psi=0.2, p_value=0.1, drifted=False, description="mean rose from 4 to 5")
        >>> shift_text(moved)
        'mean rose from 4 to 5, not enough for drift'
        >>> hour = FeatureDrift(name="hour", psi=0.39, p_value=1, drifted=False, raw_psi=0.4, ordinary_psi=0.41)
        >>> shift_text(hour)
        'windows of this size without drift have a PSI of up to 0.41'
    """
    limit = feature.in_part or feature.untested
    if feature.drifted:
        return "; ".join(filter(None, (feature.description, few_clusters_text([feature]))))
    parts = [] if limit is None else [limit]
    if feature.description is not None and feature.untested is None:
        parts.append(f"{feature.description}, not enough for drift")
    if feature.raw_psi is not None and feature.ordinary_psi is not None and feature.reason != "by_choice":
        if to_inspect([feature]):
            parts.append(
                f"PSI {number(feature.raw_psi)}, windows of this size without drift stay below "
                f"{number(feature.ordinary_psi)}: inspect"
            )
        elif _NOTICED < feature.raw_psi <= feature.ordinary_psi:
            parts.append(f"windows of this size without drift have a PSI of up to {number(feature.ordinary_psi)}")
    return "; ".join(parts)


def few_clusters_text(features: Sequence[FeatureDrift]) -> str:
    """Return why drift of features in one window is not evidence: too few clusters in the baseline; empty if there are enough.

    Example:
        >>> few_clusters_text([FeatureDrift(name="price", psi=0.2, p_value=1e-9, drifted=True, few_clusters=18)])
        '18 clusters in the baseline: one window is not evidence'
    """
    fewest = min((each.few_clusters for each in features if each.few_clusters is not None), default=None)
    if fewest is None:
        return ""
    return f"{fewest} {'cluster' if fewest == 1 else 'clusters'} in the baseline: one window is not evidence"


def what_to_do(feature: FeatureDrift) -> str:
    """Return the next step for a feature, by the rule of its p-value."""
    if to_inspect([feature]):
        return "inspect the values: the shift is large, but there are too few independent rows to exclude chance"
    if feature.untested is not None:
        return f"nothing: it was not tested, {feature.untested}"
    if not feature.drifted:
        return "nothing: no drift"
    first = {
        "null_share": "ask the feed's owner why values are missing",
        "new_level": "check whether the new levels are intended; the model was not trained on them",
        "out_of_range": "check units and defaults at the source; the model was not trained on such values",
        "tail": "compare the largest and smallest values with their source: a cap, another unit in some rows, or a new kind of row",
        "type": "check the format of the value at the source: a decimal comma turns a number into text",
        "infinite": "check the feed for divisions by zero and for numbers that overflow",
        UNREADABLE: "ask the callers what they changed; rows must have the columns of the model's inputs",
        CLOCK: "synchronise the clocks of the servers that capture calls and of those that answer them",
        "association": "check how the two columns are joined or computed: each alone may look unchanged",
        "mean": "check units, currency and price lists at the source",
        "quantile": "check units, currency and price lists at the source",
        "spread": "check whether the feed now mixes several sources or units, or has one where it had several",
    }.get(feature.rule or "", "compare the feed with its source")
    if feature.feed_fault is not None and feature.rule not in ("type", *OF_CALLS):
        first = f"{first}: {feature.feed_fault}"
    if feature.persistent is False:
        return f"{first}; it alarms if the next windows agree"
    if feature.rule in ("type", *OF_CALLS):
        return f"{first}; retraining does not help"
    return f"{first}; if the world has changed, retrain"


def has_psi(feature: FeatureDrift) -> bool:
    """Return whether a feature has a PSI: not with SageMaker Model Monitor, and not if it was not tested."""
    return feature.rule not in ("model_monitor", *OF_CALLS) and feature.untested is None


def psi_text(feature: FeatureDrift) -> str:
    """Return a feature's PSI to three decimals; empty without a PSI.

    Example:
        >>> [psi_text(FeatureDrift(name="price", psi=psi, p_value=1.0, drifted=False)) for psi in (0.0, 0.0002, 0.3104)]
        ['0', 'below 0.001', '0.31']
    """
    if not has_psi(feature):
        return ""
    return "below 0.001" if 0 < feature.psi < 0.001 else number(round(feature.psi, 3))
