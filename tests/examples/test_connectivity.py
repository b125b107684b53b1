"""Compute in the example stacks has its network as long as it runs: in templates, and deployed and destroyed."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from examples.stacks import STACKS, compose
from ministack.services.cloudformation import engine
from tests.sweep_order import late_writers, needs, writers

from mlops_local import cloud as local_cloud
from mlops_local.stacks import deployer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Resources = dict[str, dict[str, Any]]
DIGEST = "sha256:" + "0" * 64  # code specific to this machine
LEADS = ("AWS::EC2::VPCEndpoint", "AWS::EC2::SubnetRouteTableAssociation")
RUNS = ("AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping", "AWS::StepFunctions::StateMachine",
        "AWS::Glue::Connection", "AWS::SageMaker::Model")  # fmt: skip


@pytest.fixture(scope="module")
def templates(example_stacks: Callable[..., dict[str, Resources]]) -> dict[str, Resources]:
    """Return the resources of every example stack: both profiles, on SageMaker and on a cluster, and each stack alone."""
    production, on_eks = (
        {"profile": "production"},
        {"target": "eks", "stacks": ["DemandForecasting"], "has_service": True},
    )
    contexts: list[dict[str, Any]] = [
        {},
        production,
        on_eks,
        {**production, **on_eks},
        *({"stacks": [unit]} for unit in STACKS),
    ]
    found = [(json.dumps(context), example_stacks(**context)) for context in contexts]
    return {f"{stack} {context}": resources for context, stacks in found for stack, resources in stacks.items()}


def _of(resources: Resources, *kinds: str) -> list[str]:
    return [name for name, one in resources.items() if one["Type"] in kinds or one["Type"].split("::")[0] in kinds]


def test_everything_that_runs_depends_on_the_ways_of_its_network(templates: dict[str, Resources]) -> None:
    """Each function, custom resource, machine and connection depends on all endpoints and associations of its network."""
    made = {stack: resources for stack, resources in templates.items() if _of(resources, LEADS[0])}
    assert (
        len(made) == 8
    )  # the platform's and one on a cluster in two profiles, three units and the first endpoint alone
    for stack, resources in made.items():
        ways = set(_of(resources, *LEADS))
        lacking = {name: ways - needs(resources, name) for name in _of(resources, *RUNS, "Custom")}
        assert {name: missing for name, missing in lacking.items() if missing} == {}, stack


def test_nothing_may_be_written_once_a_sweep_has_run(templates: dict[str, Resources]) -> None:
    """Policies that let roles write to buckets or register packages are deleted before the sweep."""
    found = [pair for resources in templates.values() for pair in writers(resources)]
    assert len(found) > 100
    assert {stack: late for stack, resources in templates.items() if (late := late_writers(resources))} == {}


def test_no_custom_resource_waits_for_an_hour(templates: dict[str, Resources]) -> None:
    """ServiceTimeouts exceed the function's timeout, by at most two minutes."""
    for stack, resources in templates.items():
        for name in _of(resources, "Custom", "AWS::CloudFormation::CustomResource"):
            properties = resources[name]["Properties"]
            (function,) = {one for one, _ in engine._intrinsic_references(properties["ServiceToken"])}
            longest = resources[function]["Properties"]["Timeout"]
            assert longest < int(properties["ServiceTimeout"]) <= longest + 120, (stack, name)


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stack FirstEndpoint."""
    folder = tmp_path_factory.mktemp("assembly") / "out"
    app = cdk.App(outdir=str(folder), context={"image_digest": DIGEST, "stacks": ["FirstEndpoint"]})
    compose(app)
    app.synth()
    return folder


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_cloud.Cloud]:
    """A separate cloud, as the unit has the example's names."""
    running = local_cloud.up(tmp_path_factory.mktemp("cloud"))
    try:
        yield running
    finally:
        running.down(forget=True)


def _without(assembly: Path, folder: Path, word: str) -> Path:
    """Copy the assembly without the unit group's dependency on resources whose id contains a word."""
    shutil.copytree(assembly, folder)
    path = folder / "FirstEndpoint.template.json"
    template = json.loads(path.read_text())
    group = next(
        r for r in template["Resources"].values() if "Functions, jobs" in r["Properties"].get("GroupDescription", "")
    )
    kept = [name for name in group["DependsOn"] if word not in name]
    assert len(kept) < len(group["DependsOn"])
    group["DependsOn"] = kept
    path.write_text(json.dumps(template))
    return folder


def _give_up(cloud: local_cloud.Cloud, name: str) -> None:
    """Delete a stack, and retain custom resources whose functions cannot respond."""
    client = cloud.client("cloudformation")
    stack = client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    kept: list[str] = []
    for end in ("DELETE_FAILED", "DELETE_COMPLETE"):
        client.delete_stack(StackName=stack, RetainResources=kept)
        while (status := client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]) == "DELETE_IN_PROGRESS":
            time.sleep(0.05)
        assert status == end
        left = client.describe_stack_resources(StackName=stack)["StackResources"]
        kept = [one["LogicalResourceId"] for one in left if one["ResourceType"].startswith("Custom::")]


