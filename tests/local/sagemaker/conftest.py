"""Fixtures: an embedded cloud for the SageMaker tests with tiny containers; its clock runs sixty times as fast."""

import io
import json
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ministack.core.responses import request_scope

from mlops_local import cloud
from mlops_local.sagemaker import resource_store
from mlops_local.saved_state import interruptions

SCRIPTS = Path(__file__).parent / "scripts"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/tiny@sha256:" + "0" * 64
BUCKET = "plane"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}},
        }
    ],
}
SCALE = 60.0


@dataclass(frozen=True)
class Plane:
    """The cloud, and the tests' shared resources."""

    cloud: cloud.Cloud
    sagemaker: Any
    runtime: Any
    s3: Any
    logs: Any
    cloudwatch: Any
    sqs: Any
    role: str
    queue: str
    received_events: list[dict[str, Any]] = field(default_factory=list)

    def wait(self, done: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Return the first true result of ``done``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := done():
                return answer
            time.sleep(0.03)
        tail = self.cloud.log_path.read_text(errors="replace")[-3000:]
        pytest.fail(f"{what} did not happen in {seconds} s; the end of the log:\n{tail}")

    def put_model(self, name: str) -> str:
        """Upload model data whose server returns ``name``; return its URL."""
        content = name.encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            info = tarfile.TarInfo("name.txt")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        key = f"models/{name}/model.tar.gz"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=buffer.getvalue())
        return f"s3://{BUCKET}/{key}"

    def model(self, name: str, data: str | None = None, **environment: str) -> str:
        """Make a model and a config with two instances of it, both named ``name``."""
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=self.role,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": self.put_model(name if data is None else data),
                "Environment": environment,
            },
        )
        return name

    def config(self, name: str, model: str | None = None, count: int = 2, **capture: Any) -> str:
        """Make an endpoint config of one variant; ``capture`` has members of ``DataCaptureConfig``."""
        extra = {"DataCaptureConfig": capture} if capture else {}
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name if model is None else model,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": count,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **extra)
        return name

    def endpoint(self, name: str, config: str) -> None:
        """Make an endpoint and wait until it is in service."""
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        assert self.settled(name)["EndpointStatus"] == "InService"

    def settled(self, name: str) -> dict[str, Any]:
        """Wait until an endpoint has no change in progress; return its description."""

        def done() -> Any:
            described = self.sagemaker.describe_endpoint(EndpointName=name)
            return described if described["EndpointStatus"] in ("InService", "Failed") else None

        found: dict[str, Any] = self.wait(done, f"the end of the change of endpoint {name}")
        return found

    def invoke(self, name: str, body: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Invoke an endpoint with JSON; return its server's response."""
        response = self.runtime.invoke_endpoint(
            EndpointName=name,
            ContentType="application/json",
            Body=json.dumps({} if body is None else body),
            **kwargs,
        )
        answer: dict[str, Any] = json.loads(response["Body"].read())
        return answer | {"variant": response["InvokedProductionVariant"]}

    def events(self, wanted: Callable[[dict[str, Any]], bool], count: int = 1) -> list[dict[str, Any]]:
        """Return the matching SageMaker events once there are at least ``count``."""

        def received() -> list[dict[str, Any]] | None:
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                self.received_events.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            found = [event for event in self.received_events if wanted(event)]
            return found if len(found) >= count else None

        found: list[dict[str, Any]] = self.wait(received, "the event")
        return found


@pytest.fixture(autouse=True)
def no_work_left() -> Iterator[None]:
    """Fail a test that leaves work in progress in this process: `interruptions` reports that of all accounts."""
    before = interruptions.under_way()
    yield
    assert interruptions.under_way() == before


@pytest.fixture
def fresh_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Call in an account of its own; the records of the test end with it."""
    monkeypatch.setattr(resource_store, "_STORES", {})
    with request_scope(str(uuid.uuid4().int)[:12], "eu-west-1"):
        yield


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Start the cloud with a role, a bucket and a queue of SageMaker's events."""
    running = _start(tmp_path_factory.mktemp("sagemaker"))
    try:
        yield _furnish(running)
    finally:
        running.down(forget=True)


@pytest.fixture
def own_plane(tmp_path: Path) -> Iterator[Callable[[], Plane]]:
    """Start a cloud for this test only, with its resources; started again it has its earlier state."""
    planes: list[Plane] = []

    def start() -> Plane:
        running = _start(tmp_path)
        planes.append(replace(planes[-1], cloud=running) if planes else _furnish(running))
        return planes[-1]

    yield start
    cloud.connect(tmp_path).down(forget=True)


def _start(home: Path) -> cloud.Cloud:
    rows = {"tiny": {"serve": [str(SCRIPTS / "server.py")], "train": [str(SCRIPTS / "job.py")]}}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLOPS_LOCAL_RUNNERS", json.dumps(rows))
        return cloud.up(home, clock_scale=SCALE, account_count=2)


def _furnish(running: cloud.Cloud) -> Plane:
    iam, sqs, events = running.client("iam"), running.client("sqs"), running.client("events")
    role = iam.create_role(RoleName="execution", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    allowed = [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{BUCKET}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
        {
            "Effect": "Allow",
            "Action": "cloudwatch:DescribeAlarms",
            "Resource": "arn:aws:cloudwatch:*:*:alarm:guarded-*",
        },
        {"Effect": "Allow", "Action": "logs:*", "Resource": "*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam.put_role_policy(RoleName="execution", PolicyName="all", PolicyDocument=policy)
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    grant = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    sqs.set_queue_attributes(
        QueueUrl=queue, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [grant]})}
    )
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["aws.sagemaker"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
    running.client("s3").create_bucket(Bucket=BUCKET)
    return Plane(
        cloud=running,
        sagemaker=running.client("sagemaker"),
        runtime=running.client("sagemaker-runtime"),
        s3=running.client("s3"),
        logs=running.client("logs"),
        cloudwatch=running.client("cloudwatch"),
        sqs=sqs,
        role=role,
        queue=queue,
    )
