"""Calls of containers by boto3: shadow copies, and containers that end.

Serverless variants by boto3.

Asynchronous endpoints by boto3.

InvokeEndpoint by boto3.
"""

import json
import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.topic_queue import subscribe_queue

if TYPE_CHECKING:
    from conftest import Plane


BUCKET = "plane"


MINUTE = timedelta(minutes=1)


def _shadowed(plane: "Plane", name: str, weight: float) -> None:
    """An endpoint with a second model as shadow, and full capture."""

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
    """A shadow with weight zero gets no copies."""
    _shadowed(plane, "unshadowed", 0.0)
    for _ in range(10):
        plane.invoke("unshadowed")
    plane.wait(lambda: len(_captured(plane, "unshadowed", "Live")) == 10, "the capture")
    assert _captured(plane, "unshadowed", "Shadow") == []


def test_a_container_that_ends_is_started_anew(plane: "Plane") -> None:
    """Calls fail until it is ready again, as model errors that clients do not retry, and count as 5XX.

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
    """By weight, or by the caller's ``TargetVariant``; weights can change in service."""
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
    """A call after an idle time is a cold start, with ``ModelSetupTime``; there are no instance metrics.

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
    """A call beyond ``MaxConcurrency`` is throttled; the limit can be raised in service."""
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
    """Guardrails do not work for serverless endpoints: a canary is silently ignored.

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


def _endpoint(plane: "Plane", name: str, data: str | None = None, **notification: str) -> None:
    """An asynchronous endpoint of two instances with one concurrent call each."""
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": plane.model(name, data),
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 2,
    }
    output: dict[str, Any] = {
        "S3OutputPath": f"s3://{BUCKET}/out/{name}/",
        "S3FailurePath": f"s3://{BUCKET}/failed/{name}",
        "NotificationConfig": notification,
    }
    plane.sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant],
        AsyncInferenceConfig={"OutputConfig": output, "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1}},
    )
    plane.endpoint(name, name)


def _invoke(plane: "Plane", name: str, body: Any = None, **kwargs: Any) -> dict[str, Any]:
    key = f"in/{name}.json"
    plane.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps({} if body is None else body))
    answer: dict[str, Any] = plane.runtime.invoke_endpoint_async(
        EndpointName=name, ContentType="application/json", InputLocation=f"s3://{BUCKET}/{key}", **kwargs
    )
    return answer


def _read(plane: "Plane", uri: str) -> Any:
    key = uri.removeprefix(f"s3://{BUCKET}/")
    found = plane.s3.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents")
    return plane.s3.get_object(Bucket=BUCKET, Key=key) if found else None


