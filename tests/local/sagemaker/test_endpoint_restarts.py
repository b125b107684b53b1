"""Endpoints and jobs across a restart of the embedded cloud."""

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from mlops_local.sagemaker import endpoint_restarts, endpoints, fleets
from mlops_local.sagemaker.endpoint_restarts import STOPPED

if TYPE_CHECKING:
    from conftest import Plane

BAKE = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "WaitIntervalInSeconds": 3600,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        },
        "MaximumExecutionTimeoutInSeconds": 28_800,
    }
}


def _endpoints(plane: "Plane") -> dict[str, Any]:
    """Make an endpoint in each state that a stop may meet; return the descriptions of those in service."""
    plane.config(plane.model("steady"), count=3, EnableCapture=True, InitialSamplingPercentage=100,
                 DestinationS3Uri="s3://plane/capture", CaptureOptions=[{"CaptureMode": "Output"}])  # fmt: skip
    plane.endpoint("steady", "steady")
    weights = [{"VariantName": "AllTraffic", "DesiredWeight": 0.5, "DesiredInstanceCount": 5}]
    plane.sagemaker.update_endpoint_weights_and_capacities(EndpointName="steady", DesiredWeightsAndCapacities=weights)
    plane.settled("steady")
    plane.config(plane.model("blue"))
    plane.endpoint("baking", "blue")
    plane.config(plane.model("green"))
    before = plane.sagemaker.describe_endpoint(EndpointName="baking")
    plane.sagemaker.update_endpoint(EndpointName="baking", EndpointConfigName="green", DeploymentConfig=BAKE)

    def is_baking() -> bool:
        pending = plane.sagemaker.describe_endpoint(EndpointName="baking").get("PendingDeploymentSummary", {})
        return any(row["VariantStatus"][0]["Status"] == "Baking" for row in pending.get("ProductionVariants", []))

    plane.wait(is_baking, "the bake")
    plane.config(plane.model("slow", PING="503"))
    plane.sagemaker.create_endpoint(EndpointName="starting", EndpointConfigName="slow")
    return {"steady": plane.sagemaker.describe_endpoint(EndpointName="steady"), "baking": before}


