"""State machines of the embedded cloud: their clock, their limits, and corrections of MiniStack."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from jsonata.jexception import JException  # type: ignore[import-untyped]
from jsonata.jsonata import Jsonata  # type: ignore[import-untyped]
from jsonata.parser import Parser  # type: ignore[import-untyped]

from mlops_local.state_machines.executions import parse_once, retry_delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud


@pytest.fixture
def run(cloud: Cloud) -> Callable[..., str]:
    """Start a JSONata machine of the given states; return the execution's ARN."""

    def start(name: str, states: dict[str, Any], *statements: dict[str, Any], given: Any = None, **top: Any) -> str:
        iam, sfn = cloud.client("iam"), cloud.client("stepfunctions")
        trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        role = iam.create_role(RoleName=f"{name}-machine", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_role_policy(RoleName=f"{name}-machine", PolicyName="p", PolicyDocument=policy)
        definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **top})
        machine = sfn.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]
        return str(sfn.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))["executionArn"])

    return start


@pytest.fixture
def ended(cloud: Cloud, wait_for: Callable[..., Any]) -> Callable[[str], dict[str, Any]]:
    """Wait for the end of an execution; return its description with the parsed output."""

    def wait(arn: str) -> dict[str, Any]:
        sfn = cloud.client("stepfunctions")
        found = wait_for(lambda: (one := sfn.describe_execution(executionArn=arn))["status"] != "RUNNING" and one)
        return {**found, "output": json.loads(found.get("output") or "null")}

    return wait


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    """Return a policy statement."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


def waiting(cloud: Cloud) -> int:
    """Return the number of threads that wait for the embedded clock."""
    return int(cloud.clock()["waiting"])


def test_waits_and_tells_the_time_on_the_embedded_clock(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]], wait_for: Callable[..., Any]
) -> None:
    """A week's Wait ends with a jump; $now() and EnteredTime use embedded time."""
    before, started = waiting(cloud), cloud.clock()["epoch"]
    times = "{% {'now': $now(), 'millis': $millis(), 'entered': $states.context.State.EnteredTime} %}"
    arn = run(
        "waits",
        {"W": {"Type": "Wait", "Seconds": 604_800, "Next": "P"}, "P": {"Type": "Pass", "Output": times, "End": True}},
    )
    wait_for(lambda: waiting(cloud) > before)
    cloud.clock_jump(by=timedelta(days=8))
    output = ended(arn)["output"]
    now = cloud.clock()["epoch"]
    # a jump stops where another test's schedule is due, and ends a wait that is over by then
    assert started + 604_800 <= output["millis"] / 1000 <= now + 10
    for name in ("now", "entered"):
        assert datetime.fromisoformat(output[name]).timestamp() == pytest.approx(output["millis"] / 1000, abs=10)
    assert now - time.time() > 604_800


