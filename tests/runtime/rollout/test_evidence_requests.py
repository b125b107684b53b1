"""The comparison and the captures that a plan requests."""

import json
from dataclasses import replace

import pytest
from tests.campaign.deploy import SPEC as CAPTURED
from tests.runtime.rollout.world import SPEC

from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.contracts.serving import AsynchronousSpec
from mlops_runtime.rollout.evidence_requests import VerdictRequest, bodies_request, sagemaker_verdict, shadow_verdict

NEW, OLD, SINCE = "demand-forecast-22222222", "demand-forecast-11111111", "2017-08-01T00:00:00Z"


def requested(**rollout: object) -> VerdictRequest:
    """Return the request of a rollout."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, **rollout))  # type: ignore[arg-type]
    return sagemaker_verdict(spec, config=NEW, previous=OLD, since=SINCE)


def test_fleets_are_told_apart_by_their_configs() -> None:
    """On one endpoint and variant; errors and calls have one metric."""
    found = requested()
    for fleet, config in ((found.new, NEW), (found.old, OLD)):
        assert fleet.calls == fleet.errors[0]
        assert (fleet.calls.metric, fleet.calls_statistic) == ("InvocationModelErrors", "SampleCount")
        assert fleet.calls.dimensions == {
            "EndpointName": "demand-forecast",
            "VariantName": SPEC.variant,
            "EndpointConfigName": config,
        }
    assert (found.fleet, found.since) == (NEW, SINCE)
    assert found.before is not None
    assert found.before.calls.dimensions == {"EndpointName": "demand-forecast", "VariantName": SPEC.variant}


def test_defaults_are_those_of_the_checks() -> None:
    """One false alarm in a hundred, and a tolerance of five failures in ten thousand."""
    assert (requested().false_alarm, requested().tolerated, requested().max_latency_ratio) == (0.01, 0.0005, None)
    given = requested(false_alarm=0.001, tolerated_error_share=0.0, max_latency_ratio=1.5)
    assert (given.false_alarm, given.tolerated, given.max_latency_ratio) == (0.001, 0.0, 1.5)


def test_an_asynchronous_endpoint_publishes_another_metric() -> None:
    """The metric of model failures."""
    spec = replace(SPEC, asynchronous=AsynchronousSpec(output="s3://out/o", failures="s3://out/f"))
    found = sagemaker_verdict(spec, config=NEW, previous=OLD, since=SINCE)
    assert found.new.errors[0].metric == "Invocation5XXErrors"


def test_the_largest_step_before_the_last_is_known() -> None:
    """All at once has none."""
    assert requested().most_share == 0.5
    assert requested(kind="ALL_AT_ONCE", percent=None).most_share is None


def test_a_shadow_is_compared_by_variant() -> None:
    """The live model's earlier hours belong to another config; no alarm exists that a shadow could set."""
    spec = replace(SPEC, rollout=replace(SPEC.rollout, kind="ALL_AT_ONCE", percent=None))
    found = shadow_verdict(spec, config=NEW, variant="Shadow", since=SINCE)
    assert found.new.calls.dimensions == {"EndpointName": "demand-forecast", "VariantName": "Shadow"}
    assert found.old.calls.dimensions == {"EndpointName": "demand-forecast", "VariantName": SPEC.variant}
    assert (found.is_alone, found.has_alarm, found.fleet) == (False, False, NEW)


def test_it_passes_through_the_machine_as_json() -> None:
    """Complete, with both fleets."""
    assert from_dict(VerdictRequest, json.loads(json.dumps(to_dict(requested())))) == requested()


def test_another_statistic_of_calls_is_refused() -> None:
    """Average would be a share."""
    document = json.loads(json.dumps(to_dict(requested())))
    document["new"]["calls_statistic"] = "Average"
    with pytest.raises(ValueError, match="calls_statistic"):
        from_dict(VerdictRequest, document)


def test_where_calls_are_captured_their_answers_are_read() -> None:
    """Not for an asynchronous endpoint, and not without capture."""
    assert to_dict(bodies_request(CAPTURED, since="2017-08-01T09:00:00Z")) == {
        "endpoint": CAPTURED.endpoint,
        "variant": "AllTraffic",
        "destination": "s3://capture/capture",
        "since": "2017-08-01T09:00:00Z",
        "false_alarm": 0.01,
    }
    assert bodies_request(replace(CAPTURED, capture=None), since="") is None
    queued = replace(CAPTURED, asynchronous=AsynchronousSpec(output="s3://o/o", failures="s3://o/f"))
    assert bodies_request(queued, since="") is None
    strict = replace(CAPTURED, rollout=replace(CAPTURED.rollout, false_alarm=0.001))
    limited = bodies_request(strict, since="")
    assert limited is not None
    assert limited.false_alarm == 0.001
