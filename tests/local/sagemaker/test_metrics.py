"""Metrics of endpoints by boto3."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"


def test_metrics_count_what_was_invoked(plane: "Plane") -> None:
    """Every invocation is in AWS/SageMaker by endpoint and variant, in the minute of the embedded clock."""
    plane.config(plane.model("measured"))
    plane.endpoint("measured", "measured")
    before = datetime.fromisoformat(plane.cloud.clock()["now"])
    for status in (200, 200, 400, 500):
        try:
            plane.invoke("measured", {"status": status})
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"

    def total(name: str, statistic: str = "Sum", config: str | None = None) -> float:
        dimensions = {"EndpointName": "measured", "VariantName": "AllTraffic"}
        if config is not None:
            dimensions["EndpointConfigName"] = config
        points = plane.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=before - timedelta(minutes=2),
            EndTime=before + timedelta(hours=3),
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        return sum(point[statistic] for point in points)

    plane.wait(lambda: total("Invocations") == 4, "the metrics")
    names = ("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors")
    assert [total(name) for name in names] == [1, 1, 2]
    assert total("Invocation5XXErrors", "SampleCount") == 4
    assert 0 < total("ModelLatency") < 4 * 5e6
    assert total("OverheadLatency") > 0
    assert total("Invocations", config="measured") == 0

    plane.sagemaker.update_endpoint(EndpointName="measured", EndpointConfigName="measured")
    plane.settled("measured")
    plane.invoke("measured")
    plane.wait(lambda: total("Invocations", config="measured") == 1, "the metric by fleet")
