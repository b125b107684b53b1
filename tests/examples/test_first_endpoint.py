"""A first endpoint on the embedded cloud: created by an approval, kept by deployments, protected from tampered models."""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_iam as iam
from botocore.exceptions import ClientError
from examples.retail.loop import Loop
from tests.examples import models
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
)
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, Outcome
from mlops_runtime.monitor.monitors.label_join import Timed, join
from mlops_runtime.monitor.window import hour_of
from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.registry.package_approval import approval_description
from mlops_runtime.registry.package_registry import Approver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cloud

LABELS = "labels/pilot-first/"


def synthesize(
    folder: Path,
    *,
    percent: int,
    team: str,
    more: Callable[[cdk.Stack, BusinessUnit, ModelEndpoint], dict[str, str]] | None = None,
) -> Path:
    """Synthesize a unit with one endpoint and additions into its own folder, and return the assembly."""
    app = cdk.App(outdir=str(folder))
    stack = cdk.Stack(app, "First")
    cdk.Tags.of(stack).add("team", team)
    unit = BusinessUnit(stack, "Unit", name="pilot", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="first")
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="first",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest=models.DIGEST),
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        capture=DataCapture(sampling_percent=percent),
    )
    feed = iam.Role(stack, "Feed", assumed_by=iam.AccountRootPrincipal())
    endpoint.grant_labels(feed)
    outputs = {
        "FeedRoleArn": feed.role_arn,
        "CaptureBucket": endpoint.capture_bucket.bucket_name if endpoint.capture_bucket else "",
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
        **({} if more is None else more(stack, unit, endpoint)),
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder


class Endpoint:
    """The deployed stack and its loop; ``more`` adds to the stack, and returns further outputs."""

    def __init__(
        self,
        cloud: local_cloud.Cloud,
        folder: Path,
        more: Callable[[cdk.Stack, BusinessUnit, ModelEndpoint], dict[str, str]] | None = None,
    ) -> None:
        self.cloud, self.folder, self.more, self.number = cloud, folder, more, 0
        self.deploy(percent=100, team="a")

    def deploy(self, *, percent: int, team: str) -> list[deployer.ResourceEvent]:
        """Deploy the stack, wait for the Deploy machine, and return the resource events."""
        self.number += 1
        events: list[deployer.ResourceEvent] = []
        assembly = synthesize(self.folder / str(self.number), percent=percent, team=team, more=self.more)
        outputs = deployer.deploy(self.cloud, assembly, on_event=events.append)["First"]
        self.loop = Loop(
            client=self.cloud.client,
            outputs=outputs,
            unit="pilot",
            now=lambda: datetime.fromisoformat(self.cloud.clock()["now"]),
        )
        self.loop.wait_idle("DeployMachineArn")
        return events

    def approve(
        self,
        factor: float,
        *,
        sha256: str | None = None,
        error: str | None = None,
        in_role: bool = True,
        baseline: bytes | None = None,
    ) -> None:
        """Register and approve a model that multiplies by ``factor``, and wait for its rollout."""
        package = models.register(self.loop, factor, sha256=sha256, baseline=baseline)
        seen = {e["executionArn"] for e in self.loop.executions("DeployMachineArn")}
        if in_role:
            self.loop.approve(package, "a person looked at it")
        else:
            # as an administrator could, with a valid description
            described = self.loop.sagemaker.describe_model_package(ModelPackageName=package)
            bound = described["CustomerMetadataProperties"]["container_sha256"]
            self.loop.sagemaker.update_model_package(
                ModelPackageArn=package,
                ModelApprovalStatus="Approved",
                ApprovalDescription=approval_description("trust me", bound=bound),
            )
        with self.loop.traffic([{"x": 2.0}], f"rollout-{factor}") if self.loop.live() else nullcontext():
            self.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120, error=error)

    def ask(self) -> float:
        """Return the endpoint's answer for 2."""
        return self.loop.invoke([{"x": 2.0}], "ask")[0].predictions[0]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Deploy the stack in an account without models; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("first")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Endpoint(cloud, folder)
    finally:
        local_cloud.connect(cloud.home).down(forget=True)


def test_the_first_deploy_needs_no_model(endpoint: Endpoint) -> None:
    """Nothing serves yet, and the audit chain has the reason."""
    assert endpoint.loop.live() is None
    (record,) = endpoint.loop.audit()
    assert record.outcome is Outcome.UNCHANGED
    assert record.reason.startswith("NOT_YET_DEPLOYED")


