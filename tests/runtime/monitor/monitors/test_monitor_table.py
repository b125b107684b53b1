"""The table of states: the first reason not to know, else OK or VIOLATION; exactly one whatever the evidence."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.monitor.timeline import BASELINE, LIVE

from mlops_runtime.contracts.monitor import BiasMetric, Facet, FeatureDrift, Measured, MonitorState
from mlops_runtime.monitor.monitors.attribution_ranking import Explanation
from mlops_runtime.monitor.monitors.label_measures import Quality
from mlops_runtime.monitor.monitors.latency_measures import Latency
from mlops_runtime.monitor.monitors.monitor_table import overall, silence, states
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

SPEC = MonitorSpec()
GOOD = Quality(
    rows=500,
    wape=0.44,
    bias=0.1,
    unmatched=0,
    mismatched=0,
    malformed=0,
    metrics=(Measured(name="wape", value=0.44, violated=False),),
)
KNOWN = replace(BASELINE, quality={"wape": 0.4, "bias": 0.0})
QUIET = FeatureDrift(name="price", psi=0.0, p_value=1.0, drifted=False, persistent=False)
FULL = Evidence(
    live=LIVE,
    baseline=KNOWN,
    traffic=Traffic(invocations=9, counted=3, rows=1000),
    rows=1000,
    features=(QUIET,),
    quality=GOOD,
)


def measured(violated: bool | None, name: str = "rmse") -> Measured:
    """Return a metric with its verdict."""
    return Measured(name=name, value=1.0, violated=violated)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"live": None}, MonitorState.NOT_YET_DEPLOYED),
        ({"baseline": None, "flaw": "it is missing"}, MonitorState.MONITOR_NOT_RUN),
        ({"baseline": replace(KNOWN, training_set_id="set-0")}, MonitorState.BASELINE_OLDER_THAN_MODEL),
        ({"traffic": Traffic(uncounted=3)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=2, uncounted=3, rows=900)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=6, uncounted=5, rows=900)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=17, uncounted=2, rows=900)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(counted=18, uncounted=2, rows=900)}, MonitorState.OK),
        ({"traffic": Traffic(counted=2, uncounted=1, rows=900)}, MonitorState.OK),
        ({"traffic": Traffic(uncounted=1)}, MonitorState.MONITOR_NOT_RUN),
        ({"traffic": Traffic(invocations=5)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(invocations=5, synthetic=1)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(invocations=5, synthetic=5)}, MonitorState.NO_TRAFFIC),
        ({"traffic": Traffic(invocations=5, synthetic=1, announced=5)}, MonitorState.NO_TRAFFIC),
        ({"traffic": Traffic(invocations=6, synthetic=5, announced=5)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(calls=1)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic(invocations=2, calls=2, synthetic=5, announced=5)}, MonitorState.NO_CAPTURE),
        ({"traffic": Traffic()}, MonitorState.NO_TRAFFIC),
        ({"traffic": Traffic(counted=1, malformed=9), "rows": 0}, MonitorState.INSUFFICIENT_DATA),
        ({"rows": 199}, MonitorState.INSUFFICIENT_DATA),
        ({"features": (replace(QUIET, untested="too few clusters"),)}, MonitorState.INSUFFICIENT_DATA),
        ({"features": (QUIET, replace(QUIET, name="x", untested="too few clusters"))}, MonitorState.OK),
        (
            {"features": (replace(QUIET, untested="too few clusters"), replace(QUIET, name="null_patterns"))},
            MonitorState.INSUFFICIENT_DATA,
        ),
        ({}, MonitorState.OK),
        ({"features": (replace(QUIET, drifted=True),)}, MonitorState.OK),
        ({"features": (replace(QUIET, drifted=True, persistent=True),)}, MonitorState.VIOLATION),
    ],
)
def test_drift_states_in_their_order(change: dict[str, Any], expected: MonitorState) -> None:
    """Each reason not to know has its own state; a feature that drifts in one window alone is no violation."""
    assert states(replace(FULL, **change), SPEC)["drift"] is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rows": 0, "wape": None}, MonitorState.NO_LABELS_YET),
        ({"rows": 0, "wape": None, "unjudged": "no label can be used"}, MonitorState.INSUFFICIENT_DATA),
        ({"rows": 99}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": ()}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": (measured(None),)}, MonitorState.INSUFFICIENT_DATA),
        ({"metrics": (measured(None), measured(False))}, MonitorState.OK),
        ({"metrics": (measured(False), measured(True))}, MonitorState.VIOLATION),
        ({"wape": 0.7}, MonitorState.OK),
    ],
)
def test_quality_states(change: dict[str, Any], expected: MonitorState) -> None:
    """A metric is worse than it may be or not; a WAPE that is high by chance alone is no violation."""
    assert states(replace(FULL, quality=replace(GOOD, **change)), SPEC)["quality"] is expected


@pytest.mark.parametrize(
    ("verdicts", "traffic", "expected"),
    [
        ((), Traffic(), MonitorState.NO_TRAFFIC),
        ((), FULL.traffic, MonitorState.INSUFFICIENT_DATA),
        ((None,), FULL.traffic, MonitorState.INSUFFICIENT_DATA),
        ((None, False), FULL.traffic, MonitorState.OK),
        ((False, True), FULL.traffic, MonitorState.VIOLATION),
    ],
)
def test_bias_states(verdicts: tuple[bool | None, ...], traffic: Traffic, expected: MonitorState) -> None:
    """Only where the baseline names facets."""
    found = tuple(
        BiasMetric(facet="sex", facet_value="f", metric=measured(v, "DPL"), stage="post_training") for v in verdicts
    )
    evidence = replace(FULL, quality=replace(GOOD, bias_metrics=found), traffic=traffic)
    assert "bias" not in states(evidence, SPEC)
    with_facets = replace(KNOWN, facets=(Facet(name="sex", values=("f",)),))
    assert states(replace(evidence, baseline=with_facets), SPEC)["bias"] is expected


@pytest.mark.parametrize(
    ("facet", "violated", "expected"),
    [
        ("store", False, MonitorState.INSUFFICIENT_DATA),
        ("store", True, MonitorState.VIOLATION),
        ("age", False, MonitorState.OK),
    ],
)
def test_bias_does_not_hold_by_some_of_the_facets(facet: str, violated: bool, expected: MonitorState) -> None:
    """One that calls carry and that nothing is known of; that of a facet which calls do not carry is of the holdout alone."""
    sex = BiasMetric(facet="sex", facet_value="f", metric=measured(violated, "DPL"), stage="post_training")
    features = tuple(replace(KNOWN.features[0], name=name) for name in ("sex", "store"))
    baseline = replace(KNOWN, features=features, facets=(Facet(name="sex"), Facet(name=facet)))
    evidence = replace(FULL, baseline=baseline, quality=replace(GOOD, bias_metrics=(sex,)))
    assert states(evidence, SPEC)["bias"] is expected


@pytest.mark.parametrize(
    ("calls", "verdicts", "expected"),
    [
        (0, (), MonitorState.NO_TRAFFIC),
        (99, (None,), MonitorState.INSUFFICIENT_DATA),
        (500, (None,), MonitorState.INSUFFICIENT_DATA),
        (500, (False, None), MonitorState.OK),
        (500, (False, True), MonitorState.VIOLATION),
    ],
)
def test_latency_states(calls: int, verdicts: tuple[bool | None, ...], expected: MonitorState) -> None:
    """It needs no baseline of features: a broken one does not hide that the model is slow."""
    latency = Latency(calls=calls, measured=tuple(measured(verdict, "p99") for verdict in verdicts))
    assert states(replace(FULL, latency=latency, baseline=None, flaw="gone"), SPEC)["latency"] is expected
    assert states(Evidence(latency=latency), SPEC)["latency"] is MonitorState.NOT_YET_DEPLOYED


def test_the_worst_of_drift_and_quality_is_the_state_of_all() -> None:
    """Another monitor counts where it asks a person for something; a flaw of the baseline is always a violation."""
    ok, violation, little = MonitorState.OK, MonitorState.VIOLATION, MonitorState.INSUFFICIENT_DATA
    assert overall({"drift": ok, "quality": ok, "latency": little}, FULL) is ok
    assert overall({"drift": little, "quality": MonitorState.NO_LABELS_YET}, FULL) is little
    assert overall({"drift": ok, "quality": ok, "bias": violation}, FULL) is violation
    assert overall({"drift": ok, "quality": ok, "explainability": MonitorState.MONITOR_NOT_RUN}, FULL) is (
        MonitorState.MONITOR_NOT_RUN
    )
    assert overall({"drift": MonitorState.MONITOR_NOT_RUN, "quality": ok}, replace(FULL, flaw="changed")) is violation


COUNTS = st.integers(0, 5)
TRAFFIC = st.builds(
    Traffic,
    invocations=COUNTS,
    counted=COUNTS,
    uncounted=COUNTS,
    rows=st.sampled_from([0, 1000]),
    malformed=COUNTS,
    synthetic=COUNTS,
    calls=COUNTS,
    announced=COUNTS,
)
VERDICT = st.sampled_from([None, True, False])
BASELINES = st.sampled_from(
    [None, KNOWN, replace(KNOWN, training_set_id="set-0"), replace(KNOWN, quality={}, facets=(Facet(name="sex"),))]
)
EVIDENCE = st.builds(
    Evidence,
    live=st.sampled_from([None, LIVE]),
    baseline=BASELINES,
    flaw=st.sampled_from([None, "changed"]),
    traffic=TRAFFIC,
    rows=st.sampled_from([0, 199, 200]),
    features=st.lists(st.builds(replace, st.just(QUIET), drifted=st.booleans(), persistent=VERDICT), max_size=2).map(
        tuple
    ),
    quality=st.sampled_from([None, GOOD, replace(GOOD, rows=0, wape=None), replace(GOOD, metrics=(measured(True),))]),
    explanation=st.sampled_from(
        [None, Explanation(state=MonitorState.OK), Explanation(state=MonitorState.MONITOR_NOT_RUN)]
    ),
    latency=st.sampled_from(
        [None, Latency(calls=0, measured=()), Latency(calls=500, measured=(measured(True, "p99"),))]
    ),
)


@given(EVIDENCE)
def test_every_evidence_has_exactly_one_state_a_monitor_and_one_of_all(evidence: Evidence) -> None:
    """Nothing is undecided, nothing serves but is not yet deployed, and silence is never OK."""
    found = states(evidence, SPEC)
    assert all(isinstance(state, MonitorState) for state in found.values())
    assert {"drift", "quality"} <= set(found) <= {"drift", "quality", "bias", "explainability", "latency"}
    assert isinstance(overall(found, evidence), MonitorState)
    assert (found["drift"] is MonitorState.NOT_YET_DEPLOYED) is (evidence.live is None)
    if found["drift"] in (MonitorState.OK, MonitorState.VIOLATION):
        assert silence(evidence.traffic) is None
        assert evidence.rows >= SPEC.minimum_rows
        assert evidence.baseline is not None
        assert evidence.flaw is None
    if overall(found, evidence) is MonitorState.OK:
        assert set(found.values()) <= {
            MonitorState.OK, MonitorState.INSUFFICIENT_DATA, MonitorState.NO_TRAFFIC
        }  # fmt: skip