def _topic(plane: "Plane", name: str) -> tuple[str, str]:
    """A topic that the execution role may publish to, and a subscribed queue."""
    sns = plane.cloud.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = subscribe_queue(plane.sqs, sns, topic, name, RawMessageDelivery="true")
    allowed = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}
    plane.cloud.client("iam").put_role_policy(
        RoleName="execution",
        PolicyName=name,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    return topic, url


def _message(plane: "Plane", url: str) -> dict[str, Any]:
    found: dict[str, Any] = plane.wait(
        lambda: plane.sqs.receive_message(QueueUrl=url).get("Messages"), "the notification"
    )[0]
    body: dict[str, Any] = json.loads(str(found["Body"]))
    return body


def _values(plane: "Plane", metric: str, **dimensions: str) -> list[float]:
    now = plane.cloud.clock()["epoch"]
    points = plane.cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - 12 * 3600,
        EndTime=now + 3600,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    return [point["Maximum"] for point in sorted(points, key=lambda point: point["Timestamp"])]


def test_an_answer_is_an_object_and_a_notification(plane: "Plane") -> None:
    """Accepted at once; the output is at the returned location, and the topic gets a notification in AWS's format.

    https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html
    """
    topic, url = _topic(plane, "async-success")
    _endpoint(plane, "queued", SuccessTopic=topic)
    taken = _invoke(plane, "queued", InferenceId="mine")
    assert taken["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert taken["InferenceId"] == "mine"
    assert taken["OutputLocation"].startswith(f"s3://{BUCKET}/out/queued/")
    assert taken["FailureLocation"].endswith("-error.out")
    answer = json.loads(plane.wait(lambda: _read(plane, taken["OutputLocation"]), "the answer")["Body"].read())
    assert (answer["model"], answer["inference_id"]) == ("queued", "mine")
    message = _message(plane, url)
    assert (message["invocationStatus"], message["inferenceId"], message["eventName"]) == (
        "Completed",
        "mine",
        "InferenceResult",
    )
    assert message["responseParameters"] == {
        "contentType": "application/json",
        "outputLocation": taken["OutputLocation"],
    }
    assert message["requestParameters"]["inputLocation"] == f"s3://{BUCKET}/in/queued.json"
    fleet = {"EndpointName": "queued", "VariantName": "AllTraffic"}
    plane.wait(lambda: _values(plane, "InvocationsProcessed", **fleet), "the metrics")
    assert _values(plane, "Invocations", **fleet) == []
    with pytest.raises(ClientError, match=r"Endpoint queued is asynchronous; use InvokeEndpointAsync\."):
        plane.invoke("queued")


def test_an_answer_has_the_name_that_was_asked_for(plane: "Plane") -> None:
    """A caller knows the key of an output, or of a failure, from its own id."""
    _endpoint(plane, "named")
    good = _invoke(plane, "named", Filename="api-good")
    assert good["OutputLocation"] == f"s3://{BUCKET}/out/named/api-good.out"
    plane.wait(lambda: _read(plane, good["OutputLocation"]), "the answer")
    bad = _invoke(plane, "named", {"status": 400}, Filename="api-bad")
    assert bad["FailureLocation"] == f"s3://{BUCKET}/failed/named/api-bad-error.out"
    plane.wait(lambda: _read(plane, bad["FailureLocation"]), "the failure")


@pytest.mark.parametrize(
    ("body", "reason"), [({"status": 400}, "Received client error \\(400\\)"), (None, "NoSuchKey|404")]
)
def test_a_failure_is_an_object_and_a_notification(plane: "Plane", body: Any, reason: str) -> None:
    """For a model error or a missing input."""
    name = "failing" if body else "inputless"
    topic, url = _topic(plane, f"async-{name}")
    _endpoint(plane, name, ErrorTopic=topic)
    if body is None:
        taken = plane.runtime.invoke_endpoint_async(EndpointName=name, InputLocation=f"s3://{BUCKET}/in/absent.json")
    else:
        taken = _invoke(plane, name, body)
    failure = plane.wait(lambda: _read(plane, taken["FailureLocation"]), "the failure")["Body"].read().decode()
    message = _message(plane, url)
    assert (message["invocationStatus"], message["failureReason"]) == ("Failed", failure)
    assert re.search(reason, failure)
    assert _read(plane, taken["OutputLocation"]) is None
    plane.wait(
        lambda: 1.0 in _values(plane, "InvocationFailures", EndpointName=name, VariantName="AllTraffic"), "the metric"
    )


def test_what_waits_without_instances_is_told_and_wakes_one(plane: "Plane") -> None:
    """Scaled to zero nothing responds and the backlog metric rises; new instances process the queue.

    https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html
    """
    _endpoint(plane, "empty")
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 0}
    plane.sagemaker.update_endpoint_weights_and_capacities(EndpointName="empty", DesiredWeightsAndCapacities=[change])
    plane.settled("empty")
    taken = [_invoke(plane, "empty") for _ in range(3)]
    plane.cloud.clock_jump(by=5 * MINUTE)
    plane.wait(lambda: 1.0 in _values(plane, "HasBacklogWithoutCapacity", EndpointName="empty"), "the backlog")
    assert max(_values(plane, "ApproximateBacklogSize", EndpointName="empty")) == 3
    assert max(_values(plane, "ApproximateBacklogSizePerInstance", EndpointName="empty")) == 3
    assert max(_values(plane, "ApproximateAgeOfOldestRequest", EndpointName="empty")) >= 240
    assert _read(plane, taken[0]["OutputLocation"]) is None
    plane.sagemaker.update_endpoint(
        EndpointName="empty", EndpointConfigName="empty", RetainAllVariantProperties=True
    )  # the queue and its count survive an update
    assert plane.settled("empty")["ProductionVariants"][0]["CurrentInstanceCount"] == 0
    change["DesiredInstanceCount"] = 1
    plane.sagemaker.update_endpoint_weights_and_capacities(EndpointName="empty", DesiredWeightsAndCapacities=[change])
    plane.settled("empty")
    plane.cloud.clock_jump(by=MINUTE)
    for one in taken:
        plane.wait(lambda one=one: _read(plane, one["OutputLocation"]), "the answer")  # type: ignore[misc]
    plane.cloud.clock_jump(by=timedelta(days=30))
    assert _values(plane, "ApproximateBacklogSize", EndpointName="empty")[-1:] in ([0.0], [])


def test_a_request_that_waited_too_long_fails(plane: "Plane") -> None:
    """``RequestTTLSeconds`` uses the embedded clock."""
    _endpoint(plane, "late")
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 0}
    plane.sagemaker.update_endpoint_weights_and_capacities(EndpointName="late", DesiredWeightsAndCapacities=[change])
    plane.settled("late")
    taken = _invoke(plane, "late", RequestTTLSeconds=60)
    plane.cloud.clock_jump(by=5 * MINUTE)
    change["DesiredInstanceCount"] = 1
    plane.sagemaker.update_endpoint_weights_and_capacities(EndpointName="late", DesiredWeightsAndCapacities=[change])
    plane.settled("late")
    plane.cloud.clock_jump(by=MINUTE)
    failure = plane.wait(lambda: _read(plane, taken["FailureLocation"]), "the failure")["Body"].read().decode()
    assert "the request has expired in the queue" in failure


