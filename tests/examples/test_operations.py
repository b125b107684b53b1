"""Instructions of `docs/operations.md` for on-call staff, done in a role of that page, on the embedded cloud with IAM."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from examples.retail.loop import Loop
from tests.called_command import call_command
from tests.examples.test_first_endpoint import Endpoint

from mlops_constructs import BusinessUnit, EndpointCapacity, ModelEndpoint, ModelImage, ModelRegistry, Profile
from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.rollout import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cloud

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def role_code() -> str:
    """Return the page's code of the role."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "on_call" in block]
    return str(code)


def synthesize(folder: Path) -> Path:
    """Synthesize a unit with one endpoint and the page's role."""
    app = cdk.App(outdir=str(folder))
    stack = cdk.Stack(app, "OnCall")
    unit = BusinessUnit(stack, "Unit", name="pilot", profile=Profile.DEVELOPMENT)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="first")
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="first",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
    )
    on_call = iam.Role(stack, "OnCall", assumed_by=iam.AccountRootPrincipal())
    exec(  # noqa: S102 - the page's own code is what is tested
        role_code(),
        {"unit": unit, "endpoint": endpoint, "on_call": on_call},
    )
    outputs = {
        "OnCallRoleArn": on_call.role_arn,
        "ApproverRoleArn": registry.approver_role.role_arn,
        "EndpointName": endpoint.endpoint_name,
        "RolloutTable": endpoint.rollout.table.table_name,
        "DeployMachineArn": endpoint.rollout.machine.state_machine_arn,
        "ArtifactsBucket": unit.artifacts.bucket_name,
        "AuditBucket": unit.audit_bucket.bucket_name,
    }
    for name, value in outputs.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder


class Pilot(Endpoint):
    """The deployed stack, and the command in the on-call role."""

    def deploy(self, **_: Any) -> list[deployer.ResourceEvent]:
        """Deploy the stack of this file."""
        outputs = deployer.deploy(self.cloud, synthesize(self.folder / "assembly"))["OnCall"]
        self.loop = Loop(
            client=self.cloud.client,
            outputs=outputs,
            unit="pilot",
            now=lambda: datetime.fromisoformat(self.cloud.clock()["now"]),
        )
        self.loop.wait_idle("DeployMachineArn")
        taken = self.cloud.client("sts").assume_role(RoleArn=outputs["OnCallRoleArn"], RoleSessionName="ann")[
            "Credentials"
        ]
        self.role = {
            "AWS_ENDPOINT_URL": self.cloud.endpoint_url,
            "AWS_ACCESS_KEY_ID": taken["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": taken["SecretAccessKey"],
            "AWS_SESSION_TOKEN": taken["SessionToken"],
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return []

    def mlops(self, *arguments: object, code: int = 0) -> str:
        """Run the command in the role, and return its output."""
        ended = call_command(*arguments, **self.role)
        assert ended.returncode == code, ended.stderr + ended.stdout
        return ended.stdout + ended.stderr

    def version(self) -> str:
        """Return the serving version."""
        live = self.loop.live()
        assert live is not None
        return str(live.model_package_arn.rpartition("/")[2])


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilot]:
    """Deploy once; the tests of this file depend on their order."""
    folder = tmp_path_factory.mktemp("operations")
    cloud = local_cloud.up(folder / "cloud", clock_scale=300.0)
    try:
        yield Pilot(cloud, folder)
    finally:
        cloud.down(forget=True)


def test_before_the_first_model_there_is_nothing_to_go_back_from(pilot: Pilot) -> None:
    """The status reports it too."""
    assert "endpoint pilot-first: NOT_YET_DEPLOYED" in pilot.mlops("status", "pilot")
    assert "NOT_YET_DEPLOYED: no model is live on pilot-first yet" in pilot.mlops(
        "rollback", "pilot-first", "--reason", "errors", code=1
    )


def test_a_pause_is_put_on_the_record_under_the_persons_name(pilot: Pilot) -> None:
    """The role suffices to pause, read, verify and resume."""
    assert "pilot is paused" in pilot.mlops("pause", "pilot", "--reason", "prices are migrated")
    assert "stopped: paused since" in pilot.mlops("status", "pilot")
    assert "by arn:aws:sts::000000000000:assumed-role/" in pilot.mlops("pause", "pilot", "--reason", "again")
    assert " ann " in pilot.mlops("audit", "show", "pilot")
    assert pilot.mlops("resume", "pilot", "--reason", "done") == "pilot is resumed (record 2)\n"
    whole = pilot.mlops("audit", "verify", "pilot")
    assert whole.startswith("the chain of pilot is intact up to record 2, signed with the key ")


def test_the_way_back_leads_to_the_version_before_and_to_one_that_is_named(pilot: Pilot) -> None:
    """Each output names the serving version, and SageMaker agrees."""
    pilot.approve(2.0)
    pilot.approve(3.0)
    assert (pilot.version(), pilot.ask()) == ("2", pytest.approx(6.0))

    back = pilot.mlops("rollback", "pilot-first", "--reason", "returns went up")

    assert any(re.search(r"; live: arn:\S+:model-package/pilot-first/1$", line) for line in back.splitlines())
    assert (pilot.version(), pilot.ask()) == ("1", pytest.approx(4.0))
    record = pilot.mlops("audit", "show", "pilot-first", "--last", 1)
    assert " ann " in record
    assert "returns went up" in record
    assert "is already live; nothing changed" in pilot.mlops("rollback", "pilot-first", "--to", 1, "--reason", "errors")

    forth = pilot.mlops("rollback", "pilot-first", "--to", 2, "--reason", "it was right")

    assert any(re.search(r"; live: arn:\S+:model-package/pilot-first/2$", line) for line in forth.splitlines())
    assert (pilot.version(), pilot.ask()) == ("2", pytest.approx(6.0))
    assert "live      version 2 in" in pilot.mlops("status", "pilot")


def test_a_rollout_that_runs_is_taken_back(pilot: Pilot) -> None:
    """The old fleet still exists; the command ends when it serves alone again."""
    pilot.cloud.clock_scale(20)  # so that the command meets the bake, not its end
    with ThreadPoolExecutor() as pool:
        rollout = pool.submit(pilot.approve, 5.0, error="ROLLED_BACK")
        while pilot.loop.lock_owner() is None and not rollout.done():
            time.sleep(0.1)
        looks = [""]
        while "    step      1 of " not in looks[-1] and not rollout.done():  # the new fleet has traffic by then
            looks.append(pilot.mlops("status", "pilot"))

        output = pilot.mlops("rollback", "pilot-first", "--reason", "not today").splitlines()

        rollout.result()
    pilot.cloud.clock_scale(300)
    assert output[0].startswith("a rollout is running: arn:aws:states:us-east-1:000000000000:execution:")
    assert output[1].endswith("-abort is set to ALARM: the new fleet is rolled back")
    assert output[2].startswith("ROLLED_BACK: ")
    assert re.search(r"; live: arn:\S+:model-package/pilot-first/2$", output[2])
    assert "/ann: not today" in output[2]  # the record names the user
    assert any(name in looks[-1] for name in ("    doing     ", "    step      "))
    assert "step      not shown" not in looks[-1]
    assert any(" of the traffic" in line or "gets the traffic" in line for line in output[3:])  # the outcome meanwhile
    assert "already done" in pilot.mlops("rollback", "pilot-first", "--reason", "not today")
    assert (pilot.version(), pilot.ask()) == ("2", pytest.approx(6.0))


def test_a_version_that_is_not_there_is_refused(pilot: Pilot) -> None:
    """The plan rejects and records it; the endpoint is unchanged."""
    refused = pilot.mlops("rollback", "pilot-first", "--to", 99, "--reason", "errors", code=1)

    assert "mlops: not rolled back: REFUSED: " in refused
    assert re.search(r"; live: arn:\S+:model-package/pilot-first/2$", refused.rstrip())
    assert pilot.version() == "2"


def test_the_chain_of_all_that_is_whole(pilot: Pilot, tmp_path: Path) -> None:
    """Verified in place, and as a local copy without an account."""
    shown = json.loads(pilot.mlops("audit", "show", "pilot-first", "--json"))
    compared = [record["sequence"] for record in shown["records"] if record.get("verdict") is not None]
    drawn = pilot.mlops("audit", "show", "pilot-first", "--sequence", compared[0])
    assert "computed again from these minutes: the same sentence" in drawn
    assert f"/minutes/pilot-first/{compared[0]:08d}-" in drawn
    whole = f"the chain of pilot-first is intact up to record {shown['sequence']}, "
    for entry in pilot.loop.s3.list_objects_v2(Bucket=shown["bucket"], Prefix="audit/pilot-first/")["Contents"]:
        name = entry["Key"].rpartition("/")[2]
        (tmp_path / name).write_bytes(pilot.loop.s3.get_object(Bucket=shown["bucket"], Key=entry["Key"])["Body"].read())

    given = ("--folder", tmp_path, "--head", shown["head"], "--sequence", shown["sequence"])
    assert pilot.mlops("audit", "verify", "pilot-first").startswith(f"{whole}signed with the key ")
    assert pilot.mlops("audit", "verify", "pilot-first", *given) == f"{whole}no signature was checked\n"


def test_the_role_may_do_nothing_else(pilot: Pilot) -> None:
    """Neither approve, nor see other units; the output is one line with AWS's message and the page."""
    package = pilot.loop.sagemaker.list_model_packages(ModelPackageGroupName="pilot-first")["ModelPackageSummaryList"][
        0
    ]

    denied = pilot.mlops("status", code=1)
    approve = pilot.mlops("models", "approve", package["ModelPackageArn"], "--reason", "x", code=1)

    assert denied.startswith("mlops: AWS refused GetParametersByPath (AccessDenied")
    assert denied.rstrip().endswith("; docs/operations.md lists the permissions of each command")
    assert len(denied.splitlines()) == 1
    assert "Traceback" not in approve


def test_a_promotion_has_a_card(pilot: Pilot) -> None:
    """Written from the signed passport of the newest or the named promotion; other versions are rejected."""
    newest = pilot.mlops("models", "card", "pilot-first")
    assert newest.splitlines()[0].startswith("# pilot-first: ")
    assert "| Code | not recorded: " in newest
    promoted = [r for r in pilot.loop.audit() if r.outcome is Outcome.PROMOTED]
    assert promoted[-1].container_sha256 is not None
    assert promoted[-1].container_sha256 in newest
    (machine,) = re.findall(r"\| Deploy machine \(SHA-256\) \| ([0-9a-f]{64}) \|", newest)
    template = next((pilot.folder / "assembly").glob("*.template.json"))
    assert pilot.mlops("audit", "machine", template, "--sha256", machine).startswith(machine)
    first = pilot.mlops("models", "card", "pilot-first", "--sequence", promoted[0].sequence)
    assert str(promoted[0].candidate_package) in first
    assert "has no passport of record 99" in pilot.mlops("models", "card", "pilot-first", "--sequence", 99, code=1)