def test_timestamp_of_a_wait_is_embedded_time(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]]
) -> None:
    """A Wait until a timestamp in the embedded past ends at once."""
    past = datetime.fromtimestamp(cloud.clock()["epoch"] - 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert ended(run("until", {"W": {"Type": "Wait", "Timestamp": past, "End": True}}))["status"] == "SUCCEEDED"


def test_succeed_ends_with_its_output(run: Callable[..., str], ended: Callable[[str], dict[str, Any]]) -> None:
    """Output of a JSONata Succeed state, also in a branch: https://states-language.net/spec.html#succeed-state."""
    succeed = {"Type": "Succeed", "Output": {"sum": "{% $states.input.a + 1 %}"}}
    assert ended(run("succeeds", {"S": succeed}, given={"a": 1}))["output"] == {"sum": 2}
    parallel = {"Type": "Parallel", "Branches": [{"StartAt": "S", "States": {"S": succeed}}], "End": True}
    assert ended(run("succeeds-in-branch", {"P": parallel}, given={"a": 1}))["output"] == [{"sum": 2}]


def test_numbers_of_cloudwatch_are_numbers(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]]
) -> None:
    """PutMetricAlarm, DescribeAlarms and DeleteAlarms by aws-sdk integration keep numbers, booleans and lists."""
    put = {
        "AlarmName": "numbers", "Namespace": "Test", "MetricName": "M", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2, "Threshold": 0.25, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
        "Dimensions": [{"Name": "Endpoint", "Value": "e"}], "Tags": [{"Key": "unit", "Value": "demand"}],
    }  # fmt: skip
    aws = "arn:aws:states:::aws-sdk:cloudwatch:"
    states = {
        "Put": {"Type": "Task", "Resource": aws + "putMetricAlarm", "Arguments": put, "Next": "Read"},
        "Read": {"Type": "Task", "Resource": aws + "describeAlarms", "Arguments": {"AlarmNames": ["numbers"]}, "Next": "Delete",
                 "Assign": {"alarm": "{% $states.result.MetricAlarms[0] %}"}},
        "Delete": {"Type": "Task", "Resource": aws + "deleteAlarms", "Arguments": {"AlarmNames": ["numbers"]}, "Next": "End"},
        "End": {"Type": "Succeed", "Output": "{% $alarm %}"},
    }  # fmt: skip
    actions = [f"cloudwatch:{name}" for name in ("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms", "TagResource")]
    result = ended(run("numbers", states, allow(*actions)))
    assert result["status"] == "SUCCEEDED", result
    alarm = result["output"]
    assert (alarm["Threshold"], alarm["Period"], alarm["DatapointsToAlarm"], alarm["ActionsEnabled"]) == (
        0.25,
        60,
        2,
        True,
    )
    assert alarm["Dimensions"] == [{"Name": "Endpoint", "Value": "e"}]
    assert cloud.client("cloudwatch").describe_alarms(AlarmNames=["numbers"])["MetricAlarms"] == []


def test_numbers_of_s3_are_numbers(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]]
) -> None:
    """A listing has counts, sizes and booleans, as SDKs parse them; an ETag and a key of digits stay strings."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="numbers-of-s3")
    s3.put_object(Bucket="numbers-of-s3", Key="123", Body=b"four")
    resource = "arn:aws:states:::aws-sdk:s3:listObjectsV2"
    states = {
        "List": {"Type": "Task", "Resource": resource, "Arguments": {"Bucket": "numbers-of-s3"}, "Next": "End"},
        "End": {"Type": "Succeed", "Output": "{% $states.input %}"},
    }
    result = ended(run("lists", states, allow("s3:ListBucket")))
    assert result["status"] == "SUCCEEDED", result
    found = result["output"]
    assert (found["KeyCount"], found["IsTruncated"]) == (1, False)
    assert [(each["Key"], each["Size"]) for each in found["Contents"]] == [("123", 4)]


def test_catches_a_function_by_the_class_of_its_exception(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]], make_function: Callable[..., str]
) -> None:
    """The error's name is the exception's class: https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html."""
    code = "class LockBusy(Exception):\n    pass\ndef handler(event, context):\n    raise LockBusy('held by\\n' + event['by'])\n"
    arn = make_function(cloud, "raises", {"handler.py": code})
    task = {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": {"FunctionName": arn, "Payload": {"by": "x"}},
        "Catch": [{"ErrorEquals": ["LockBusy"], "Next": "Caught", "Output": "{% $states.errorOutput %}"}], "End": True,
    }  # fmt: skip
    result = ended(
        run(
            "catches",
            {"T": task, "Caught": {"Type": "Pass", "End": True}},
            allow("lambda:InvokeFunction", resource=arn),
        )
    )
    assert result["status"] == "SUCCEEDED", result
    assert result["output"]["Error"] == "LockBusy"
    assert json.loads(result["output"]["Cause"])["errorMessage"] == "held by\nx"


def test_retries_after_the_whole_delay(
    cloud: Cloud,
    run: Callable[..., str],
    ended: Callable[[str], dict[str, Any]],
    make_function: Callable[..., str],
    wait_for: Callable[..., Any],
) -> None:
    """A retry after an hour happens after an embedded hour, not after MiniStack's minute."""
    arn = make_function(cloud, "fails", {"handler.py": "def handler(event, context):\n    raise ValueError\n"})
    retry = [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 3600, "MaxAttempts": 1}]
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": arn},
        "Retry": retry,
        "End": True,
    }
    before = waiting(cloud)
    execution = run("retries", {"T": task}, allow("lambda:InvokeFunction", resource=arn))
    wait_for(lambda: waiting(cloud) > before)
    cloud.clock_jump(by=timedelta(minutes=30))
    assert cloud.client("stepfunctions").describe_execution(executionArn=execution)["status"] == "RUNNING"
    cloud.clock_jump(by=timedelta(minutes=31))
    assert ended(execution)["error"] == "ValueError"


