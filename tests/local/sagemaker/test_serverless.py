"""Serverless variants by boto3."""

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane


def _serverless(plane: "Plane", name: str, **config: int) -> None:
    plane.model(name)
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5} | config,
    }
    plane.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])


def _sum(plane: "Plane", endpoint: str, metric: str) -> float:
    now = plane.cloud.clock()["epoch"]
    points = plane.cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
        StartTime=now - 6 * 3600,
        EndTime=now + 3600,
        Period=60,
        Statistics=["SampleCount"],
    )["Datapoints"]
    return float(sum(point["SampleCount"] for point in points))


def _log_streams(plane: "Plane", endpoint: str) -> int:
    return len(plane.logs.describe_log_streams(logGroupName=f"/aws/sagemaker/Endpoints/{endpoint}")["logStreams"])


def test_rests_when_idle_and_starts_for_the_next_call(plane: "Plane") -> None:
    """A call after a while is a cold start, with ``ModelSetupTime``; nothing is said of instances.

    https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html (ModelSetupTime)
    """
    _serverless(plane, "sleeper")
    plane.endpoint("sleeper", "sleeper")
    variant = plane.sagemaker.describe_endpoint(EndpointName="sleeper")["ProductionVariants"][0]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert "CurrentInstanceCount" not in variant
    assert plane.invoke("sleeper")["model"] == "sleeper"
    plane.cloud.clock_jump(by=timedelta(hours=1))
    assert plane.invoke("sleeper")["model"] == "sleeper"
    plane.wait(lambda: _sum(plane, "sleeper", "ModelSetupTime") == 1, "the metric of the cold start")
    assert _sum(plane, "sleeper", "Invocations") == 2
    assert _sum(plane, "sleeper", "InvocationsPerInstance") == 0
    plane.wait(lambda: _log_streams(plane, "sleeper") == 2, "the log of the second start")


def test_throttles_calls_over_its_concurrency(plane: "Plane") -> None:
    """With all of ``MaxConcurrency`` in use a call is told to come back; a larger one can be set while it serves."""
    _serverless(plane, "narrow", MaxConcurrency=1)
    plane.endpoint("narrow", "narrow")
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(plane.invoke("narrow", {"sleep": 1.0})))
    thread.start()

    impatient = boto3.client(
        "sagemaker-runtime",
        endpoint_url=plane.cloud.endpoint_url,
        region_name="us-east-1",
        **plane.cloud.root_keys(),
        config=Config(retries={"total_max_attempts": 1}),
    )

    def throttled() -> bool:
        try:
            impatient.invoke_endpoint(EndpointName="narrow", ContentType="application/json", Body=b"{}")
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "ThrottlingException")
        return False

    plane.wait(throttled, "a throttled call")
    thread.join()
    assert answers[0]["model"] == "narrow"
    change: dict[str, Any] = {"VariantName": "AllTraffic", "ServerlessUpdateConfig": {"MaxConcurrency": 20}}
    plane.sagemaker.update_endpoint_weights_and_capacities(EndpointName="narrow", DesiredWeightsAndCapacities=[change])
    described = plane.settled("narrow")
    assert described["ProductionVariants"][0]["CurrentServerlessConfig"]["MaxConcurrency"] == 20
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
    with pytest.raises(ClientError, match="DesiredInstanceCount cannot be set for variant AllTraffic"):
        plane.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="narrow", DesiredWeightsAndCapacities=[change]
        )


def test_updates_all_at_once(plane: "Plane") -> None:
    """Guardrails do not work for serverless endpoints: a canary is silently none.

    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    """
    _serverless(plane, "swap", ProvisionedConcurrency=1)
    _serverless(plane, "swap-new")
    plane.endpoint("swap", "swap")
    routing = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10}, "WaitIntervalInSeconds": 3600}
    guard = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    plane.sagemaker.update_endpoint(EndpointName="swap", EndpointConfigName="swap-new", DeploymentConfig=guard)
    assert plane.settled("swap")["EndpointConfigName"] == "swap-new"
    assert plane.invoke("swap")["model"] == "swap-new"
