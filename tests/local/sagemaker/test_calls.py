"""Calls of containers by boto3: shadow copies, and containers that end."""

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"


def _shadowed(plane: "Plane", name: str, weight: float) -> None:
    """An endpoint whose shadow is a second model, and captures all."""

    def variant(variant: str, model: str, share: float) -> dict[str, Any]:
        instances = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        return {"VariantName": variant, "ModelName": model, "InitialVariantWeight": share, **instances}

    plane.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant("Live", plane.model(name), 1.0)],
        ShadowProductionVariants=[variant("Shadow", plane.model(f"{name}-shadow"), weight)],
        DataCaptureConfig={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{BUCKET}/capture",
            "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
            "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
        },
    )
    plane.endpoint(name, name)


def _captured(plane: "Plane", name: str, variant: str) -> list[dict[str, Any]]:
    keys = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"capture/{name}/{variant}/").get("Contents", [])
    bodies = [plane.s3.get_object(Bucket=BUCKET, Key=key["Key"])["Body"].read() for key in keys]
    return [json.loads(line) for body in bodies for line in body.splitlines()]


def test_a_shadow_answers_copies_that_nobody_gets(plane: "Plane") -> None:
    """Every call is copied; the shadow has its own capture, by variant name, and its own metrics.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
    """
    _shadowed(plane, "shadowed", 1.0)
    described = plane.sagemaker.describe_endpoint(EndpointName="shadowed")
    assert [row["VariantName"] for row in described["ShadowProductionVariants"]] == ["Shadow"]
    assert [row["VariantName"] for row in described["ProductionVariants"]] == ["Live"]
    for number in range(5):
        answer = plane.invoke("shadowed", InferenceId=f"call-{number}")
        assert (answer["model"], answer["variant"]) == ("shadowed", "Live")
    lines = plane.wait(
        lambda: rows if len(rows := _captured(plane, "shadowed", "Shadow")) == 5 else None, "the shadow's capture"
    )
    assert {json.loads(row["captureData"]["endpointOutput"]["data"])["model"] for row in lines} == {"shadowed-shadow"}
    assert sorted(row["eventMetadata"]["inferenceId"] for row in lines) == [f"call-{number}" for number in range(5)]

    def counted() -> bool:
        metrics = plane.cloudwatch.list_metrics(Namespace="AWS/SageMaker", MetricName="Invocations")["Metrics"]
        return {"Name": "VariantName", "Value": "Shadow"} in [row for metric in metrics for row in metric["Dimensions"]]

    plane.wait(counted, "the shadow's metrics")


def test_a_shadow_gets_its_share(plane: "Plane") -> None:
    """A weight of nothing beside one copies no call."""
    _shadowed(plane, "unshadowed", 0.0)
    for _ in range(10):
        plane.invoke("unshadowed")
    plane.wait(lambda: len(_captured(plane, "unshadowed", "Live")) == 10, "the capture")
    assert _captured(plane, "unshadowed", "Shadow") == []


def test_a_container_that_ends_is_started_anew(plane: "Plane") -> None:
    """Calls fail until it answers again, as errors of the model that no client repeats, and count as 5XX.

    See: https://github.com/aws/amazon-sagemaker-examples/issues/3089
    """
    plane.config(plane.model("crashing"))
    plane.endpoint("crashing", "crashing")
    codes = []
    for body in ({"exit": 3}, {}):
        try:
            plane.invoke("crashing", body)
        except ClientError as error:
            codes.append((error.response["Error"]["Code"], error.response["OriginalStatusCode"]))
            assert "could not get a response from the crashing endpoint" in error.response["OriginalMessage"]
    assert codes[0] == ("ModelError", 0)

    def answers() -> bool:
        try:
            return bool(plane.invoke("crashing")["model"] == "crashing")
        except ClientError:
            return False

    plane.wait(answers, "an answer of the new container")
    now = plane.cloud.clock()["epoch"]

    def errors() -> float:
        points = plane.cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocation5XXErrors",
            Dimensions=[{"Name": "EndpointName", "Value": "crashing"}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=now - 3600,
            EndTime=now + 3600,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    plane.wait(lambda: errors() >= 1, "the errors")


def test_several_variants_share_the_calls(plane: "Plane") -> None:
    """By weight, or by the caller's ``TargetVariant``; weights change while they serve."""
    shares = {"One": 3.0, "Two": 1.0}
    variants = [
        {
            "VariantName": name,
            "ModelName": plane.model(f"several-{name.lower()}"),
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": weight,
        }
        for name, weight in shares.items()
    ]
    plane.sagemaker.create_endpoint_config(EndpointConfigName="several", ProductionVariants=variants)
    plane.endpoint("several", "several")
    seen = [plane.invoke("several")["variant"] for _ in range(80)]
    assert 45 <= seen.count("One") <= 74  # 60 expected, nearly four standard deviations
    assert {plane.invoke("several", TargetVariant="Two")["model"] for _ in range(3)} == {"several-two"}
    plane.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="several", DesiredWeightsAndCapacities=[{"VariantName": "One", "DesiredWeight": 0.0}]
    )
    plane.settled("several")
    assert {plane.invoke("several")["variant"] for _ in range(10)} == {"Two"}
