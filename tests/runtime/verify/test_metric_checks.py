"""Failures of checks if CloudWatch differs; the whole run covers the behaviour of the embedded cloud."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runtime.verify.answers import DEPLOYED, GROUP, Answers, Refused, answered, reaching

from mlops_runtime.verify.metric_checks import MetricChecks
from mlops_runtime.verify.problems import CheckError, NoEvidenceError
from mlops_runtime.verify.unit import Deployed

NOT_JSON = Refused("Received client error (400) from primary", "ModelError")
LOGS = f"/aws/sagemaker/Endpoints/{GROUP}"


def checks(deployed: Deployed = DEPLOYED, **table: Any) -> tuple[MetricChecks, Answers]:
    """Return checks of an account with responses from the table."""
    serving = {"DescribeEndpoint": {"ProductionVariants": [{"VariantName": "v"}]}, "InvokeEndpoint": NOT_JSON}
    answers = Answers(**{**serving, **table})
    return MetricChecks(answered(answers), deployed, lambda: None), answers


@pytest.mark.parametrize(
    ("state", "words"),
    [("INSUFFICIENT_DATA", r"waited 0 s for .* which is INSUFFICIENT_DATA"), ("ALARM", r"> 1 of a metric .* is ALARM")],
)
def test_an_alarm_without_a_number_fails_and_goes(state: str, words: str) -> None:
    """An alarm with another value than the filled one fails too."""
    alarms = {"MetricAlarms": [{"StateValue": state}]}
    found, answers = checks(PutMetricAlarm={}, DescribeAlarms=alarms, DeleteAlarms={})
    with pytest.raises(CheckError, match=words):
        found.fill_gives_its_number()
    assert len(answers.requests_of("DeleteAlarms")) == 1


def counted(calls: int, *, values: int, errors: int) -> dict[str, Any]:
    """Return responses of GetMetricStatistics by metric."""
    invocations = {"Sum": float(calls), "SampleCount": float(calls)}
    others = {"Sum": float(errors), "SampleCount": float(values)}

    def answer(text: str) -> dict[str, Any]:
        return {"Datapoints": [invocations if "'Invocations'" in text or '"Invocations"' in text else others]}

    return {"GetMetricStatistics": answer}


def test_errors_that_are_counted_for_failures_alone_fail() -> None:
    """The message contains the numbers; without failed calls the check is inconclusive."""
    found, _ = checks(**counted(100, values=3, errors=3))
    with pytest.raises(
        CheckError, match="of 100 calls InvocationModelErrors has 3 values, Invocation5XXErrors has 3 values"
    ):
        found.errors_are_counted_for_each_answer()

    found, _ = checks(**counted(100, values=100, errors=0), InvokeEndpoint={"Body": ""})
    with pytest.raises(NoEvidenceError, match="no call has failed"):
        found.errors_are_counted_for_each_answer()
    found, _ = checks(**counted(100, values=100, errors=3))
    assert found.errors_are_counted_for_each_answer().startswith("100 calls; InvocationModelErrors 100 values, sum 3")


@pytest.mark.parametrize("streams", [[], [{"logStreamName": "v/i"}]])
def test_an_endpoint_without_a_line_fails(streams: list[dict[str, Any]]) -> None:
    """A stream without a line does not count."""
    group = {"logGroups": [{"logGroupName": LOGS}]}
    found, _ = checks(DescribeLogGroups=group, DescribeLogStreams={"logStreams": streams})
    with pytest.raises(CheckError, match="for a line in the endpoint's logs"):
        found.logs_come_from_sagemakers_network()


def test_a_network_that_reaches_logs_shows_nothing() -> None:
    """The log lines may have come through that endpoint."""
    found, _ = checks(reaching("com.amazonaws.us-east-1.logs"))
    with pytest.raises(NoEvidenceError, match=r"the network has com\.amazonaws\.us-east-1\.logs"):
        found.logs_come_from_sagemakers_network()
