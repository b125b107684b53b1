"""Which of the features that thresholds name the live model has."""

from dataclasses import replace

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.drift.association import pair_name
from mlops_runtime.monitor.spec import MonitorSpec


def known(spec: MonitorSpec, baseline: Baseline) -> tuple[MonitorSpec, dict[str, int]]:
    """Return thresholds without features that the live model does not have, and the problem that each of those is.

    Args:
        spec: The thresholds.
        baseline: The live model's.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(500, 500, 0))
        >>> baseline = Baseline(features=(price,), rows=1000, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> found, problems = known(MonitorSpec(alarm_features=("price", "promo")), baseline)
        >>> found.alarm_features, list(problems)
        (('price',), ["the monitor names 'promo', which the live model does not have"])
    """
    names = {feature.name for feature in baseline.features}
    names |= {feature.name for feature in (baseline.prediction, baseline.null_patterns) if feature is not None}
    names |= {pair_name(pair) for pair in baseline.pairs or ()}
    unknown = sorted({*spec.features, *spec.alarm_features, *(spec.amounts or ())} - names)
    if not unknown:
        return spec, {}
    features, alarms = (tuple(n for n in of if n in names) for of in (spec.features, spec.alarm_features))
    amounts = None if spec.amounts is None else tuple(name for name in spec.amounts if name in names)
    known = replace(spec, features=features, alarm_features=alarms, amounts=amounts)
    return known, {f"the monitor names {name!r}, which the live model does not have": 1 for name in unknown}
