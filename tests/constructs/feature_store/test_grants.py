"""Grants to read, write and build: how far they reach, and that none vanishes."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from mlops_constructs import ValidationError
from mlops_constructs._iam import service_role


def _statements(resources: Any, construct: Any, kind: str = "AWS::IAM::Policy") -> list[dict[str, Any]]:
    policies = resources(construct, kind).values()
    return [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]


def _with(statements: list[dict[str, Any]], action: str) -> dict[str, Any]:
    (found,) = (s for s in statements if action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"]))
    return found


@pytest.mark.parametrize("method", ["grant_read", "grant_write"])
def test_a_grant_for_some_groups_reaches_no_other(define_store: Any, group: Any, resources: Any, method: str) -> None:
    """Catalog entries, objects and listing are those of the group's table."""
    store = define_store(group("stock"), group("sales"))
    role = iam.Role(store, "Caller", assumed_by=iam.AccountRootPrincipal())

    getattr(store, method)(role, groups=[group("stock")])

    statements = _statements(resources, store)
    assert "sales_v1" not in str(statements)
    assert str(_with(statements, "s3:GetObject")["Resource"]).endswith("'/demand_features/stock_v1/*']]}")
    assert _with(statements, "s3:ListBucket")["Condition"] == {
        "StringLike": {"s3:prefix": ["demand_features/stock_v1", "demand_features/stock_v1/*"]}
    }
    assert ":table/demand_features/stock_v1" in str(_with(statements, "glue:GetTable")["Resource"])


def test_a_grant_without_groups_reaches_all(define_store: Any, group: Any, resources: Any) -> None:
    """One pattern for the objects of the database."""
    store = define_store(group("stock"), group("sales"))

    store.grant_read(iam.User(store, "Caller"))

    statements = _statements(resources, store)
    assert str(_with(statements, "s3:GetObject")["Resource"]).endswith("'/demand_features/*']]}")
    assert "Condition" not in _with(statements, "s3:ListBucket")
    assert all(f":table/demand_features/{name}_v1" in str(statements) for name in ("stock", "sales"))


def test_builders_write_sets_manifests_and_lineage(define_store: Any, group: Any, resources: Any) -> None:
    """Of tables they write metadata files alone, for tags; what a set is known by is written once."""
    store = define_store(group("stock"))

    store.grant_build_training_sets(iam.User(store, "Caller"))

    puts = [s for s in _statements(resources, store) if s["Action"] == "s3:PutObject"]
    written = {tuple(arn["Fn::Join"][1][-1] for arn in put["Resource"]): put.get("Condition") for put in puts}
    assert written == {
        ("/demand_features/*/metadata/*.metadata.json", "/sets/*"): None,
        ("/lineage/*", "/manifests/*", "/entities/*"): {"Null": {"s3:if-none-match": "false"}},
    }


def test_an_erasure_removes_every_version_of_rows_and_no_manifest(
    define_store: Any, group: Any, resources: Any
) -> None:
    """Versioned buckets keep what is deleted; what was erased stays on record."""
    store = define_store(group("stock"))

    store.grant_erase(iam.User(store, "Caller"))

    statements = _statements(resources, store)
    removed = _with(statements, "s3:DeleteObjectVersion")
    assert removed["Action"] == ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    assert [arn["Fn::Join"][1][-1] for arn in removed["Resource"]] == ["/demand_features/*", "/entities/*", "/sets/*"]
    written = _with(statements, "s3:PutObject")["Resource"]
    assert [arn["Fn::Join"][1][-1] for arn in written] == ["/demand_features/*", "/manifests/*"]
    assert "Manifests" not in str(_with(statements, "s3:ListBucketVersions")["Resource"])


@pytest.mark.parametrize("method", ["grant_read", "grant_write", "grant_build_training_sets", "grant_erase"])
def test_an_imported_role_gets_a_policy(define_store: Any, group: Any, resources: Any, method: str) -> None:
    """Of the same account it can be attached to."""
    store = define_store(group("stock"))
    role = iam.Role.from_role_arn(store, "Caller", "arn:aws:iam::123456789012:role/analyst")

    assert getattr(store, method)(role).success

    (policy,) = resources(store, "AWS::IAM::Policy").values()
    assert policy["Roles"] == ["analyst"]


def test_a_role_of_ours_keeps_the_grant_in_its_second_policy(define_store: Any, group: Any, resources: Any) -> None:
    """ADR 5: customer managed, in the template."""
    store = define_store(group("stock"), group("sales"))

    unit = cdk.Stack.of(store).node.find_child("Unit")
    role = service_role(
        store,
        "Ours",
        service="lambda.amazonaws.com",
        statements=[iam.PolicyStatement(actions=["sns:Publish"], resources=["arn:aws:sns:eu-west-1:123456789012:t"])],
        business_unit=unit,  # type: ignore[arg-type] # it is the unit
        description="a role of ours",
    )

    store.grant_read(role, groups=[group("sales")])

    (granted,) = (p for n, p in resources(store, "AWS::IAM::ManagedPolicy").items() if "OursGranted" in n)
    assert "sales_v1" in str(granted)


def _grantees(scope: Any) -> dict[str, iam.IGrantable]:
    made = iam.Role(scope, "Made", assumed_by=iam.AccountRootPrincipal())
    here = "arn:aws:iam::123456789012:role/analyst"
    return {
        "without_policy_updates": made.without_policy_updates(),
        "immutable": iam.Role.from_role_arn(scope, "Immutable", here, mutable=False),
        "other account": iam.Role.from_role_arn(scope, "Other", "arn:aws:iam::210987654321:role/analyst"),
        "arn": iam.ArnPrincipal(here),
        "account": iam.AccountPrincipal("210987654321"),
        "service": iam.ServicePrincipal("glue.amazonaws.com"),
    }


@pytest.mark.parametrize("kind", ["without_policy_updates", "immutable", "other account", "arn", "account", "service"])
@pytest.mark.parametrize("method", ["grant_read", "grant_write", "grant_build_training_sets", "grant_erase"])
def test_fails_when_a_grant_would_vanish(define_store: Any, group: Any, kind: str, method: str) -> None:
    """CDK says of some of these that the statement was added, and adds none."""
    store = define_store(group("stock"))

    with pytest.raises(
        ValidationError, match=r"LostGrant: grantee .* takes no policy from this stack: grant to a role"
    ):
        getattr(store, method)(_grantees(store)[kind])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["price"], "UnknownFeatureGroup: group must be one of 'stock_v1', 'sales_v1', got 'price_v1'"),
        ([], "groups must name at least one of 'stock_v1', 'sales_v1', got none; leave it out for all"),
    ],
)
def test_fails_on_groups_that_there_are_not(define_store: Any, group: Any, groups: list[str], message: str) -> None:
    """An empty list is a mistake, not everything."""
    store = define_store(group("stock"), group("sales"))

    with pytest.raises(ValidationError, match=message):
        store.grant_read(iam.User(store, "Caller"), groups=[group(name) for name in groups])


def test_fails_when_iam_would_have_to_hold_columns_back(define_store: Any, group: Any) -> None:
    """A Parquet file is read whole: the message names the way that can."""
    store = define_store(group("stock"))

    with pytest.raises(ValidationError) as raised:
        store.grant_read(iam.User(store, "Caller"), groups=[group("stock")], columns=["cost"])

    assert raised.value.code == "ColumnsNeedLakeFormation"
    assert "columns=['cost'] cannot be held by IAM" in str(raised.value)
    assert "declare the store with access=FeatureAccess.LAKE_FORMATION, or leave columns out" in str(raised.value)


def test_a_name_that_is_a_token_is_granted_unread(define_store: Any, group: Any, resources: Any) -> None:
    """A role whose name is known at deployment is as good as another."""
    store = define_store(group("stock"))
    name = cdk.CfnParameter(cdk.Stack.of(store), "RoleName").value_as_string

    store.grant_read(iam.Role.from_role_name(store, "Caller", name))

    (policy,) = resources(store, "AWS::IAM::Policy").values()
    assert policy["Roles"] == [{"Ref": "RoleName"}]
