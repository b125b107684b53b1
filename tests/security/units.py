"""Two units on one embedded cloud, with roles and resources read from the deployed stacks, so that new ones are attacked too."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from examples.stacks import compose
from tests.security import front_door
from tests.security.calls import Target

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Network,
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetSource,
)
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.retraining import EvaluationPlan

ROOT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'0' * 64}"
# the stack whose loop or trip is recorded
RECORDED = {"sagemaker": "DemandForecasting", "eks": "DemandForecasting", "front_door": front_door.STACK}
TARGETS = tuple(RECORDED)
_CLUSTER = {
    "name": "retail",
    "security_group_id": "sg-0123456789abcdef0",
    "subnet_cidrs": ["10.0.0.0/20", "10.0.16.0/20"],
}
ACCOUNT, REGION = "000000000000", "us-east-1"
SMALL = ("Pilot", "PilotTwo")
LARGE = ("CustomerBehavior", "DemandForecasting")


def flags() -> dict[str, Any]:
    """Return the CDK feature flags of the project, with which its templates are deployed to AWS."""
    context: dict[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return context


def synthesize_small(folder: Path) -> Path:
    """Synthesize two small units in one network; the first's model name is a prefix of all names of the second."""
    app = cdk.App(outdir=str(folder), context=flags())
    network = None
    for stack_id, name, model in (("Pilot", "pilot", "two"), ("PilotTwo", "pilot-two", "first")):
        stack = cdk.Stack(app, stack_id)
        unit = BusinessUnit(stack, "Unit", name=name, profile=Profile.DEVELOPMENT, network=network)
        isolated = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        network = network or Network.from_vpc(vpc=unit.vpc, subnets=isolated)
        registry = ModelRegistry(stack, "Registry", business_unit=unit, name=model)
        image = ModelImage.from_ecr(repository_name="mlops-runtime", digest=DIGEST)
        endpoint = ModelEndpoint(
            stack,
            "Endpoint",
            business_unit=unit,
            registry=registry,
            name=model,
            image=image,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=1),
        )
        if stack_id == SMALL[0]:
            _retrain(stack, unit, registry, endpoint, model, image)
    app.synth()
    return folder


def _retrain(
    stack: cdk.Stack, unit: BusinessUnit, registry: ModelRegistry, endpoint: ModelEndpoint, name: str, image: ModelImage
) -> None:
    RetrainingPipeline(
        stack,
        "Retraining",
        business_unit=unit,
        registry=registry,
        endpoint=endpoint,
        name=name,
        training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports", label="units"),
        training=TrainingJob(
            image=image,
            source=ROOT / "examples" / "retail" / "demand_forecasting" / "training",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        ),
        evaluation=EvaluationPlan(label="units", block="store", baselines=("price",), timestamp="day"),
    )


def synthesize_large(folder: Path) -> Path:
    """Synthesize two retail units, each with features, registry, endpoint, retraining, monitor and alarms."""
    app = cdk.App(outdir=str(folder), context={**flags(), "image_digest": DIGEST, "stacks": list(LARGE)})
    compose(app)
    app.synth()
    return folder


def template(target: str = "sagemaker") -> dict[str, Any]:
    """Synthesize the unit whose calls were recorded, and return its template.

    Args:
        target: Its serving target or entry point, one of ``TARGETS``. Default: a SageMaker endpoint.
    """
    with tempfile.TemporaryDirectory() as folder:
        if target == "front_door":
            app = cdk.App(outdir=folder, context=flags())
            front_door.define(app, Path(folder), digest=DIGEST)
        else:
            context = {"image_digest": DIGEST, "stacks": [RECORDED[target]], "target": target, "cluster": _CLUSTER}
            app = cdk.App(outdir=folder, context={**flags(), **context})
            compose(app)
        app.synth()
        loaded: dict[str, Any] = json.loads((Path(folder) / f"{RECORDED[target]}.template.json").read_text())
        return loaded


def deploy(cloud: Cloud, assembly: Path) -> None:
    """Deploy all stacks of an assembly."""
    deployer.bootstrap(cloud)
    deployer.deploy(cloud, assembly)


def roles(cloud: Cloud, stack: str) -> dict[str, str]:
    """Return the names of a unit's roles, by logical id."""
    rows = [row for row in _rows(cloud, stack) if row["ResourceType"] == "AWS::IAM::Role"]
    return {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows}


def targets(cloud: Cloud, assembly: Path, stack: str) -> list[Target]:
    """Return a unit's resources that a call could name.

    Args:
        cloud: The embedded cloud with the unit.
        assembly: The deployed cloud assembly.
        stack: Its stack.
    """
    template = json.loads((assembly / f"{stack}.template.json").read_text())["Resources"]
    physical = {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in _rows(cloud, stack)}
    return [
        Target(
            unit=stack,
            logical_id=name,
            kind=body["Type"],
            words=_words(physical[name], body["Type"], body.get("Properties", {}), physical),
        )
        for name, body in template.items()
        if name in physical
    ]


def _rows(cloud: Cloud, stack: str) -> Iterator[dict[str, Any]]:
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    for page in pages:
        yield from page["StackResourceSummaries"]


def _words(id: str, kind: str, properties: Mapping[str, Any], physical: Mapping[str, str]) -> dict[str, str]:
    name = id.rpartition("/")[2] if id.startswith("arn:") else id.rpartition("|")[2]
    words = _Empty(id=id, name=name, account=ACCOUNT, region=REGION)
    words |= {key: _resolved(value, physical) for key, value in properties.items()}
    words["arn"] = id if id.startswith("arn:") else _ARNS.get(kind, "{name}").format_map(words)
    words["parent"] = id.rpartition(":")[0]
    return words


class _Empty(dict[str, str]):
    """Mapping in which a missing word is empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _resolved(value: Any, physical: Mapping[str, str]) -> str:
    """Return the resource that a property references, for templates of members; other values as text."""
    if isinstance(value, Mapping) and "Ref" in value:
        return physical.get(value["Ref"], "")
    return str(value)


def _arn(service: str, rest: str, *, region: bool = True, account: bool = True) -> str:
    return f"arn:aws:{service}:{REGION if region else ''}:{ACCOUNT if account else ''}:{rest}"


_ARNS = {
    "AWS::CloudWatch::Alarm": _arn("cloudwatch", "alarm:{id}"),
    "AWS::CloudWatch::CompositeAlarm": _arn("cloudwatch", "alarm:{id}"),
    "AWS::DynamoDB::Table": _arn("dynamodb", "table/{id}"),
    "AWS::Events::EventBus": _arn("events", "event-bus/{id}"),
    "AWS::Events::Rule": _arn("events", "rule/{name}"),
    "AWS::Glue::Table": _arn("glue", "table/{DatabaseName}/{id}"),
    "AWS::IAM::Role": _arn("iam", "role/{id}", region=False),
    "AWS::KMS::Key": _arn("kms", "key/{id}"),
    "AWS::Lambda::Function": _arn("lambda", "function:{id}"),
    "AWS::Logs::LogGroup": _arn("logs", "log-group:{id}"),
    "AWS::S3::Bucket": _arn("s3", "{id}", region=False, account=False),
}
