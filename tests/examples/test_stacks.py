"""The example stacks together: their resources, and a shared network."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from examples.stacks import STACKS, compose

from mlops_local.stacks import deployer

CONTEXT = {"image_digest": "sha256:" + "0" * 64}
UNITS = ("CustomerBehavior", "DemandForecasting", "DynamicPricing")
ROOT = Path(__file__).resolve().parents[2]
ON_EKS = {
    "target": "eks",
    "cluster": {"name": "r", "security_group_id": "sg-0123456789abcdef0", "subnet_cidrs": ["10.0.0.0/17"]},
}
CREATE_ONLY = {
    "AWS::EC2::SecurityGroup": "GroupDescription",
    "AWS::IAM::ManagedPolicy": "Description",
    "AWS::Lambda::LayerVersion": "Description",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupDescription",
}


def synthesize(folder, context):
    """Synthesize the app with additional context; return each stack's resources."""
    app = cdk.App(outdir=str(folder), context={**CONTEXT, **context})
    compose(app)
    return {stack.stack_name: stack.template["Resources"] for stack in app.synth().stacks}


@pytest.fixture(scope="module")
def templates(example_stacks):
    """Return each stack's resources for a context, synthesized once: ``templates(stacks=["FirstEndpoint"])``."""
    made = functools.cache(lambda text: example_stacks(**json.loads(text)))
    return lambda **context: made(json.dumps(context, sort_keys=True))


def resources(template, kind):
    """Return the properties of a template's resources of a type."""
    return [entry["Properties"] for entry in template.values() if entry["Type"] == kind]


