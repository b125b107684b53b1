"""Asynchronous endpoints by boto3."""

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

BUCKET = "plane"
MINUTE = timedelta(minutes=1)


def _endpoint(plane: "Plane", name: str, data: str | None = None, **notification: str) -> None:
    """An asynchronous endpoint of two instances, each of which takes one call at a time."""
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
    """A topic that the execution role may publish to, and a queue that hears it."""
    sns = plane.cloud.client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = plane.sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = plane.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    grant = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [grant]})
    plane.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
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
    """Accepted at once; the answer lands where the response says, and the topic hears of it in AWS's shape.

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


@pytest.mark.parametrize(
    ("body", "reason"), [({"status": 400}, "Received client error \\(400\\)"), (None, "NoSuchKey|404")]
)
def test_a_failure_is_an_object_and_a_notification(plane: "Plane", body: Any, reason: str) -> None:
    """A model that refuses, or an input that is not there."""
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
    """Scaled to zero nothing answers and the backlog is told; instances that come take it.

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
    )  # the queue survives an update, and so does the count
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
    """``RequestTTLSeconds`` is on the embedded clock."""
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
    """A real-time endpoint, and members that are not imitated, are refused by name."""
    plane.config(plane.model("direct"))
    plane.endpoint("direct", "direct")
    with pytest.raises(ClientError, match=r"Endpoint direct is not asynchronous; use InvokeEndpoint\."):
        _invoke(plane, "direct")
    with pytest.raises(ClientError, match="filename is not supported by the embedded SageMaker"):
        _invoke(plane, "direct", Filename="f")