@pytest.mark.cloud
def test_a_unit_goes_whole_and_comes_again(cloud: local_cloud.Cloud, assembly: Path) -> None:
    """It contains objects, old versions and packages, so that each sweep needs its services; nothing times out."""
    for _ in range(2):
        deployer.deploy(cloud, assembly)
        _fill(cloud)

        assert deployer.destroy(cloud, assembly) == []

    stacks = {stack["StackName"] for stack in cloud.client("cloudformation").describe_stacks()["Stacks"]}
    left = [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"] if "cdk-" not in bucket["Name"]]
    assert (stacks, left) == ({"CDKToolkit"}, [])
    assert cloud.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert cloud.client("ec2").describe_vpc_endpoints()["VpcEndpoints"] == []


@pytest.mark.cloud
@pytest.mark.parametrize(
    ("word", "reason", "end"),
    [
        ("VpcS3", "no gateway endpoint of s3", "ROLLBACK_FAILED"),
        ("SubnetRoutes", "of the subnet has no route to the gateway endpoint of s3", "ROLLBACK_FAILED"),
        ("VpcDynamoDb", "no gateway endpoint of dynamodb", "ROLLBACK_COMPLETE"),
        ("VpcStates", "no interface endpoint of states", "ROLLBACK_COMPLETE"),
    ],
)
def test_a_unit_that_forgets_one_way_fails_at_once(
    cloud: local_cloud.Cloud, assembly: Path, tmp_path: Path, word: str, reason: str, end: str
) -> None:
    """CloudFormation may create independent resources after the custom resources; without S3 none answers the rollback either."""
    folder = _without(assembly, tmp_path / "out", word)

    with pytest.raises(deployer.DeployError) as caught:
        deployer.deploy(cloud, folder)

    assert reason in str(caught.value)
    assert caught.value.status == end
    if end == "ROLLBACK_FAILED":
        _give_up(cloud, "FirstEndpoint")
    else:
        deployer.destroy(cloud, folder)


@pytest.mark.cloud
@pytest.mark.parametrize("word", ["RegistrySweep", "UnitAuditSweep"])
def test_a_creation_that_is_cancelled_leaves_nothing(
    cloud: local_cloud.Cloud, assembly: Path, tmp_path: Path, word: str
) -> None:
    """Another resource fails while the function works: the deletion has an id that it never returned."""
    folder = tmp_path / "out"
    shutil.copytree(assembly, folder)
    path = folder / "FirstEndpoint.template.json"
    template = json.loads(path.read_text())
    resources = template["Resources"]
    name = next(one for one in resources if one.startswith(word) and resources[one]["Type"].startswith("Custom::"))
    resources["Beside"] = {**resources[name], "Type": "Custom::Beside"}
    path.write_text(json.dumps(template))
    fault = {
        "integration": "cloudformation:create",
        "match": '"Beside"',
        "error": "InternalFailure",
        "cause": "a fault",
    }
    cloud.call("/_mlops/faults", [fault])

    with pytest.raises(deployer.DeployError) as caught:
        deployer.deploy(cloud, folder)

    client = cloud.client("cloudformation")
    pages = client.get_paginator("describe_stack_events").paginate(StackName="FirstEndpoint")
    events = [event for page in pages for event in page["StackEvents"] if event["LogicalResourceId"] == name]
    assert "Resource creation cancelled" in {event.get("ResourceStatusReason") for event in events}
    assert events[0]["ResourceStatus"] == "DELETE_COMPLETE"
    assert caught.value.status == "ROLLBACK_COMPLETE"
    deployer.destroy(cloud, folder)


@pytest.mark.cloud
def test_a_unit_does_not_go_without_its_endpoints(
    assembly: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """CloudFormation deletes independent resources first."""
    folder = _without(assembly, tmp_path / "out", "VpcSagemakerApi")
    cloud = local_cloud.up(tmp_path_factory.mktemp("cloud"))
    try:
        deployer.deploy(cloud, folder)  # SageMaker's endpoint is not needed yet
        _fill(cloud)
        with pytest.raises(deployer.DeployError, match=r"no interface endpoint of sagemaker\.api") as caught:
            deployer.destroy(cloud, folder)
        assert caught.value.status == "DELETE_FAILED"
        assert "Custom::ModelPackageSweep" in {failure.resource_type for failure in caught.value.failures}
    finally:
        cloud.down(forget=True)


def _fill(cloud: local_cloud.Cloud) -> None:
    """Put an object with an old version into each bucket, and a package into the group."""
    s3, sagemaker = cloud.client("s3"), cloud.client("sagemaker")
    for bucket in s3.list_buckets()["Buckets"]:
        if "cdk-" not in bucket["Name"]:
            for body in (b"1", b"2"):
                s3.put_object(Bucket=bucket["Name"], Key="left/behind", Body=body)
    (group,) = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    image = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@{DIGEST}"
    sagemaker.create_model_package(
        ModelPackageGroupName=group["ModelPackageGroupName"],
        InferenceSpecification={
            "Containers": [{"Image": image, "ModelDataUrl": "s3://b/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )
