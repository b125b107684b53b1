"""Access logs of stages."""

import json
from collections.abc import Callable
from typing import Any

from tests.local.gateway.conftest import PREDICTIONS, Api, Front
from tests.local.gateway.test_execution import OK

from mlops_local.gateway.access_logs import line

FORMAT = (
    '{"id":"$context.requestId","status":"$context.status","path":"$context.resourcePath","length":"$context.responseLength",'
    '"integration":"$context.integration.status","latency":"$context.integrationLatency","why":"$context.error.message",'
    '"who":"$context.identity.userArn","firewall":"$context.wafResponseCode"}'
)


def test_a_call_writes_a_line_in_the_format_of_its_stage(
    front: Front, make_api: Callable[..., Api], wait_for: Callable[..., Any]
) -> None:
    """To the log group, with the integration's response, the gateway's rejection and the caller."""
    api, group = make_api(), f"/api/{front.api().id}"
    api.method("/ok", {"200": {}}, type="AWS", uri=PREDICTIONS, credentials=front.may_predict())
    api.method("/iam", {"200": {}}, method={"authorizationType": "AWS_IAM"}, **OK)
    api.deploy()
    logs = front.cloud.client("logs")
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}"
    front.gateway.update_stage(
        restApiId=api.id,
        stageName="live",
        patchOperations=[
            {"op": "replace", "path": "/accessLogSettings/destinationArn", "value": arn},
            {"op": "replace", "path": "/accessLogSettings/format", "value": FORMAT},
        ],
    )
    seen = [api.call("/ok"), api.call("/iam"), api.call("/iam", sign="execute-api")]

    def lines() -> list[dict[str, Any]]:
        found = [json.loads(event["message"]) for event in logs.filter_log_events(logGroupName=group)["events"]]
        return found if len(found) == 3 else []

    by_id = {each["id"]: each for each in wait_for(lines)}
    first, second, third = (by_id[each.headers["x-amzn-requestid"]] for each in seen)
    assert (first["status"], first["path"], first["length"], first["integration"]) == (
        "200",
        "/ok",
        str(len(seen[0].body)),
        "200",
    )
    assert first["latency"].isdecimal()
    assert (second["status"], second["why"], second["integration"]) == ("403", "Missing Authentication Token", "-")
    assert (third["who"], third["why"]) == ("arn:aws:iam::000000000000:root", "-")


def test_a_value_cannot_begin_a_line_of_its_own() -> None:
    """Line breaks and quotes of a caller are escaped."""
    context = {"path": '/x"\n{"id": "forged"}'}
    assert json.loads(line('{"path":"$context.path"}', context)) == context
    assert "\n" not in line("$context.path", context)