@pytest.mark.parametrize(
    ("retrier", "delays"),
    [
        ({}, [1.0, 2.0, 4.0]),
        ({"IntervalSeconds": 60, "BackoffRate": 1.5}, [60.0, 90.0, 135.0]),
        ({"IntervalSeconds": 60, "BackoffRate": 3, "MaxDelaySeconds": 300}, [60.0, 180.0, 300.0]),
    ],
)
def test_delay_of_a_retry(retrier: dict[str, float], delays: list[float]) -> None:
    """Defaults, backoff and the longest delay: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html."""
    assert [retry_delay(retrier, attempt) for attempt in range(3)] == delays


EXPRESSIONS = [
    "{'sum': $sum(rows.n), 'all': [rows.(n * 2), 1], 'first': rows[n > 1][0]}",
    "($twice := function($x) { $x * 2 }; $map(rows.n, $twice))",
    "rows{k: $sum(n)}",
    "rows^(>n).n",
    "$replace(rows[0].k, /a/, 'b')",
    "rows.n ~> $sum() ~> $string()",
    "rows.{'k': k, 'of': %.name}",
    "rows ~> |$|{'n': n + 1}|",
    "rows.(n + k)",
    "$nowhere(1)",
    "{'half': ",
]
INPUTS: list[dict[str, Any]] = [
    {"name": "one", "rows": [{"k": "a", "n": 1}, {"k": "b", "n": 2}]},
    {"name": "two", "rows": [{"k": "a", "n": 7}]},
    {"name": "none", "rows": []},
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_that_is_parsed_once_means_the_same_each_time(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after other inputs; an invalid one fails each time with the same message."""

    def results() -> list[Any]:
        found: list[Any] = []
        for given in INPUTS * 2:
            try:
                found.append(Jsonata.jsonata(text).evaluate(given))
            except JException as error:
                found.append((error.error, str(error)))
        return found

    own = results()
    monkeypatch.setattr(Parser, "parse", parse_once)

    assert results() == own


def test_machine_ends_at_its_time_limit(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]], wait_for: Callable[..., Any]
) -> None:
    """A machine that waits longer than its TimeoutSeconds is TIMED_OUT."""
    before = waiting(cloud)
    arn = run("limited", {"W": {"Type": "Wait", "Seconds": 7200, "End": True}}, TimeoutSeconds=3600)
    wait_for(lambda: waiting(cloud) > before)
    cloud.clock_jump(by=timedelta(minutes=61))
    assert ended(arn)["status"] == "TIMED_OUT"
    wait_for(lambda: waiting(cloud) == before)


def test_callback_times_out_on_the_embedded_clock(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]], wait_for: Callable[..., Any]
) -> None:
    """A person has three embedded days to respond; then the task fails with States.Timeout."""
    url = cloud.client("sqs").create_queue(QueueName="callback")["QueueUrl"]
    send = {"QueueUrl": url, "MessageBody": "{% $states.context.Task.Token %}"}
    resource = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
    task = {"Type": "Task", "Resource": resource, "Arguments": send, "TimeoutSeconds": 259_200, "End": True}
    before = waiting(cloud)
    arn = run("callback", {"T": task}, allow("sqs:SendMessage"))
    wait_for(lambda: waiting(cloud) > before)
    cloud.clock_jump(by=timedelta(days=2))
    assert cloud.client("stepfunctions").describe_execution(executionArn=arn)["status"] == "RUNNING"
    cloud.clock_jump(by=timedelta(days=2))
    result = ended(arn)
    assert (result["status"], result["error"]) == ("FAILED", "States.Timeout")


def test_stopping_an_execution_ends_its_wait(
    cloud: Cloud, run: Callable[..., str], wait_for: Callable[..., Any]
) -> None:
    """No thread of a stopped execution keeps waiting."""
    before = waiting(cloud)
    arn = run("stopped", {"W": {"Type": "Wait", "Seconds": 7200, "End": True}})
    wait_for(lambda: waiting(cloud) > before)
    cloud.client("stepfunctions").stop_execution(executionArn=arn)
    wait_for(lambda: waiting(cloud) == before)


def test_tells_the_default_bus_of_every_end_once(
    cloud: Cloud, run: Callable[..., str], ended: Callable[[str], dict[str, Any]], wait_for: Callable[..., Any]
) -> None:
    """SUCCEEDED, FAILED, ABORTED and TIMED_OUT, each once after RUNNING, in AWS's format.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    sqs, events, sfn = cloud.client("sqs"), cloud.client("events"), cloud.client("stepfunctions")
    url = sqs.create_queue(QueueName="ends")["QueueUrl"]
    queue = "arn:aws:sqs:us-east-1:000000000000:ends"
    grant = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [grant]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    pattern = {"source": ["aws.states"], "detail-type": ["Step Functions Execution Status Change"]}
    events.put_rule(Name="ends", EventPattern=json.dumps({**pattern, "detail": {"name": [{"anything-but": "x"}]}}))
    events.put_targets(Rule="ends", Targets=[{"Id": "q", "Arn": queue}])
    long = {"Wait": {"Type": "Wait", "Seconds": 3600, "Next": "Broken"}, "Broken": {"Type": "Fail", "Error": "E"}}
    arns = {
        "SUCCEEDED": run("ends-well", {"Done": {"Type": "Pass", "End": True}}),
        "FAILED": run("ends-badly", {"Broken": {"Type": "Fail", "Error": "Oops", "Cause": "because"}}),
        "ABORTED": run("ends-stopped", long),
        "TIMED_OUT": run("ends-late", long, TimeoutSeconds=1),
    }
    sfn.stop_execution(executionArn=arns["ABORTED"])
    cloud.clock_jump(by=timedelta(hours=2))
    for status, arn in arns.items():
        assert ended(arn)["status"] == status
    received: list[dict[str, Any]] = []

    def all_received() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            received.append(json.loads(message["Body"]))
        return {e["detail"]["executionArn"] for e in received if e["detail"]["status"] != "RUNNING"} >= set(
            arns.values()
        )

    wait_for(all_received)
    events.remove_targets(Rule="ends", Ids=["q"])
    events.delete_rule(Name="ends")
    for status, arn in arns.items():
        mine = [event["detail"] for event in received if event["detail"]["executionArn"] == arn]
        assert sorted(detail["status"] for detail in mine) == sorted(["RUNNING", status])
        (end,) = [detail for detail in mine if detail["status"] == status]
        assert end["stopDate"] >= end["startDate"]
    (failed,) = [
        event for event in received if event["detail"]["status"] == "FAILED" and event["resources"] == [arns["FAILED"]]
    ]
    assert (failed["detail"]["error"], failed["detail"]["cause"]) == ("Oops", "because")
    assert failed["source"] == "aws.states"
