"""Log groups of functions.

See: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlops_local.cloud import Cloud


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
