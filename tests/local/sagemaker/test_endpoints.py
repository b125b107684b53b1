"""Endpoints by boto3."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64


def _model(plane: "Plane", name: str, **container: Any) -> None:
    plane.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=plane.role, PrimaryContainer={"Image": IMAGE} | container
    )


def test_endpoint_serves_and_goes(plane: "Plane") -> None:
    """An endpoint is Creating, then InService with its instances listed, responds, and is missing after DeleteEndpoint."""
    plane.config(plane.model("serving"), count=3)
    made = plane.sagemaker.create_endpoint(EndpointName="serving", EndpointConfigName="serving")
    assert plane.sagemaker.describe_endpoint(EndpointName="serving")["EndpointStatus"] == "Creating"
    described = plane.settled("serving")
    assert described["EndpointStatus"] == "InService"
    (variant,) = described["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentInstanceCount"], variant["CurrentWeight"]) == ("AllTraffic", 3, 1.0)
    assert variant["DeployedImages"][0]["SpecifiedImage"] == IMAGE
    assert plane.invoke("serving")["model"] == "serving"
    found = plane.events(
        lambda e: e["resources"] == [made["EndpointArn"]] and e["detail"]["EndpointStatus"] == "IN_SERVICE"
    )
    assert found[0]["detail-type"] == "SageMaker Endpoint State Change"
    listed = plane.sagemaker.list_endpoints(StatusEquals="InService", NameContains="serving")["Endpoints"]
    assert [endpoint["EndpointName"] for endpoint in listed] == ["serving"]

    plane.sagemaker.delete_endpoint(EndpointName="serving")

    def gone() -> bool:
        return not plane.sagemaker.list_endpoints(NameContains="serving")["Endpoints"]

    plane.wait(gone, "the end of the endpoint")
    with pytest.raises(ClientError, match=r'Could not find endpoint "arn:aws:sagemaker:.*:endpoint/serving"'):
        plane.sagemaker.describe_endpoint(EndpointName="serving")
    with pytest.raises(ClientError, match="Endpoint serving of account 000000000000 not found"):
        plane.invoke("serving")


def test_server_that_does_not_start_fails_the_endpoint(plane: "Plane") -> None:
    """A container that exits makes the endpoint Failed with AWS's reason; its output is in the endpoint's log group."""
    plane.config(plane.model("exiting", PING="exit"))
    plane.sagemaker.create_endpoint(EndpointName="exiting", EndpointConfigName="exiting")
    described = plane.settled("exiting")
    assert described["EndpointStatus"] == "Failed"
    assert "AllTraffic did not pass the ping health check" in described["FailureReason"]

    def lines() -> Any:
        return plane.logs.filter_log_events(logGroupName="/aws/sagemaker/Endpoints/exiting")["events"]

    assert plane.wait(lines, "the server's lines")[-1]["message"] == "this server does not start"
    with pytest.raises(ClientError, match="Cannot update failed endpoint"):
        plane.sagemaker.update_endpoint(EndpointName="exiting", EndpointConfigName="exiting")
    plane.sagemaker.delete_endpoint(EndpointName="exiting")


def test_fails_to_change_an_endpoint_that_is_being_created(plane: "Plane") -> None:
    """Before a server is healthy, updates and deletions are rejected."""
    plane.config(plane.model("unhealthy", PING="503"))
    plane.sagemaker.create_endpoint(EndpointName="unhealthy", EndpointConfigName="unhealthy")
    for change in (
        lambda: plane.sagemaker.delete_endpoint(EndpointName="unhealthy"),
        lambda: plane.sagemaker.update_endpoint(EndpointName="unhealthy", EndpointConfigName="unhealthy"),
    ):
        with pytest.raises(ClientError, match=r'Cannot update in-progress endpoint "arn:.*/unhealthy"'):
            change()


def test_model_data_that_are_no_archive_fail_the_endpoint(plane: "Plane") -> None:
    """Model data are extracted safely: an invalid tar.gz is the endpoint's failure reason."""
    plane.s3.put_object(Bucket="plane", Key="models/bad/model.tar.gz", Body=b"not an archive")
    _model(plane, "bad", ModelDataUrl="s3://plane/models/bad/model.tar.gz")
    plane.config("bad")
    plane.sagemaker.create_endpoint(EndpointName="bad", EndpointConfigName="bad")
    assert "Failed to extract model data archive" in plane.settled("bad")["FailureReason"]


def test_weights_share_the_traffic(plane: "Plane") -> None:
    """Requests are shared by weight; UpdateEndpointWeightsAndCapacities changes it, TargetVariant overrides it."""
    models = [plane.model("left"), plane.model("right")]
    variants = [
        {
            "VariantName": name.title(),
            "ModelName": name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": weight,
        }
        for name, weight in zip(models, (3.0, 1.0), strict=True)
    ]
    plane.sagemaker.create_endpoint_config(EndpointConfigName="both", ProductionVariants=variants)
    plane.endpoint("both", "both")
    seen = [plane.invoke("both")["variant"] for _ in range(80)]
    assert 45 <= seen.count("Left") <= 74  # 60 expected, over three standard deviations
    assert plane.invoke("both", TargetVariant="Right")["model"] == "right"
    plane.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="both",
        DesiredWeightsAndCapacities=[
            {"VariantName": "Left", "DesiredWeight": 0},
            {"VariantName": "Right", "DesiredInstanceCount": 4},
        ],
    )
    described = plane.settled("both")
    shown = {v["VariantName"]: (v["CurrentWeight"], v["CurrentInstanceCount"]) for v in described["ProductionVariants"]}
    assert shown == {"Left": (0.0, 1), "Right": (1.0, 4)}
    assert {plane.invoke("both")["variant"] for _ in range(10)} == {"Right"}
