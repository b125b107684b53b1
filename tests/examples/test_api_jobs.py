"""Jobs of an API on the embedded cloud with IAM enforced: a deployed asynchronous endpoint answers them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from examples.retail.loop import Loop
from tests.examples import models
from tests.examples.api_door import Answer, ApiDoor
from tests.examples.test_inference_api import FORBIDDEN, REFUSED, SCHEMA
from tests.examples.used_rights import roles_of, unused_rights

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    InferenceApi,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    RequestSchema,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cloud

JOBS = "/v1/models/doubled/jobs"
BODY = b'{"instances": [{"x": 2.0}]}'


def synthesize(folder: Path) -> Path:
    """Synthesize a unit with an asynchronous endpoint and its API, a permitted caller and another one."""
    app = cdk.App(outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Door")
    unit = BusinessUnit(stack, "Unit", name="pilot", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="night")
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="night",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST),
        capacity=EndpointCapacity.asynchronous("ml.m5.large", instance_count=1),
    )
    (folder / "doubled.schema.json").write_text(json.dumps(SCHEMA))
    api = InferenceApi(stack, "Api", business_unit=unit)
    api.add_model("doubled", endpoint, request=RequestSchema.from_file(folder / "doubled.schema.json"), max_rate=1000)
    shop, other = (iam.Role(stack, name, assumed_by=iam.AccountRootPrincipal()) for name in ("Shop", "Other"))
    api.grant_predict(shop, "doubled")
    assert endpoint.exchange is not None
    outputs = {
        "ApiId": api.rest_api.rest_api_id,
        "ShopRole": shop.role_arn,
        "OtherRole": other.role_arn,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        "ExchangeBucket": endpoint.exchange.bucket.bucket_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "cdk.out"


class Door(ApiDoor):
    """The deployed stack with a model that answers jobs."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.allow_logs()
        self.outputs = deployer.deploy(cloud, synthesize(folder))["Door"]
        self.loop = Loop(client=cloud.client, outputs=self.outputs, unit="pilot", now=self.now)
        self.approve(models.register(self.loop, 2.0))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Deploy the stack and its first model; the last test of this file deletes the endpoint."""
    folder = tmp_path_factory.mktemp("jobs")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Door(cloud, folder)
    finally:
        local_cloud.connect(cloud.home).down(forget=True)


def submit(door: Door, body: bytes = BODY, **given: Any) -> str:
    """Submit a job, and return its id."""
    answer = door.call(body, path=JOBS, **given)
    assert answer.status == 202, answer
    result = json.loads(answer.body)
    assert result["status"] == "running"
    return str(result["id"])


def read(door: Door, job: str, **given: Any) -> Answer:
    """Read a job."""
    return door.call(b"", path=f"{JOBS}/{job}", verb="GET", **given)


def ended(door: Door, job: str, wait_for: Callable[..., Any]) -> Answer:
    """Wait for the end of a job."""
    found: Answer = wait_for(lambda: answer if (answer := read(door, job)).status != 202 else None)
    return found


def test_a_job_is_answered_by_the_model(door: Door, wait_for: Callable[..., Any]) -> None:
    """The request is encrypted with the unit's key, under the gateway's id; the result is the model's."""
    job = submit(door)
    answer = ended(door, job, wait_for)

    assert (answer.status, json.loads(answer.body)) == (200, {"predictions": [4.0]})
    assert answer.headers["content-type"] == "application/json"
    key = f"requests/{door.outputs['EndpointName']}/api/{job}"
    kept = door.loop.s3.get_object(Bucket=door.outputs["ExchangeBucket"], Key=key)
    assert (kept["Body"].read(), kept["ServerSideEncryption"]) == (BODY, "aws:kms")


def test_a_job_may_be_larger_than_a_prediction(door: Door, wait_for: Callable[..., Any]) -> None:
    """It may exceed the firewall's inspection limit, up to API Gateway's limit; 11 MB are rejected by name."""
    job = submit(door, BODY + b" " * 200 * 1024)
    assert ended(door, job, wait_for).status == 200

    answer = door.call(BODY + b" " * 11 * 1024 * 1024, path=JOBS)
    assert answer.status == 413
    assert json.loads(answer.body)["detail"] == "the body is larger than the API's maximum of 10 MB"
    assert not FORBIDDEN.search(answer.body)


def test_a_caller_cannot_name_the_object_of_a_job(door: Door) -> None:
    """Callers choose only the request's id."""
    chosen = "01234567-89ab-cdef-0123-456789abcdef"
    jobs = {submit(door, x_amzn_requestid=chosen) for _ in range(2)}

    assert len(jobs) == 2
    assert all(re.fullmatch(r"[\w-]{15}", job) for job in jobs)


def test_a_failed_job_says_so(door: Door, wait_for: Callable[..., Any]) -> None:
    """The row satisfies the schema but not the model; SageMaker's message is not shown to callers."""
    answer = ended(door, submit(door, b'{"instances": [[1e300]]}'), wait_for)

    assert (answer.status, json.loads(answer.body)["title"]) == (502, "job_failed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert not FORBIDDEN.search(answer.body)


@pytest.mark.parametrize("case", ["a text", "no JSON", "too many rows"])
def test_a_body_is_held_to_the_promise(case: str, door: Door) -> None:
    """The schema applies as for predictions."""
    answer = door.call(REFUSED[case], path=JOBS)

    assert (answer.status, json.loads(answer.body)["title"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ("AAAAAAAAAAAAAAA", 202), ("short", 404), ("a" * 65, 404), ("..%2Frequests%2Fpilot-night%2Fapi%2FAAAA", 403),
        ("AAAAAAAA%3Fversions", 404), ("AAAAAAAA/../../x", 403),
    ],
)  # fmt: skip
def test_an_id_is_not_a_path_into_the_bucket(job: str, status: int, door: Door) -> None:
    """An impossible id is not found; a possible but unknown one may still run."""
    answer = read(door, job)

    assert answer.status == status
    assert (answer.headers.get("retry-after") == "5") is (status == 202)
    assert (answer.headers["content-type"] == "application/problem+json") is (status != 202)
    assert not FORBIDDEN.search(answer.body)


def test_only_granted_callers_have_jobs(door: Door) -> None:
    """Covers both methods."""
    job = submit(door)
    for role in (None, "OtherRole"):
        assert door.call(BODY, path=JOBS, role=role).status == 403
        assert read(door, job, role=role).status == 403


def test_a_job_of_an_endpoint_that_is_gone_fails(door: Door, wait_for: Callable[..., Any]) -> None:
    """S3 accepts the request, and the job fails instead of waiting forever."""
    sagemaker, name = door.cloud.client("sagemaker"), door.outputs["EndpointName"]
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    answer = ended(door, submit(door), wait_for)

    assert (answer.status, json.loads(answer.body)["title"]) == (502, "job_failed")
    assert not FORBIDDEN.search(answer.body)


def test_the_roles_of_jobs_have_no_right_that_no_job_used(door: Door) -> None:
    """Exceptions are Lambda's own use of log, queue and environment, and listing, without which S3 returns 403."""
    roles = [unused_rights(door.cloud, arn) for arn in roles_of(door.cloud, "ApiJobs")]

    via = "lambda.us-east-1.amazonaws.com sqs.us-east-1.amazonaws.com"
    lambdas = {"logs:CreateLogStream", "logs:PutLogEvents", f"kms:Decrypt {via}", f"kms:GenerateDataKey {via}"}
    assert sorted(roles, key=len) == [{"s3:ListBucket"}, lambdas]
