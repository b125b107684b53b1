"""Log groups and metrics of a function's invocations."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud
if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud

HANDLER = """
import json
def handler(event, context):
    print(json.dumps(event.get("line")))
    return 1 / event["by"]
"""


def test_a_log_group_that_went_stays_gone(cloud: Cloud, make_function: Callable[..., str], unique: str) -> None:
    """A deleted log group stays deleted until the function's role may create it."""
    logs, client, group = cloud.client("logs"), cloud.client("lambda"), f"{unique}-logs"
    code = {"handler.py": "def handler(event, context):\n    print('hello')\n"}

    def groups_after_a_call() -> list[str]:
        assert client.invoke(FunctionName=unique)["StatusCode"] == 200
        return [row["logGroupName"] for row in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]]

    logs.create_log_group(logGroupName=group)
    make_function(cloud, unique, code)
    client.update_function_configuration(FunctionName=unique, LoggingConfig={"LogGroup": group})
    assert groups_after_a_call() == [group]
    assert logs.describe_log_streams(logGroupName=group)["logStreams"]
    logs.delete_log_group(logGroupName=group)
    assert groups_after_a_call() == []

    statement = {"Effect": "Allow", "Action": "logs:CreateLogGroup", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    cloud.client("iam").put_role_policy(RoleName=f"{unique}-role", PolicyName="logs", PolicyDocument=document)
    assert groups_after_a_call() == [group]


def test_calls_of_a_schedule_are_counted(cloud: Cloud, make_function: Callable[..., str], unique: str) -> None:
    """Counts calls of every kind of caller, also of a rule, which sends no client request."""
    arn = make_function(cloud, unique, {"handler.py": HANDLER.replace('event["by"]', "1")})
    events, now = cloud.client("events"), datetime.fromisoformat(cloud.clock()["now"])
    events.put_rule(Name=unique, ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule=unique, Targets=[{"Id": "t", "Arn": arn}])
    cloud.client("lambda").add_permission(
        FunctionName=unique, StatementId="s", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    )
    cloud.clock_jump(by=timedelta(minutes=61))
    events.disable_rule(Name=unique)
    assert _counted(cloud, unique, "Invocations", now) == [(1, 1)]


def _counted(cloud: Cloud, function: str, metric: str, since: datetime) -> list[tuple[float, float]]:
    """Sum and sample count of a function's metric."""
    points = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName=metric,
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=since - timedelta(hours=1),
        EndTime=since + timedelta(hours=3),
        Period=14400,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    return [(point["Sum"], point["SampleCount"]) for point in points]


def test_calls_and_failures_are_counted(cloud: Cloud, make_function: Callable[..., str], unique: str) -> None:
    """Three calls, one of which fails; an embedded-metric log line for a hundred more adds nothing to AWS's namespace."""
    make_function(cloud, unique, {"handler.py": HANDLER})
    now = datetime.fromisoformat(cloud.clock()["now"])
    directive = {"Namespace": "AWS/Lambda", "Dimensions": [["FunctionName"]], "Metrics": [{"Name": "Invocations"}]}
    metadata = {"Timestamp": int(now.timestamp() * 1000), "CloudWatchMetrics": [directive]}
    line = {"_aws": metadata, "FunctionName": unique, "Invocations": 100}

    for by in (1, 0, 2):
        cloud.client("lambda").invoke(FunctionName=unique, Payload=json.dumps({"by": by, "line": line}))

    assert _counted(cloud, unique, "Invocations", now) == [(3, 3)]
    assert _counted(cloud, unique, "Errors", now) == [(1, 3)]
    [(_, timed)] = _counted(cloud, unique, "Duration", now)
    assert timed == 3
