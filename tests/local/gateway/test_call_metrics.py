"""Metrics of APIs."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.local.gateway.conftest import Api, Front
from tests.local.gateway.test_execution import OK

from mlops_local.gateway.call_metrics import values


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
