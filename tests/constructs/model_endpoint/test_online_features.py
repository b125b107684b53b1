"""An endpoint whose models look up features: its containers get the table's name and may read the named groups."""

import json
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    Entity,
    Feature,
    FeatureGroup,
    FeatureStore,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    ValidationError,
)
from mlops_runtime.features.lock_file import write_lock

CAPACITY = EndpointCapacity.instances("ml.m5.large", instance_count=2)


def _group(name: str) -> FeatureGroup:
    return FeatureGroup(
        name=name,
        entities=(Entity("store_id", "string", "store"),),
        features=(Feature("on_hand", "double", "units"),),
        owner="logistics",
        description=name,
    )


def _template(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    groups = (_group("stock"), _group("sales"))
    write_lock(groups, tmp_path / "features.lock.json")
    stack = cdk.Stack(cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}), "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand")
    store = FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=groups,
        lock_file=tmp_path / "features.lock.json",
        online=True,
    )
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
    ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="forecast",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        capacity=CAPACITY,
        features=store.online_features(groups=groups[:1]),
        **changes,
    )
    return dict(Template.from_stack(stack).to_json())


def test_containers_know_the_table_and_read_the_groups_named(tmp_path: Path) -> None:
    """Grants only BatchGetItem on their keys besides the model role's permissions; isolation is off."""
    resources = _template(tmp_path)["Resources"].items()
    (statements,) = (
        r["Properties"]["PolicyDocument"]["Statement"]
        for name, r in resources
        if r["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith("EndpointRole")
    )
    read = [s for s in statements if "dynamodb" in json.dumps(s["Action"])]
    assert [(s["Action"], s["Condition"]) for s in read] == [
        ("dynamodb:BatchGetItem", {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["stock_v1/*"]}})
    ]
    text = json.dumps([r for _, r in resources if "mlops.serving-spec/1" in json.dumps(r)])
    assert "online_table" in text
    assert 'network_isolation\\":false' in text.replace(" ", "")


def test_isolated_containers_cannot_look_up(tmp_path: Path) -> None:
    """The error names the argument to omit."""
    with pytest.raises(ValidationError, match="prevents containers from reading the online table"):
        _template(tmp_path, network_isolation=True)