def test_recorders_alone_sign_and_no_head_is_written_twice(endpoint: Endpoint) -> None:
    """Even with additional role policies, key and boundary deny signatures, and the bucket denies a second write."""
    entry, iam = endpoint.loop.entry(), endpoint.cloud.client("iam")
    assert endpoint.loop.audit_problems() == []
    (head,) = endpoint.loop.s3.list_objects_v2(Bucket=entry.heads_bucket)["Contents"]
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"] if role["RoleName"].startswith("First-")]
    signing, writing = set(), []
    for name in roles:
        with _taken(endpoint.cloud, name) as client:
            try:
                client("kms").sign(
                    KeyId=entry.signing_key, Message=b"m", MessageType="RAW", SigningAlgorithm="ECDSA_SHA_256"
                )
                signing.add(name)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "AccessDeniedException"
            try:
                client("s3").put_object(Bucket=entry.heads_bucket, Key=head["Key"], Body=b"forged")
                writing.append(name)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "AccessDenied"

    assert len(roles) > 8
    assert len(signing) == 2
    assert all("Record" in name or "Spec" in name for name in signing)
    assert writing == []
    assert endpoint.loop.audit_problems() == []


@contextmanager
def _taken(cloud: local_cloud.Cloud, name: str) -> Iterator[Callable[[str], Any]]:
    """Assume a role after adding all rights to sign and write; its trust and policies are restored afterwards."""
    iam = cloud.client("iam")
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    anyone = {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}
    rights = [{"Effect": "Allow", "Action": ["kms:*", "s3:*"], "Resource": "*"}]
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=_document(anyone))
    iam.put_role_policy(RoleName=name, PolicyName="attack", PolicyDocument=_document(*rights))
    try:
        role = iam.get_role(RoleName=name)["Role"]["Arn"]
        keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="attacker")["Credentials"]
        session = boto3.Session(
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            region_name="us-east-1",
        )
        yield lambda service: session.client(service, endpoint_url=cloud.endpoint_url)
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="attack")
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_a_second_deploy_without_a_change_changes_nothing(endpoint: Endpoint) -> None:
    """No resource is changed and no rollout starts."""
    before = len(endpoint.loop.executions("DeployMachineArn"))

    assert endpoint.deploy(percent=100, team="a") == []
    assert len(endpoint.loop.executions("DeployMachineArn")) == before


def test_the_endpoint_is_born_at_the_first_approval(endpoint: Endpoint) -> None:
    """Only an approval creates it."""
    endpoint.approve(3.0)

    assert endpoint.ask() == pytest.approx(6.0)


def _run(*arguments: str, **environment: str) -> dict[str, Any]:
    """Return the command's output, run in this process."""
    result = CliRunner(env=environment).invoke(command, [*arguments, "--json"])
    if result.exception is not None:
        raise result.exception
    return dict(json.loads(result.stdout))


