"""Whether a window was compared with its baseline at all: nothing that was not tested may pass for OK."""

from collections.abc import Iterable

from mlops_runtime.contracts.monitor import Baseline, FeatureDrift
from mlops_runtime.monitor.counting.null_patterns import NAME as NULL_PATTERNS
from mlops_runtime.monitor.drift.unreadable import NAME as UNREADABLE


def asked(baseline: Baseline, features: Iterable[FeatureDrift]) -> list[FeatureDrift]:
    """Return the features whose test says that a window was compared: those that are not left out for good.

    Which columns are null and which rows cannot be read is known of any window, and predictions are made of any input: they count
    only where nothing else is tested by choice.

    Args:
        baseline: What was compared with.
        features: All verdicts.

    Example:
        >>> baseline = Baseline(features=(), rows=0, training_set_id="t", created="", left_out={"order": "identifier"})
        >>> found = [FeatureDrift(name=name, psi=0, p_value=1, drifted=False) for name in ("price", "order", "null_patterns")]
        >>> [feature.name for feature in asked(baseline, found)]
        ['price']
    """
    aside = {NULL_PATTERNS, UNREADABLE, *(baseline.left_out or ())}
    if baseline.strata is not None:
        aside |= {condition.name for condition in baseline.conditions or () if condition.kind == "column"}
    found = [feature for feature in features if feature.name not in aside]
    prediction = None if baseline.prediction is None else baseline.prediction.name
    return [feature for feature in found if feature.name != prediction] or found


def any_tested(baseline: Baseline, features: Iterable[FeatureDrift]) -> bool:
    """Return whether at least one of the features that were asked for was tested."""
    return any(feature.untested is None for feature in asked(baseline, features))