def test_the_app_without_its_context_is_one_line():
    """Run by hand instead of the CDK CLI, the app reports the missing context and how to set it."""
    root = Path(__file__).resolve().parents[2]
    own_node = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # jsii warns about older ones
    result = subprocess.run(
        [sys.executable, "app.py"],
        cwd=root,
        env={**os.environ, **own_node},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("app.py: InvalidImage: digest must be 'sha256:' and 64 hexadecimal digits")
    assert "run `cdk synth`, which reads cdk.json, or set -c image_digest=sha256:..." in line


@pytest.fixture(scope="module")
def alone(templates):
    """Return the templates without additional context."""
    return templates()


def test_the_app_needs_one_network(alone):
    """Five stacks with at most 350 resources use the platform's network, one of the five VPCs of an account."""
    assert set(alone) == {*UNITS, "FirstEndpoint", "RetailPlatform"}
    assert all(len(template) <= 350 for template in alone.values())
    networks = {name: len(resources(template, "AWS::EC2::VPC")) for name, template in alone.items()}
    assert networks == {**dict.fromkeys(STACKS, 0), "RetailPlatform": 1}
    for unit in STACKS:
        assert "RetailPlatform:ExportsOutput" in json.dumps(alone[unit])


@pytest.mark.parametrize("unit", STACKS)
def test_a_unit_alone_makes_its_network(templates, unit):
    """It deploys, changes and is deleted without the others."""
    made = templates(stacks=[unit])
    assert set(made) == {unit}
    assert len(resources(made[unit], "AWS::EC2::VPC")) == 1
    assert "Fn::ImportValue" not in json.dumps(made[unit])


def _services(template):
    return {json.dumps(endpoint["ServiceName"]) for endpoint in resources(template, "AWS::EC2::VPCEndpoint")}


def test_the_shared_network_reaches_what_each_unit_reaches_in_its_own(templates):
    """Units add endpoints to their own network, never to an existing one."""
    for context in ({}, ON_EKS):
        shared = _services(templates(**context)["RetailPlatform"])
        for unit in STACKS:
            # the target applies to one unit; the stacks of the others ignore it
            own_context = context if unit == "DemandForecasting" else {}
            own = _services(templates(stacks=[unit], **own_context)[unit])
            assert own <= shared, own - shared


def test_create_only_descriptions_stay_as_they_are(templates):
    """Changing a create-only description replaces the resource, and a replaced package group cannot keep its name.

    ``MLOPS_UPDATE_CONTRACT=1 pytest tests/examples/test_stacks.py`` writes the file after a resource is added.
    """
    promised = ROOT / "tests/contract/create_only_descriptions.json"
    found = {
        f"{target}/{stack}/{name}": entry["Properties"][CREATE_ONLY[entry["Type"]]]
        for target, context in (("sagemaker", {}), ("eks", ON_EKS))
        for stack, template in templates(**context).items()
        for name, entry in template.items()
        if CREATE_ONLY.get(entry["Type"]) in entry.get("Properties", {})
    }
    if os.environ.get("MLOPS_UPDATE_CONTRACT") == "1":
        promised.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")

    assert len(found) > 150
    assert found == json.loads(promised.read_text())


def test_zones_of_the_shared_network_can_be_named(templates):
    """The context has zone names."""
    made = templates(stacks=["CustomerBehavior", "DynamicPricing"], zones=["us-east-1b", "us-east-1c"])
    zones = [subnet["AvailabilityZone"] for subnet in resources(made["RetailPlatform"], "AWS::EC2::Subnet")]
    assert zones == ["us-east-1b", "us-east-1c"]


def test_names_of_the_models(alone):
    """Endpoint and package group are named after unit and model."""
    groups = {
        unit: [p["ModelPackageGroupName"] for p in resources(alone[unit], "AWS::SageMaker::ModelPackageGroup")]
        for unit in UNITS
    }
    assert groups == {
        "CustomerBehavior": ["customer-propensity"],
        "DemandForecasting": ["demand-forecast"],
        "DynamicPricing": ["pricing-elasticity"],
    }


@pytest.mark.parametrize(
    ("unit", "instances", "kind", "percent"),
    [
        ("CustomerBehavior", 2, "CANARY", 50),
        ("DemandForecasting", 2, "CANARY", 50),
        ("DynamicPricing", 4, "LINEAR", 25),
    ],
)
def test_how_models_take_over(alone, unit, instances, kind, percent):
    """Two canaries of half the instances, one linear rollout of one instance in four."""
    (properties,) = resources(alone[unit], "Custom::MLOpsServingSpec")
    text = json.dumps(properties["Spec"]).replace('\\"', '"')  # JSON with names known at deployment only
    assert f'"instance_count":{instances}' in text
    assert f'"rollout":{{"kind":"{kind}"' in text
    assert f'"percent":{percent}' in text


def test_units_share_a_network_that_is_given(templates):
    """No unit creates one, and their security groups are in it."""
    network = {
        "vpc_id": "vpc-1",
        "availability_zones": ["us-east-1a", "us-east-1b"],
        "subnet_ids": ["subnet-a", "subnet-b"],
    }
    shared = templates(network=network)
    assert set(shared) == set(STACKS)
    for unit in STACKS:
        assert resources(shared[unit], "AWS::EC2::VPC") == []
        assert {group["VpcId"] for group in resources(shared[unit], "AWS::EC2::SecurityGroup")} == {"vpc-1"}


def test_a_stack_is_the_same_beside_one_other(alone, templates):
    """Compares each resource with the whole app; an unknown stack name is rejected."""
    assert templates(stacks=["FirstEndpoint", "DynamicPricing"])["FirstEndpoint"] == alone["FirstEndpoint"]
    with pytest.raises(ValueError, match=r"stacks must be among DemandForecasting, .*, got 'Demand'"):
        templates(stacks=["Demand"])


def test_the_app_composes_what_its_arguments_name(templates, tmp_path):
    """The documentation's quick start calls it so: one stack with its own network."""
    environment = {**os.environ, "CDK_OUTDIR": str(tmp_path), "CDK_CONTEXT_JSON": json.dumps(CONTEXT)}
    subprocess.run([sys.executable, "app.py", "FirstEndpoint"], cwd=ROOT, env=environment, check=True)

    (written,) = tmp_path.glob("*.template.json")
    assert json.loads(written.read_text())["Resources"] == templates(stacks=["FirstEndpoint"])["FirstEndpoint"]
    assert '--app "python app.py FirstEndpoint"' in (ROOT / "docs/start.md").read_text()


def test_a_unit_deploys_with_the_network_before_it(cloud, tmp_path):
    """By its name, as the CDK CLI does; both are deleted, the unit first, and deploy again."""
    synthesize(tmp_path, {"stacks": ["CustomerBehavior", "DynamicPricing"]})
    stacks = cloud.client("cloudformation")
    for _ in range(2):
        deployer.deploy(cloud, tmp_path, stacks=["DynamicPricing"])
        held = {row["StackName"] for row in stacks.describe_stacks()["Stacks"]}
        assert {"RetailPlatform", "DynamicPricing"} <= held
        assert "CustomerBehavior" not in held
        imports = {row["Name"] for row in stacks.list_exports()["Exports"]}
        assert any(name.startswith("RetailPlatform:ExportsOutput") for name in imports)
        deployer.destroy(cloud, tmp_path)
        held = {row["StackName"] for row in stacks.describe_stacks()["Stacks"]}
        assert not held & {"RetailPlatform", "DynamicPricing"}