def test_rows_that_were_replayed_are_labelled_by_a_role_that_may_do_nothing_else(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows at their times on the embedded clock, labels when due, a correction by the feed; monitors join all of them."""
    loop, now = endpoint.loop, endpoint.loop.now()
    start = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    rows = [(f"order-{n}", start + timedelta(minutes=25 * n), float(n), 3.0 * n) for n in range(6)]
    file = tmp_path / "rows.csv"
    file.write_text("order,at,x,units\n" + "".join(f"{o},{at.isoformat()},{x},{y}\n" for o, at, x, y in rows))
    names = ("--time", "at", "--ids", "order", "--labels", "units", "--label-delay", "2h")
    output = _run("traffic", "replay", "pilot-first", str(file), *names, MLOPS_LOCAL_HOME=str(endpoint.cloud.home))
    assert (output["rows"], output["calls"], output["answers"], output["labels_added"]) == (6, 3, {"200": 6}, 6)

    file.write_text("order,units\norder-3,90\norder-4,12\nghost,1\n")
    keys = endpoint.cloud.client("sts").assume_role(RoleArn=loop.outputs["FeedRoleArn"], RoleSessionName="feed")
    as_feed = {
        "AWS_ENDPOINT_URL": endpoint.cloud.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": keys["Credentials"]["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["Credentials"]["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["Credentials"]["SessionToken"],
    }
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    put = _run("labels", "put", "pilot-first", str(file), "--ids", "order", "--value", "units", **as_feed)
    assert (put["replaced"], put["unchanged"], put["unknown"], put["unchecked"]) == (1, 1, 0, 1)

    labels = [
        Timed(at, line) for key, body in _objects(loop, "labels") if (at := hour_of(key, LABELS)) for line in body
    ]
    captures = [line for _, body in _objects(loop, "capture") for line in body]
    labelled = join(labels, captures).labelled
    pairs = sorted(zip(labelled.prediction.tolist(), labelled.label.tolist(), strict=True))
    assert pairs == [(3.0 * n, 90.0 if n == 3 else 3.0 * n) for n in range(6)]


def _objects(loop: Loop, folder: str) -> list[tuple[str, list[bytes]]]:
    """Return the lines of each object of the endpoint."""
    bucket = loop.outputs["CaptureBucket"]
    pages = loop.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/pilot-first/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [(key, loop.s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()) for key in keys]


def test_pages_of_other_sites_do_not_reach_the_models_server(endpoint: Endpoint) -> None:
    """The server's local port has no signature; a program that calls it gets its answer."""
    ports = [port for port in _ports(endpoint.cloud) if _is_open(port)]
    assert ports
    for port in ports:
        requested = {"data": b'{"instances": [{"x": 2.0}]}', "method": "POST"}
        url = f"http://127.0.0.1:{port}/invocations"
        program = Request(url, headers={"Content-Type": "application/json"}, **requested)  # noqa: S310
        with urlopen(program, timeout=10) as answer:  # noqa: S310
            assert json.load(answer)["predictions"] == [endpoint.ask()]
        page = Request(url, headers={"Content-Type": "text/plain", "Origin": "https://evil.example"}, **requested)  # noqa: S310
        with pytest.raises(HTTPError) as refused:
            urlopen(page, timeout=10)  # noqa: S310
        assert refused.value.code == 403
        assert b"https://evil.example" in refused.value.read()


def _ports(cloud: local_cloud.Cloud) -> set[int]:
    """Return the ports of all servers so far, after which their log streams are named."""
    pages = (
        cloud.client("logs")
        .get_paginator("describe_log_streams")
        .paginate(logGroupName="/aws/sagemaker/Endpoints/pilot-first")
    )
    streams = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    return {int(name.split("/i-")[1].split("-")[0]) for name in streams}


def _is_open(port: int) -> bool:
    with socket.socket() as requested:
        return requested.connect_ex(("127.0.0.1", port)) == 0


def test_a_deploy_changes_how_the_model_is_served_and_not_which(endpoint: Endpoint) -> None:
    """Another capture percentage and a tag reach the endpoint, and the promoted model keeps serving."""
    before = endpoint.loop.live()
    assert before is not None

    events = endpoint.deploy(percent=40, team="b")

    after = endpoint.loop.live()
    assert events != []
    assert after is not None
    assert (after.model_package_arn, after.model_sha256) == (before.model_package_arn, before.model_sha256)
    assert after.config != before.config
    capture = endpoint.loop.sagemaker.describe_endpoint(EndpointName="pilot-first")["DataCaptureConfig"]
    assert capture["CurrentSamplingPercentage"] == 40
    assert endpoint.ask() == pytest.approx(6.0)


def test_a_model_that_is_not_what_it_says_never_serves(endpoint: Endpoint) -> None:
    """With another hash than the package's the server refuses to load it, and the previous model keeps serving."""
    before = endpoint.loop.live()

    endpoint.approve(5.0, sha256="0" * 64, error="ROLLED_BACK")

    assert endpoint.loop.live() == before
    assert endpoint.loop.audit()[-1].outcome is Outcome.ROLLED_BACK
    assert endpoint.ask() == pytest.approx(6.0)


def test_a_way_back_does_not_lead_to_what_was_never_promoted(endpoint: Endpoint) -> None:
    """A rolled-back model is still approved; requesting it by name from the machine is rejected."""
    before, seen = endpoint.loop.live(), {e["executionArn"] for e in endpoint.loop.executions("DeployMachineArn")}
    taken_back = endpoint.loop.newest_package()["ModelPackageArn"]
    request = DeployRequest(
        reason=DeployReason.ROLLBACK,
        requested_by="somebody",
        requested_at="2017-08-01T09:00:00Z",
        model_package_arn=taken_back,
    )

    endpoint.cloud.client("stepfunctions").start_execution(
        stateMachineArn=endpoint.loop.outputs["DeployMachineArn"], input=canonical_json(request).decode()
    )
    endpoint.loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120, error="REFUSED")

    assert endpoint.loop.live() == before
    assert f"the audit chain does not show that {taken_back} was promoted" in endpoint.loop.audit()[-1].reason


