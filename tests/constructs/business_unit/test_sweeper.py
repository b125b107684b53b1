"""Deploy, destroy, deploy in DEVELOPMENT, on the embedded cloud with IAM enforced."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest

from mlops_constructs import BusinessUnit, Profile

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud


def _assembly(folder: Path, stack_name: str) -> Path:
    app = cdk.App(outdir=str(folder))
    stack = cdk.Stack(app, stack_name)
    unit = BusinessUnit(stack, "Unit", name="sweeping", profile=Profile.DEVELOPMENT)
    cdk.CfnOutput(stack, "Artifacts", value=unit.artifacts.bucket_name)
    cdk.CfnOutput(stack, "AccessLogs", value=unit.access_logs.bucket_name)
    app.synth()
    return folder


def _fill(cloud: "Cloud", outputs: dict[str, str]) -> None:
    s3 = cloud.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=outputs["Artifacts"], Key="models/a", Body=body)
    s3.delete_object(Bucket=outputs["Artifacts"], Key="models/a")
    s3.put_object(Bucket=outputs["AccessLogs"], Key="Unit/Artifacts/log", Body=b"line")


def _buckets(cloud: "Cloud") -> set[str]:
    return {bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]}


def _delete(cloud: "Cloud", name: str) -> str:
    """Delete a stack as ``cdk destroy`` does, without ``mlops destroy``, which empties buckets itself; return its last status."""
    cloudformation = cloud.client("cloudformation")
    stack_id = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    cloudformation.delete_stack(StackName=name)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = str(cloudformation.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"])
        if status not in ("DELETE_IN_PROGRESS", "CREATE_COMPLETE"):
            return status
        time.sleep(0.2)
    raise AssertionError(f"{name} is still {status}")


def test_deploy_destroy_deploy(cloud: "Cloud", tmp_path: Path) -> None:
    """Versions, delete markers and delivered logs go with the stack, and the same stack comes again."""
    from mlops_local.deployer import deploy

    assembly = _assembly(tmp_path / "cdk.out", "Sweeping")

    for _ in range(2):
        outputs = deploy(cloud, assembly)["Sweeping"]
        _fill(cloud, outputs)

        assert _delete(cloud, "Sweeping") == "DELETE_COMPLETE"
        assert not _buckets(cloud) & set(outputs.values())


def test_without_the_sweeper_the_stack_stays(cloud: "Cloud", tmp_path: Path) -> None:
    """It is the sweeper that makes the difference: its resources taken out, the full bucket holds the stack."""
    from mlops_local.deployer import deploy, destroy

    assembly = _assembly(tmp_path / "cdk.out", "Unswept")
    path = assembly / "Unswept.template.json"
    template: dict[str, Any] = json.loads(path.read_text())
    sweeps = {name for name, r in template["Resources"].items() if r["Type"] == "Custom::BucketSweep"}
    resources = {name: r for name, r in template["Resources"].items() if name not in sweeps}
    for resource in resources.values():
        if "DependsOn" in resource:
            resource["DependsOn"] = [n for n in resource["DependsOn"] if n not in sweeps]
    path.write_text(json.dumps({**template, "Resources": resources}))
    outputs = deploy(cloud, assembly)["Unswept"]
    _fill(cloud, outputs)

    assert _delete(cloud, "Unswept") == "DELETE_FAILED"
    assert set(outputs.values()) <= _buckets(cloud)
    destroy(cloud, assembly)
