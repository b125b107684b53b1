"""The monitor of bias: its state, and its part of the verdict."""

from dataclasses import replace

import pytest
from tests.runtime.monitor.evidence import FULL, GOOD, KNOWN, SPEC, measured
from tests.runtime.monitor.test_report_message import MEASURED, said

from mlops_runtime.contracts.monitor import BiasMetric, Facet, Measured, MonitorState
from mlops_runtime.monitor.monitors.monitor_table import states
from mlops_runtime.monitor.window_evidence import Traffic


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
    ("violated", "expected"), [(False, "bias holds by sex and is not known of the others"), (None, "bias is not known")]
)
def test_bias_is_said_to_hold_by_the_facets_that_were_measured(violated: bool | None, expected: str) -> None:
    """Calls carry another facet, of which no row came."""
    metric = Measured(name="DPL", value=0.01, low=-0.1, high=0.1, violated=violated)
    bias = BiasMetric(facet="sex", facet_value="f", metric=metric, stage="post_training")
    features = tuple(replace(KNOWN.features[0], name=name) for name in ("sex", "store"))
    baseline = replace(KNOWN, features=features, facets=(Facet(name="sex"), Facet(name="store")))
    evidence = replace(MEASURED, baseline=baseline, counts=None, quality=replace(GOOD, bias_metrics=(bias,)))
    assert expected in said(evidence).split("; ")