def test_an_approver_cannot_change_what_it_approves(endpoint: Endpoint) -> None:
    """IAM protects the registered hash; a changed environment, for which IAM has no condition key, is rejected by name."""
    loop, before = endpoint.loop, endpoint.loop.live()
    package = models.register(loop, 7.0)
    seen = {e["executionArn"] for e in loop.executions("DeployMachineArn")}
    sts = endpoint.cloud.client("sts")
    approver = Approver.in_role(
        sts=sts,
        sagemaker=loop.sagemaker,
        role=loop.outputs["ApproverRoleArn"],
        caller=sts.get_caller_identity()["Arn"],
    ).sagemaker
    described = approver.describe_model_package(ModelPackageName=package)
    (container,) = described["InferenceSpecification"]["Containers"]
    changed = container | {"Environment": container["Environment"] | {"PYTHONPATH": "/opt/ml/model"}}
    metadata = registered_metadata(changed, described["CustomerMetadataProperties"])
    update: Any = {
        "ModelPackageArn": package,
        "ModelApprovalStatus": "Approved",
        "ApprovalDescription": approval_description("looks good", bound=metadata["container_sha256"]),
        "InferenceSpecification": described["InferenceSpecification"] | {"Containers": [changed]},
    }

    with pytest.raises(ClientError, match="not authorized to perform: sagemaker:UpdateModelPackage"):
        approver.update_model_package(**update, CustomerMetadataProperties=metadata)
    approver.update_model_package(**update)
    loop.wait_execution("DeployMachineArn", seen, appear=30, finish=120, error="REFUSED")

    assert loop.live() == before
    reason = loop.audit()[-1].reason
    assert "it was changed after it was registered: Environment is now " in reason
    assert "PYTHONPATH=/opt/ml/model" in reason
    assert endpoint.ask() == pytest.approx(6.0)


def test_an_approval_outside_the_approvers_role_deploys_nothing(endpoint: Endpoint) -> None:
    """SageMaker's record of the approver is checked, and the audit record names that role."""
    before = endpoint.loop.live()

    endpoint.approve(6.0, error="REFUSED", in_role=False)

    record = endpoint.loop.audit()[-1]
    assert endpoint.loop.live() == before
    assert record.outcome is Outcome.REFUSED
    assert "arn:aws:iam::000000000000:root approved it, or changed it after it was approved, but only" in record.reason


def test_a_good_model_is_promoted_by_canary(endpoint: Endpoint) -> None:
    """Under traffic the next approved model takes over, and the chain is valid."""
    endpoint.approve(4.0)

    assert endpoint.ask() == pytest.approx(8.0)
    assert endpoint.loop.audit()[-1].outcome is Outcome.PROMOTED
    assert endpoint.loop.audit_problems() == []


def test_no_lock_config_model_or_alarm_is_left_behind(endpoint: Endpoint) -> None:
    """The live config and the previous one are left, without a lock or a fleet's alarm."""
    live: Any = endpoint.loop.live()
    configs = {c["EndpointConfigName"] for c in endpoint.loop.sagemaker.list_endpoint_configs()["EndpointConfigs"]}
    models = {m["ModelName"] for m in endpoint.loop.sagemaker.list_models()["Models"]}

    assert configs == models
    assert live.config in configs
    assert len(configs) <= 2
    assert [name for name in endpoint.loop.alarms() if name.startswith("pilot-first-rollout-")] == []
    assert endpoint.loop.lock_owner() is None


def test_a_rollout_that_a_stop_interrupts_is_recovered(endpoint: Endpoint) -> None:
    """Both records name it; the old model serves, the dead execution is recorded, its lock released, and the next rollout runs."""
    loop, expected = endpoint.loop, endpoint.ask()
    package = models.register(loop, 5.0)
    seen = {execution["executionArn"] for execution in loop.executions("DeployMachineArn")}
    loop.approve(package, "a person looked at it")
    with loop.traffic([{"x": 2.0}], "interrupted"):
        _await(lambda: loop.sagemaker.describe_endpoint(EndpointName=loop.endpoint)["EndpointStatus"] == "Updating")
    interrupted: list[str] = []

    def is_between_calls() -> bool:
        interrupted[:] = endpoint.cloud.saved_state()["under_way"]
        return [row.split()[0] for row in interrupted] == ["endpoint", "execution"]

    _await(is_between_calls)
    endpoint.cloud.down()
    messages: list[str] = []
    endpoint.cloud = local_cloud.up(endpoint.cloud.home, on_event=messages.append)
    assert [line.removeprefix("interrupted by the stop, and ended: ") for line in messages[1:]] == interrupted
    assert endpoint.ask() == expected

    _await(lambda: len([e for e in loop.executions("DeployMachineArn") if e["executionArn"] not in seen]) == 2)
    loop.wait_idle("DeployMachineArn")
    ended = {
        e["name"].split("-")[0]: e["status"]
        for e in loop.executions("DeployMachineArn")
        if e["executionArn"] not in seen
    }
    assert ended == {"approval": "ABORTED", "recover": "SUCCEEDED"}
    assert "which ended ABORTED" in loop.audit()[-1].reason
    endpoint.approve(6.0)
    assert endpoint.ask() == 12.0
    assert loop.audit_problems() == []


def _await(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)


def test_deploy_destroy_deploy(endpoint: Endpoint) -> None:
    """A development unit is deleted with its endpoint and created again empty."""
    deployer.destroy(endpoint.cloud, endpoint.folder / str(endpoint.number))
    assert endpoint.loop.sagemaker.list_endpoints()["Endpoints"] == []

    endpoint.deploy(percent=100, team="c")

    assert endpoint.loop.live() is None
