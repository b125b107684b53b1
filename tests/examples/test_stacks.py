"""The example stacks together: what each defines, and a network that they share where one is given."""

import json

import aws_cdk as cdk
import pytest
from examples.stacks import compose

CONTEXT = {"image_digest": "sha256:" + "0" * 64}
UNITS = ("CustomerBehavior", "DemandForecasting", "DynamicPricing")


def templates(folder, **context):
    """Synthesize the app with further context; return each stack's resources."""
    app = cdk.App(outdir=str(folder), context={**CONTEXT, **context})
    compose(app)
    return {stack.stack_name: stack.template["Resources"] for stack in app.synth().stacks}


def resources(template, kind):
    """Return the properties of a template's resources of a type."""
    return [entry["Properties"] for entry in template.values() if entry["Type"] == kind]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return the templates without further context."""
    return templates(tmp_path_factory.mktemp("alone"))


def test_each_unit_stands_alone(alone):
    """Four stacks of at most 350 resources; each unit has a network and imports nothing from another stack."""
    assert set(alone) == {*UNITS, "FirstEndpoint"}
    assert all(len(template) <= 350 for template in alone.values())
    for unit in UNITS:
        assert len(resources(alone[unit], "AWS::EC2::VPC")) == 1
        assert "Fn::ImportValue" not in json.dumps(alone[unit])


def test_names_of_the_models(alone):
    """Unit and model name endpoint and package group."""
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
    text = json.dumps(properties["Spec"]).replace('\\"', '"')  # JSON with names that only the deployment knows
    assert f'"instance_count":{instances}' in text
    assert f'"rollout":{{"kind":"{kind}"' in text
    assert f'"percent":{percent}' in text


def test_units_share_a_network_that_is_given(tmp_path):
    """No unit makes one, and their security groups are in it."""
    network = {
        "vpc_id": "vpc-1",
        "availability_zones": ["us-east-1a", "us-east-1b"],
        "subnet_ids": ["subnet-a", "subnet-b"],
    }
    shared = templates(tmp_path, network=network)
    for unit in UNITS:
        assert resources(shared[unit], "AWS::EC2::VPC") == []
        assert {group["VpcId"] for group in resources(shared[unit], "AWS::EC2::SecurityGroup")} == {"vpc-1"}


def test_one_stack_is_the_same_alone(alone, tmp_path):
    """What context lists is all there is, resource by resource as in the whole app."""
    assert templates(tmp_path, stacks=["FirstEndpoint"]) == {"FirstEndpoint": alone["FirstEndpoint"]}
    with pytest.raises(ValueError, match=r"context stacks must be among DemandForecasting, .*, got 'Demand'"):
        templates(tmp_path / "unknown", stacks=["Demand"])
