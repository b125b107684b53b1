"""Daily maintenance of a deployed store's tables."""

import json
from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from mlops_constructs import FeatureGroup, FeatureIngest, FeatureStore
from mlops_constructs.feature_store.store_access import FeatureAccess

Group = Callable[..., FeatureGroup]
DefineStore = Callable[..., FeatureStore]
Resources = Callable[[Any, str], dict[str, dict[str, Any]]]

pytestmark = pytest.mark.usefixtures("wheels")


def _named(found: dict[str, dict[str, Any]], part: str) -> dict[str, Any]:
    (properties,) = (value for name, value in found.items() if part in name)
    return properties


def test_a_store_that_takes_batches_is_maintained_daily(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Maintains all of its tables, by a function that may delete only below them."""
    store = define_store(group(), group("sales"), ingest=FeatureIngest())

    function = _named(resources(store, "AWS::Lambda::Function"), "FeaturesMaintenance")
    assert json.loads(function["Environment"]["Variables"]["TABLES"]) == ["stock_v1", "sales_v1"]
    assert function["MemorySize"] == 3008
    rule = _named(resources(store, "AWS::Events::Rule"), "FeaturesMaintenanceSchedule")
    assert rule["ScheduleExpression"] == "rate(1 day)"
    policy = _named(resources(store, "AWS::IAM::ManagedPolicy"), "FeaturesMaintenanceRolePolicy")
    deletes = [s for s in policy["PolicyDocument"]["Statement"] if "s3:DeleteObject" in s["Action"]]
    assert [s["Resource"]["Fn::Join"][1][-1] for s in deletes] == ["/demand_features/*"]
    assert "Manifests" not in json.dumps([function["Environment"], policy["PolicyDocument"]])


def test_a_store_of_clients_alone_is_maintained_by_hand(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Needs no layer."""
    store = define_store(group())
    assert not [name for name in resources(store, "AWS::Lambda::Function") if "Maintenance" in name]
    assert not resources(store, "AWS::Lambda::LayerVersion")


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        ({"maintenance": True}, 1),
        ({"ingest": FeatureIngest()}, 1),
        ({"ingest": FeatureIngest(), "maintenance": True}, 1),
    ],
)
def test_a_store_that_asks_for_it_is_maintained_daily(
    define_store: DefineStore, group: Group, resources: Resources, given: dict[str, Any], layers: int
) -> None:
    """Functions of a store share one layer."""
    store = define_store(group(), **given)
    function = _named(resources(store, "AWS::Lambda::Function"), "FeaturesMaintenance")
    assert len(function["Layers"]) == 1
    assert len(resources(store, "AWS::Lambda::LayerVersion")) == layers


def test_online_groups_bring_it(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """The function that publishes online rows needs the layer anyway."""
    store = define_store(group(online=True))
    assert _named(resources(store, "AWS::Events::Rule"), "FeaturesMaintenanceSchedule")
    assert len(resources(store, "AWS::Lambda::LayerVersion")) == 1


def test_it_can_be_left_to_another(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """Leaves maintenance to a pipeline that runs the command, for example."""
    store = define_store(group(), ingest=FeatureIngest(), maintenance=False)
    assert not [name for name in resources(store, "AWS::Lambda::Function") if "Maintenance" in name]


def test_lake_formation_lets_the_function_rewrite(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Without Lake Formation permissions its statements are insufficient."""
    store = define_store(group(), ingest=FeatureIngest(), access=FeatureAccess.LAKE_FORMATION)

    permissions = resources(store, "AWS::LakeFormation::PrincipalPermissions").values()
    principals = [p["Principal"]["DataLakePrincipalIdentifier"] for p in permissions if "DELETE" in p["Permissions"]]
    assert any("FeaturesMaintenanceRole" in json.dumps(principal) for principal in principals)


def test_builds_by_athena_let_it_remove_what_they_leave(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """Two grants add the statements once; without a grant the function knows no training sets."""
    store = define_store(group(), ingest=FeatureIngest())
    for name in ("One", "Other"):
        store.grant_build_by_athena(iam.Role(cdk.Stack.of(store), name, assumed_by=iam.AccountRootPrincipal()))

    function = _named(resources(store, "AWS::Lambda::Function"), "FeaturesMaintenance")
    assert "TRAINING_SETS" in function["Environment"]["Variables"]
    policy = _named(resources(store, "AWS::IAM::ManagedPolicy"), "FeaturesMaintenanceRolePolicy")
    statements = policy["PolicyDocument"]["Statement"]
    (deletes,) = [s for s in statements if s["Action"] == "glue:DeleteTable"]
    assert json.dumps(deletes["Resource"][-1]).endswith('/mlops_rows_*"]]}')
    staged = [s["Resource"]["Fn::Join"][1][-1] for s in statements if "s3:DeleteObject" in s["Action"]]
    assert staged == ["/demand_features/*", "/staged/*"]
