"""Access logs and metrics of requests."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.local.gateway.conftest import PREDICTIONS, Api, Front
from tests.local.gateway.test_execution import OK

from mlops_local.gateway.request_telemetry import line, values

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


def test_each_call_counts_once_by_api_and_stage(
    front: Front, make_api: Callable[..., Api], wait_for: Callable[..., Any]
) -> None:
    """Callers' errors are counted beside all calls; methods too if the stage enables it."""
    api = make_api()
    api.method("/x", {"200": {}}, **OK)
    api.deploy()
    patch = [{"op": "replace", "path": "/*/*/metrics/enabled", "value": "true"}]
    front.gateway.update_stage(restApiId=api.id, stageName="live", patchOperations=patch)
    name = front.gateway.get_rest_api(restApiId=api.id)["name"]
    for path in ("/x", "/x", "/y"):
        api.call(path)
    now = datetime.fromisoformat(str(front.cloud.clock()["now"]))

    def total(metric: str, **dimensions: str) -> float:
        points = front.cloud.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/ApiGateway", MetricName=metric, StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5), Period=60, Statistics=["Sum"],
            Dimensions=[{"Name": key, "Value": value} for key, value in {"ApiName": name, **dimensions}.items()],
        )["Datapoints"]  # fmt: skip
        return sum(point["Sum"] for point in points)

    wait_for(lambda: total("Count") == 3)
    assert (total("Count", Stage="live"), total("4XXError", Stage="live"), total("5XXError")) == (3, 1, 0)
    assert total("Count", Stage="live", Method="POST", Resource="/x") == 2


def test_latencies_are_whole_milliseconds() -> None:
    """The integration's latency only if it was called."""
    assert values(200, 0.0123, None) == {"Count": 1.0, "4XXError": 0.0, "5XXError": 0.0, "Latency": 12.0}
    assert values(502, 0.0123, 0.01)["IntegrationLatency"] == 10.0
