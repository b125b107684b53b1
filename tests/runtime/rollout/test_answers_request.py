"""The captures that a plan requests."""

from dataclasses import replace

from tests.campaign.deploy import SPEC

from mlops_runtime.contracts.serving import AsynchronousSpec
from mlops_runtime.rollout.answers_request import bodies_request


def test_where_calls_are_captured_their_answers_are_read() -> None:
    """Not for an asynchronous endpoint, and not without capture."""
    assert bodies_request(SPEC, since="2017-08-01T09:00:00Z") == {
        "endpoint": SPEC.endpoint,
        "variant": "AllTraffic",
        "destination": "s3://capture/capture",
        "since": "2017-08-01T09:00:00Z",
        "false_alarm": 0.01,
    }
    assert bodies_request(replace(SPEC, capture=None), since="") == {}
    queued = replace(SPEC, asynchronous=AsynchronousSpec(output="s3://o/o", failures="s3://o/f"))
    assert bodies_request(queued, since="") == {}
    strict = replace(SPEC, rollout=replace(SPEC.rollout, false_alarm=0.001))
    assert bodies_request(strict, since="")["false_alarm"] == 0.001
