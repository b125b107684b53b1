"""In which state each monitor is: exactly one, a pure function of the evidence. Silence is a state of its own, never OK.

The first reason not to know is the state; only where nothing keeps a monitor from knowing is it OK or VIOLATION.
"""

from collections.abc import Mapping
from typing import Literal

from mlops_runtime.contracts.monitor import Baseline, Measured, MonitorState, is_confirmed
from mlops_runtime.monitor.monitors.drift.decision import any_tested
from mlops_runtime.monitor.monitors.label_measures import Quality
from mlops_runtime.monitor.monitors.latency_measures import MINIMUM_CALLS
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

Monitor = Literal["drift", "quality", "bias", "explainability", "latency"]
States = Mapping[Monitor, MonitorState]

# of the newest hours' capture objects
_MAXIMUM_UNCOUNTED = 0.1
# from what asks for a person to what asks for nothing
_ORDER = (
    MonitorState.VIOLATION,
    MonitorState.MONITOR_NOT_RUN,
    MonitorState.NO_CAPTURE,
    MonitorState.BASELINE_OLDER_THAN_MODEL,
    MonitorState.NOT_YET_DEPLOYED,
    MonitorState.NO_TRAFFIC,
    MonitorState.INSUFFICIENT_DATA,
    MonitorState.NO_LABELS_YET,
    MonitorState.OK,
)


def states(evidence: Evidence, spec: MonitorSpec) -> dict[Monitor, MonitorState]:
    """Return the state of each monitor; what nobody asked for is not among them.

    Drift and quality always have one. Bias has one where the baseline names facets, explainability where something was explained,
    latency where somebody publishes it.

    Args:
        evidence: What the run knows.
        spec: When a window has rows enough, and what is too much.

    Example:
        >>> {name: state.value for name, state in states(Evidence(), MonitorSpec()).items()}
        {'drift': 'NOT_YET_DEPLOYED', 'quality': 'NOT_YET_DEPLOYED'}
    """
    unusable = _unusable(evidence)
    found: dict[Monitor, MonitorState] = {
        "drift": unusable or _drift(evidence, spec),
        "quality": unusable or _quality(evidence, spec),
    }
    if evidence.baseline is not None and evidence.baseline.facets:
        found["bias"] = unusable or _bias(evidence)
    if evidence.explanation is not None:
        found["explainability"] = unusable or evidence.explanation.state
    if evidence.latency is not None:
        found["latency"] = MonitorState.NOT_YET_DEPLOYED if evidence.live is None else _latency(evidence)
    return found


def overall(found: States, evidence: Evidence) -> MonitorState:
    """Return the one state of all: the worst of drift and quality, or what another monitor asks a person for.

    A baseline that is missing or was changed is a violation, whatever else is known. Too few calls for a 99th percentile, or for a
    facet, are that monitor's own matter.

    Example:
        >>> overall({"drift": MonitorState.OK, "quality": MonitorState.NO_LABELS_YET}, Evidence()).value
        'NO_LABELS_YET'
    """
    if evidence.flaw is not None:
        return MonitorState.VIOLATION
    counted = [state for name, state in found.items() if name in ("drift", "quality") or state in _ORDER[:2]]
    return min(counted, key=_ORDER.index)


def wape_ratio(quality: Quality, baseline: Baseline) -> float | None:
    """Return live WAPE over the holdout's; None where either is not defined or the holdout's is 0."""
    holdout = baseline.quality.get("wape")
    return None if quality.wape is None or not holdout else quality.wape / holdout


def silence(traffic: Traffic) -> MonitorState | None:
    """Return why nothing can be known of a period: its captures are not counted, nothing was captured, or nobody called.

    Calls beyond the platform's own were made by somebody: without any of their rows they are not captured, rather than not there.

    Captures are not counted where more than a tenth of the objects are not, and more than one, which may have landed this minute.

    Example:
        >>> silence(Traffic(invocations=5)).value
        'NO_CAPTURE'
    """
    newest = traffic.counted + traffic.uncounted
    # one may have landed this minute
    if traffic.uncounted > _MAXIMUM_UNCOUNTED * newest and (traffic.uncounted > 1 or traffic.counted == 0):
        return MonitorState.MONITOR_NOT_RUN
    if traffic.rows or traffic.malformed:
        return None
    own = max(traffic.synthetic, traffic.announced)
    return MonitorState.NO_CAPTURE if traffic.calls or traffic.invocations > own else MonitorState.NO_TRAFFIC


def _unusable(evidence: Evidence) -> MonitorState | None:
    live, baseline = evidence.live, evidence.baseline
    if live is None:
        return MonitorState.NOT_YET_DEPLOYED
    if baseline is None or evidence.flaw is not None:
        return MonitorState.MONITOR_NOT_RUN
    if baseline.training_set_id != live.training_set_id:
        return MonitorState.BASELINE_OLDER_THAN_MODEL
    return None


def _drift(evidence: Evidence, spec: MonitorSpec) -> MonitorState:
    silent = silence(evidence.traffic)
    if silent is not None:
        return silent
    if evidence.rows_sent < spec.minimum_rows:
        return MonitorState.INSUFFICIENT_DATA
    if any(map(is_confirmed, evidence.features)):
        return MonitorState.VIOLATION
    # rows enough, but clustered ones that are worth too few, or of conditions that the baseline does not know
    if evidence.features and evidence.baseline is not None and not any_tested(evidence.baseline, evidence.features):
        return MonitorState.INSUFFICIENT_DATA
    return MonitorState.OK


def _quality(evidence: Evidence, spec: MonitorSpec) -> MonitorState:
    quality = evidence.quality
    if quality is None or (quality.rows == 0 and quality.unjudged is None):
        return MonitorState.NO_LABELS_YET
    return MonitorState.INSUFFICIENT_DATA if quality.rows < spec.minimum_labels else _judged(quality.metrics)


def _bias(evidence: Evidence) -> MonitorState:
    quality = evidence.quality
    metrics = () if quality is None else quality.bias_metrics
    if not metrics:
        silent = silence(evidence.traffic)
        return MonitorState.INSUFFICIENT_DATA if silent is None else silent
    found = _judged([each.metric for each in metrics])
    if found is MonitorState.OK and _captured_facets(evidence) - {
        m.facet for m in metrics if m.metric.violated is not None
    }:
        return MonitorState.INSUFFICIENT_DATA  # one that nothing is known of does not hold
    return found


def _captured_facets(evidence: Evidence) -> set[str]:
    """Return the declared facets that calls carry; those of the holdout alone are told as such."""
    baseline = evidence.baseline
    if baseline is None:
        return set()
    return {facet.name for facet in baseline.facets or ()} & {feature.name for feature in baseline.features}


def _latency(evidence: Evidence) -> MonitorState:
    latency = evidence.latency
    if latency is None or latency.calls == 0:
        return MonitorState.NO_TRAFFIC
    if latency.calls < MINIMUM_CALLS:
        return MonitorState.INSUFFICIENT_DATA
    return _judged(latency.measured)


def _judged(metrics: tuple[Measured, ...] | list[Measured]) -> MonitorState:
    judged = [metric.violated for metric in metrics if metric.violated is not None]
    if not judged:
        return MonitorState.INSUFFICIENT_DATA
    return MonitorState.VIOLATION if any(judged) else MonitorState.OK