def _job(plane: "Plane") -> None:
    plane.sagemaker.create_training_job(
        TrainingJobName="long",
        RoleArn=plane.role,
        AlgorithmSpecification={
            "TrainingImage": "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64,
            "TrainingInputMode": "File",
        },
        OutputDataConfig={"S3OutputPath": "s3://plane/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        HyperParameters={"end": "never"},
    )
    plane.wait(
        lambda: plane.sagemaker.describe_training_job(TrainingJobName="long")["SecondaryStatus"] == "Training",
        "the training",
    )


def test_endpoints_serve_again_as_they_were(own_plane: Callable[[], "Plane"]) -> None:
    """With changed weights, counts and capture; a baking endpoint serves the old config, a starting one is Failed."""
    plane = own_plane()
    before = _endpoints(plane)
    _job(plane)
    under_way = ["endpoint baking (Updating)", "endpoint starting (Creating)", "training job long"]
    assert plane.cloud.saved_state()["under_way"] == under_way
    plane.cloud.down()

    plane = own_plane()
    state = plane.cloud.saved_state()
    assert state["restored"]["failed"] == []
    assert state["restored"]["interrupted"] == under_way
    assert state["under_way"] == []
    after = plane.sagemaker.describe_endpoint(EndpointName="steady")
    assert {**after, "ResponseMetadata": 0} == {**before["steady"], "ResponseMetadata": 0}
    assert plane.invoke("steady")["model"] == "steady"
    capture = plane.wait(lambda: plane.s3.list_objects_v2(Bucket="plane", Prefix="capture/").get("Contents"), "capture")
    assert capture

    baking = plane.sagemaker.describe_endpoint(EndpointName="baking")
    assert (baking["EndpointStatus"], baking["EndpointConfigName"]) == ("InService", "blue")
    assert "PendingDeploymentSummary" not in baking
    assert baking["ProductionVariants"] == before["baking"]["ProductionVariants"]
    assert {plane.invoke("baking")["model"] for _ in range(10)} == {"blue"}
    starting = plane.sagemaker.describe_endpoint(EndpointName="starting")
    assert (starting["EndpointStatus"], starting["FailureReason"]) == ("Failed", STOPPED)

    job = plane.sagemaker.describe_training_job(TrainingJobName="long")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"], job["FailureReason"]) == ("Failed", "Failed", STOPPED)
    (event,) = plane.events(lambda e: e["detail"].get("TrainingJobName") == "long" and _is_failed(e))
    assert event["detail"]["FailureReason"] == STOPPED

    plane.sagemaker.update_endpoint(EndpointName="baking", EndpointConfigName="green")
    assert plane.settled("baking")["EndpointConfigName"] == "green"
    assert plane.invoke("baking")["model"] == "green"


def _is_failed(event: dict[str, Any]) -> bool:
    return bool(event["detail"].get("TrainingJobStatus") == "Failed")


def test_requests_wait_for_the_servers_of_their_endpoint(own_plane: Callable[[], "Plane"]) -> None:
    """The port responds before the servers have started; neither invocations nor descriptions are rejected meanwhile."""
    plane = own_plane()
    plane.config(plane.model("early"))
    plane.endpoint("early", "early")
    plane.cloud.down()
    answers: list[str] = []

    def ask(answer: Callable[[], str]) -> None:
        found = ""
        while not found:
            with contextlib.suppress(BotoCoreError):  # nothing listens yet
                try:
                    found = answer()
                except ClientError as error:
                    found = str(error)
        answers.append(found)

    def variant() -> str:
        described = plane.sagemaker.describe_endpoint(EndpointName="early")
        return str(described["ProductionVariants"][0]["VariantName"])

    requested = [
        threading.Thread(target=ask, args=(each,), daemon=True)
        for each in (lambda: str(plane.invoke("early")["model"]), variant)
    ]
    for thread in requested:
        thread.start()
    own_plane()
    for thread in requested:
        thread.join(60)
    assert sorted(answers) == ["AllTraffic", "early"]


def test_a_model_without_its_data_fails_by_name(own_plane: Callable[[], "Plane"]) -> None:
    """The start reports the endpoint that does not serve, and the others do."""
    plane = own_plane()
    for name in ("one", "two"):
        plane.config(plane.model(name))
        plane.endpoint(name, name)
    plane.s3.delete_object(Bucket="plane", Key="models/one/model.tar.gz")
    plane.cloud.down()
    plane = own_plane()
    (problem,) = plane.cloud.saved_state()["restored"]["failed"]
    assert problem.startswith("endpoint one: Failed to extract model data archive from s3://plane/models/one/")
    failed = plane.sagemaker.describe_endpoint(EndpointName="one")
    assert failed["EndpointStatus"] == "Failed"
    assert problem.endswith(failed["FailureReason"])
    assert plane.invoke("two")["model"] == "two"


def test_a_deleted_endpoint_is_gone(own_plane: Callable[[], "Plane"]) -> None:
    """Also if the stop came while its servers were ending: a call keeps one from ending."""
    plane = own_plane()
    plane.config(plane.model("leaving"))
    plane.endpoint("leaving", "leaving")
    caller = threading.Thread(target=_call_long, args=(plane,), daemon=True)
    caller.start()
    plane.sagemaker.delete_endpoint(EndpointName="leaving")
    plane.cloud.down()
    plane = own_plane()
    assert plane.sagemaker.list_endpoints()["Endpoints"] == []
    plane.endpoint("leaving", "leaving")
    assert plane.invoke("leaving")["model"] == "leaving"


def _call_long(plane: "Plane") -> None:
    with contextlib.suppress(ClientError, BotoCoreError):  # it ends with the cloud
        plane.invoke("leaving", {"sleep": 5})


def test_what_this_machine_cannot_start_is_named_and_waits_for_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint is Failed until then, and in service once its servers start; a newly created one is unaffected."""
    arn = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/churn"
    record = {"EndpointName": "churn", "EndpointArn": arn, "EndpointStatus": "InService"}
    state = endpoints.Live(seed=7)
    saved = {"seed": 7, "compared": state.compared, "generator": state.generator.getstate(), "fleet": {"config": "x"}}
    monkeypatch.setattr(endpoints, "_LIVE", {arn: state})
    monkeypatch.setattr(endpoint_restarts, "_WAITING", {})

    def fails(*_: object) -> fleets.Fleet:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(fleets, "start_again", fails)
    problem = endpoint_restarts._serve(record, state, saved)
    assert problem == (
        "endpoint churn: its servers cannot start: [Errno 12] Cannot allocate memory; "
        "the next start of the embedded cloud tries again"
    )
    assert record["EndpointStatus"] == "Failed"
    kept = endpoint_restarts._save()[arn]
    assert kept == {**saved, "is_awaited": True}

    fleet = fleets.Fleet(config="x", servers={}, capture=None)
    monkeypatch.setattr(fleets, "start_again", lambda *_: fleet)
    assert endpoint_restarts._serve(record, state, kept) is None
    assert (record["EndpointStatus"], "FailureReason" in record, state.fleet) == ("InService", False, fleet)
    assert endpoint_restarts._save()[arn]["fleet"]["servers"] == {}
    monkeypatch.setattr(endpoints, "_LIVE", {arn: endpoints.Live(seed=8)})
    assert endpoint_restarts._save()[arn]["seed"] == 8