def test_fails_on_what_is_not_here(plane: "Plane") -> None:
    """A real-time endpoint and unsupported members are rejected by name."""
    plane.config(plane.model("direct"))
    plane.endpoint("direct", "direct")
    with pytest.raises(ClientError, match=r"Endpoint direct is not asynchronous; use InvokeEndpoint\."):
        _invoke(plane, "direct")
    with pytest.raises(ClientError, match="s3outputpathextension is not supported by the embedded SageMaker"):
        _invoke(plane, "direct", S3OutputPathExtension="f")


@pytest.fixture(scope="module")
def served(plane: "Plane") -> str:
    """An endpoint without capture."""
    plane.config(plane.model("invoked"))
    plane.endpoint("invoked", "invoked")
    return "invoked"


def test_headers_go_through(plane: "Plane", served: str) -> None:
    """Inference id and custom attributes reach the server, its attributes are returned."""
    response = plane.runtime.invoke_endpoint(
        EndpointName=served, ContentType="application/json", Body=b"{}", InferenceId="id-1", CustomAttributes="trace=7"
    )
    assert json.loads(response["Body"].read())["inference_id"] == "id-1"
    assert response["CustomAttributes"] == "trace=7"
    assert response["InvokedProductionVariant"] == "AllTraffic"


@pytest.mark.parametrize(("status", "who"), [(400, "client"), (503, "server")])
def test_model_error_carries_the_servers_answer(plane: "Plane", served: str, status: int, who: str) -> None:
    """A server error is ModelError 424 with the original status and message and the log group."""
    with pytest.raises(ClientError, match=rf"Received {who} error \({status}\) from primary") as error:
        plane.runtime.invoke_endpoint(
            EndpointName=served, ContentType="application/json", Body=json.dumps({"status": status})
        )
    response = error.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert json.loads(response["OriginalMessage"])["model"] == "invoked"
    assert response["LogStreamArn"].endswith("log-group:/aws/sagemaker/Endpoints/invoked")


def test_fails_on_payloads_over_the_limit(plane: "Plane", served: str) -> None:
    """A request over botocore's bound is rejected; a response over it is a ModelError."""
    with pytest.raises(ClientError, match="request of 6291457 bytes is too large; at most 6291456"):
        plane.runtime.invoke_endpoint(EndpointName=served, ContentType="application/json", Body=b" " * 6_291_457)
    with pytest.raises(ClientError, match="response too large"):
        plane.invoke(served, {"size": 6_291_456})


def test_fails_on_a_variant_that_is_not_there(plane: "Plane", served: str) -> None:
    """TargetVariant must be one of the endpoint's."""
    with pytest.raises(ClientError, match="Variant Other not found"):
        plane.invoke(served, TargetVariant="Other")
