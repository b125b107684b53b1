"""The bias monitor: its state and its part of the verdict."""

from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.monitor.evidence import FULL, KNOWN, SPEC, WINDOW, changed, measured, states
from tests.runtime.monitor.monitors.test_label_measures import PLAIN, joined, window
from tests.runtime.monitor.test_report_message import MEASURED, message_of

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, Facet, MonitorState
from mlops_runtime.contracts.monitor_report import BiasMetric, BiasResult, Measured
from mlops_runtime.monitor.monitors.bias import BIAS
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
    """Has a state only if the baseline names facets."""
    found = tuple(
        BiasMetric(facet="sex", facet_value="f", metric=measured(v, "DPL"), stage="post_training") for v in verdicts
    )
    evidence = replace(FULL, traffic=traffic)
    assert "bias" not in states(evidence)
    with_facets = replace(KNOWN, facets=(Facet(name="sex", values=("f",)),))
    assert states(changed(evidence, baseline=with_facets, bias=BiasResult(metrics=found)))["bias"] is expected


@pytest.mark.parametrize(
    ("facet", "violated", "expected"),
    [
        ("store", False, MonitorState.INSUFFICIENT_DATA),
        ("store", True, MonitorState.VIOLATION),
        ("age", False, MonitorState.OK),
    ],
)
def test_bias_does_not_hold_by_some_of_the_facets(facet: str, violated: bool, expected: MonitorState) -> None:
    """A facet in calls without a result prevents OK; a facet that calls lack is known only from the holdout."""
    sex = BiasMetric(facet="sex", facet_value="f", metric=measured(violated, "DPL"), stage="post_training")
    features = tuple(replace(KNOWN.features[0], name=name) for name in ("sex", "store"))
    baseline = replace(KNOWN, features=features, facets=(Facet(name="sex"), Facet(name=facet)))
    assert states(changed(FULL, baseline=baseline, bias=BiasResult(metrics=(sex,))))["bias"] is expected


@pytest.mark.parametrize(
    ("violated", "expected"), [(False, "bias holds by sex and is unknown for the others"), (None, "bias is unknown")]
)
def test_bias_is_said_to_hold_by_the_facets_that_were_measured(violated: bool | None, expected: str) -> None:
    """Names the measured facets; another facet in calls had no row."""
    metric = Measured(name="DPL", value=0.01, low=-0.1, high=0.1, violated=violated)
    bias = BiasMetric(facet="sex", facet_value="f", metric=metric, stage="post_training")
    features = tuple(replace(KNOWN.features[0], name=name) for name in ("sex", "store"))
    baseline = replace(KNOWN, features=features, facets=(Facet(name="sex"), Facet(name="store")))
    evidence = changed(MEASURED, baseline=baseline, counts=None, bias=BiasResult(metrics=(bias,)))
    assert expected in message_of(evidence).split("; ")


def bias_of(labels: Any, captures: Any, baseline: Baseline) -> BiasResult:
    """Join a window and measure its bias."""
    evidence = replace(FULL, baseline=baseline, labels=joined(labels, captures, baseline=baseline), measured={})
    found = BIAS.measure(evidence, WINDOW, SPEC)
    assert found is not None
    return found


def test_a_facet_that_is_absent_is_named(lines: Any) -> None:
    """Names an absent facet value; JSON integers match the value with their digits."""
    baseline = replace(PLAIN, facets=(Facet(name="store", values=("7",)), Facet(name="age", threshold=40)))
    for store, named in (("7", 0), ("8", 1)):
        data = [f'{{"instances": [[{store if n % 2 else 9}, {30 + n}]]}}' for n in range(50)]
        captures = [lines.call(line, "1", encoding="JSON", event_id=f"e{n}") for n, line in enumerate(data)]
        bias = bias_of([], captures, baseline)
        absent = "bias of store=7 is not measured: no row of the window, or every row, belongs to the group"
        assert bias.problems == ({f"quality: {absent}": 1} if named else None)
        assert {metric.facet for metric in bias.metrics} == {"age"} | ({"store"} if not named else set())


def test_bias_of_predictions_is_known_before_labels_come(lines: Any) -> None:
    """With a facet among the inputs, predictions of all calls are measured; labels add the other metrics."""
    baseline = replace(PLAIN, target="classification", facets=(Facet(name="age", threshold=40),))
    labels, captures = window(lines, 200, scores=True)
    before = bias_of([], captures, baseline)
    assert {metric.metric.name for metric in before.metrics} == {"CI", "DPPL", "DI", "CDDPL"}
    after = bias_of(labels, captures, baseline)
    assert len(after.metrics) == 20
    assert {metric.facet_value for metric in after.metrics} == {"40"}
    same = [metric for metric in after.metrics if metric.metric.name in ("CI", "DPPL", "DI", "CDDPL")]
    assert same == list(before.metrics)


def test_a_facet_that_calls_do_not_carry_is_named(lines: Any) -> None:
    """Names a facet that is not an input of the model: its bias is known only for the holdout."""
    bias = bias_of([], [lines.call("north,4", "2")], replace(PLAIN, facets=(Facet(name="sex", values=("f",)),)))
    [named] = bias.problems or ()
    assert "facet 'sex' is not an input of the model" in named
    assert bias.metrics == ()


def test_bias_of_one_row_of_each_group_is_json(lines: Any) -> None:
    """Undefined metrics are neither NaN nor infinite in JSON."""
    baseline = replace(PLAIN, target="classification", facets=(Facet(name="age", threshold=40),))
    captures = [lines.call(f"north,{age}", "0.9", event_id=str(age)) for age in (30, 50)]
    labels = [lines.label(key, [0]) for key in ("30", "50")]
    assert canonical_json(bias_of(labels, captures, baseline))
