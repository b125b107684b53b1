"""Grants to read, write and build, and column permissions of Lake Formation."""

import json
from datetime import timedelta
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import FeatureAccess, ValidationError
from mlops_constructs._roles import service_role
from mlops_local.stacks import resource_types

LF = FeatureAccess.LAKE_FORMATION
METHODS = ("grant_describe", "grant_read", "grant_write", "grant_build_training_sets", "grant_erase")
KIND = "AWS::LakeFormation::PrincipalPermissions"


def _statements(resources: Any, construct: Any, kind: str = "AWS::IAM::Policy") -> list[dict[str, Any]]:
    policies = resources(construct, kind).values()
    return [s for policy in policies for s in policy["PolicyDocument"]["Statement"]]


def _with(statements: list[dict[str, Any]], action: str) -> dict[str, Any]:
    (found,) = (s for s in statements if action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"]))
    return found


@pytest.mark.parametrize(("method", "below"), [("grant_read", ("",)), ("grant_write", ("", "ledger/"))])
def test_a_grant_for_some_groups_reaches_no_other(
    define_store: Any, group: Any, resources: Any, method: str, below: tuple[str, ...]
) -> None:
    """Covers catalog entries, objects and listing of the group's table, and of its ledger for writers."""
    store = define_store(group("stock"), group("sales"))
    role = iam.Role(store, "Caller", assumed_by=iam.AccountRootPrincipal())

    getattr(store, method)(role, groups=[group("stock")])

    statements = _statements(resources, store)
    assert "sales_v1" not in str(statements)
    read = _with(statements, "s3:GetObject")["Resource"]
    arns = read if isinstance(read, list) else [read]
    assert [arn["Fn::Join"][1][-1] for arn in arns] == [f"/{each}demand_features/stock_v1/*" for each in below]
    folders = [f"{each}demand_features/stock_v1" for each in below]
    assert _with(statements, "s3:ListBucket")["Condition"] == {
        "StringLike": {"s3:prefix": [*folders, *(f"{folder}/*" for folder in folders)]}
    }
    assert ":table/demand_features/stock_v1" in str(_with(statements, "glue:GetTable")["Resource"])


def test_a_grant_without_groups_reaches_all(define_store: Any, group: Any, resources: Any) -> None:
    """Uses one pattern for the objects of the database."""
    store = define_store(group("stock"), group("sales"))

    store.grant_read(iam.User(store, "Caller"))

    statements = _statements(resources, store)
    assert str(_with(statements, "s3:GetObject")["Resource"]).endswith("'/demand_features/*']]}")
    assert "Condition" not in _with(statements, "s3:ListBucket")
    assert all(f":table/demand_features/{name}_v1" in str(statements) for name in ("stock", "sales"))


def test_builders_write_sets_manifests_and_lineage(define_store: Any, group: Any, resources: Any) -> None:
    """Builders write only metadata files of tables, for tags; everything else is created once."""
    store = define_store(group("stock"))

    store.grant_build_training_sets(iam.User(store, "Caller"))

    puts = [s for s in _statements(resources, store) if s["Action"] == "s3:PutObject"]
    listed = [put["Resource"] if isinstance(put["Resource"], list) else [put["Resource"]] for put in puts]
    written = {
        tuple(arn["Fn::Join"][1][-1] for arn in arns): put.get("Condition")
        for arns, put in zip(listed, puts, strict=True)
    }
    assert written == {
        ("/demand_features/*/metadata/*.metadata.json",): None,
        ("/lineage/*", "/manifests/*", "/entities/*", "/sets/*"): {"Null": {"s3:if-none-match": "false"}},
    }


def test_who_may_describe_reads_no_row(define_store: Any, group: Any, resources: Any) -> None:
    """Reads metadata files and manifests only; writes nothing and reads no training set."""
    store = define_store(group("stock"), group("sales"))

    store.grant_describe(iam.User(store, "Caller"))

    statements = _statements(resources, store)
    actions = {a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    assert actions == {"glue:GetTables", "kms:Decrypt", "s3:GetObject", "s3:ListBucket"}
    read = _with(statements, "s3:GetObject")["Resource"]
    assert [arn["Fn::Join"][1][-1] for arn in read] == ["/demand_features/*/metadata/*.metadata.json", "/manifests/*"]
    assert "Manifests" in str(_with(statements, "s3:ListBucket")["Resource"])


def test_an_erasure_removes_every_version_of_rows_and_no_manifest(
    define_store: Any, group: Any, resources: Any
) -> None:
    """Deletes all versions in versioned buckets; the record of the erasure remains."""
    store = define_store(group("stock"))

    store.grant_erase(iam.User(store, "Caller"))

    statements = _statements(resources, store)
    removed = _with(statements, "s3:DeleteObjectVersion")
    assert removed["Action"] == ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    folders = ["/demand_features/*", "/erasing/*", "/entities/*", "/sets/*", "/staged/*"]
    assert [arn["Fn::Join"][1][-1] for arn in removed["Resource"]] == folders
    written = _with(statements, "s3:PutObject")["Resource"]
    assert [arn["Fn::Join"][1][-1] for arn in written] == [
        "/demand_features/*",
        "/ledger/demand_features/*",
        "/erasing/*",
        "/manifests/*",
    ]
    requested = _with(statements, "sagemaker:DescribeProcessingJob")["Resource"]
    assert requested["Fn::Join"][1][-1].endswith(":processing-job/demand-*")
    assert "Sets" not in str(_with(statements, "s3:ListBucketMultipartUploads")["Resource"])
    assert "Manifests" not in str(_with(statements, "s3:ListBucketVersions")["Resource"])


@pytest.mark.parametrize("method", METHODS)
def test_an_imported_role_gets_a_policy(define_store: Any, group: Any, resources: Any, method: str) -> None:
    """Roles of the same account get an attached policy."""
    store = define_store(group("stock"))
    role = iam.Role.from_role_arn(store, "Caller", "arn:aws:iam::123456789012:role/analyst")

    assert getattr(store, method)(role).success

    (policy,) = resources(store, "AWS::IAM::Policy").values()
    assert policy["Roles"] == ["analyst"]


def test_a_role_of_ours_keeps_the_grant_in_its_second_policy(define_store: Any, group: Any, resources: Any) -> None:
    """Uses a customer-managed policy in the template, as ADR 5 requires."""
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
@pytest.mark.parametrize("method", METHODS)
def test_fails_when_a_grant_would_vanish(define_store: Any, group: Any, kind: str, method: str) -> None:
    """CDK reports some of these statements as added without adding them."""
    store = define_store(group("stock"))

    with pytest.raises(
        ValidationError, match=r"LostGrant: no policy can be added to grantee .* from this stack: grant to a role"
    ):
        getattr(store, method)(_grantees(store)[kind])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["price"], "UnknownFeatureGroup: group must be one of 'stock_v1', 'sales_v1', got 'price_v1'"),
        ([], "groups must contain at least one of 'stock_v1', 'sales_v1', got none; omit it for all"),
    ],
)
def test_fails_on_groups_that_there_are_not(define_store: Any, group: Any, groups: list[str], message: str) -> None:
    """An empty list is an error and does not mean all groups."""
    store = define_store(group("stock"), group("sales"))

    with pytest.raises(ValidationError, match=message):
        store.grant_read(iam.User(store, "Caller"), groups=[group(name) for name in groups])


def test_fails_when_iam_would_have_to_hold_columns_back(define_store: Any, group: Any) -> None:
    """Parquet files are read whole: the message names Lake Formation."""
    store = define_store(group("stock"))

    with pytest.raises(ValidationError) as raised:
        store.grant_read(iam.User(store, "Caller"), groups=[group("stock")], columns=["cost"])

    assert raised.value.code == "ColumnsNeedLakeFormation"
    assert "columns=['cost'] cannot be enforced by IAM" in str(raised.value)
    assert "declare the store with access=FeatureAccess.LAKE_FORMATION, or remove columns" in str(raised.value)


def test_a_name_that_is_a_token_is_granted_unread(define_store: Any, group: Any, resources: Any) -> None:
    """A role with a name known at deployment is accepted."""
    store = define_store(group("stock"))
    name = cdk.CfnParameter(cdk.Stack.of(store), "RoleName").value_as_string

    store.grant_read(iam.Role.from_role_name(store, "Caller", name))

    (policy,) = resources(store, "AWS::IAM::Policy").values()
    assert policy["Roles"] == [{"Ref": "RoleName"}]


def _permissions(resources: Any, store: Any, principal: str) -> list[tuple[list[str], str, dict[str, Any]]]:
    found = []
    for properties in resources(store, KIND).values():
        if principal in str(properties["Principal"]):
            ((kind, resource),) = properties["Resource"].items()
            found.append((properties["Permissions"], kind, resource))
    return sorted(found, key=str)


def test_under_iam_there_is_nothing_of_it(define_store: Any, group: Any, resources: Any) -> None:
    """IAM access, the default, adds no Lake Formation resource."""
    store = define_store(group("stock"))
    store.grant_read(iam.User(store, "Caller"))

    assert store.access is FeatureAccess.IAM
    assert resources(store, KIND) == resources(store, "AWS::LakeFormation::Resource") == {}


def test_the_location_is_registered_with_a_role_of_its_own(define_store: Any, group: Any, resources: Any) -> None:
    """Registers only the tables' prefix; the role trusts Lake Formation and Glue for this account.

    See: https://docs.aws.amazon.com/lake-formation/latest/dg/registration-role.html
    """
    store = define_store(group("stock"), access=LF)

    (location,) = resources(store, "AWS::LakeFormation::Resource").values()
    assert location["ResourceArn"]["Fn::Join"][1][-1] == "/demand_features"
    assert (location["UseServiceLinkedRole"], location["HybridAccessEnabled"]) == (False, False)
    (role,) = (p for n, p in resources(store, "AWS::IAM::Role").items() if "LocationRole" in n)
    trust = {s["Principal"]["Service"]: s["Condition"] for s in role["AssumeRolePolicyDocument"]["Statement"]}
    assert set(trust) == {"lakeformation.amazonaws.com", "glue.amazonaws.com"}
    account = {"aws:SourceAccount": "123456789012"}
    assert trust["glue.amazonaws.com"] == {"StringEqualsIfExists": account}
    assert trust["lakeformation.amazonaws.com"]["StringEquals"] == account
    source = trust["lakeformation.amazonaws.com"]["ArnLike"]["aws:SourceArn"]
    assert "".join(p if isinstance(p, str) else "aws" for p in source["Fn::Join"][1]) == (
        "arn:aws:lakeformation:eu-west-1:123456789012:*"
    )


@pytest.mark.parametrize("kind", ["role", "imported role", "user"])
def test_columns_are_granted_with_what_identifies_a_row(
    define_store: Any, group: Any, resources: Any, kind: str
) -> None:
    """Grants SELECT on columns, DESCRIBE on the database and credentials by Lake Formation, but not the objects."""
    store = define_store(group("stock"), group("sales"), access=LF)
    grantees: dict[str, iam.IGrantable] = {
        "role": iam.Role(store, "Caller", assumed_by=iam.AccountRootPrincipal()),
        "imported role": iam.Role.from_role_arn(store, "Caller2", "arn:aws:iam::123456789012:role/Caller"),
        "user": iam.User(store, "Caller3"),
    }

    assert store.grant_read(grantees[kind], groups=[group("stock")], columns=["cost"]).success

    assert [(p, k) for p, k, _ in _permissions(resources, store, "Caller")] == [
        (["DESCRIBE"], "Database"),
        (["SELECT"], "TableWithColumns"),
    ]
    part = _permissions(resources, store, "Caller")[1][2]
    assert (part["DatabaseName"], part["Name"]) == ("demand_features", "stock_v1")
    assert part["ColumnNames"] == ["store_id", "event_time", "created_time", "ingest_id", "cost"]
    (policy,) = resources(store, "AWS::IAM::Policy").values()
    statements = policy["PolicyDocument"]["Statement"]
    actions = {a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    assert actions == {"glue:GetDatabase", "glue:GetTable", "glue:GetTables", "lakeformation:GetDataAccess"}


def test_whole_tables_are_permitted_table_by_table(define_store: Any, group: Any, resources: Any) -> None:
    """Readers select, writers insert and commit, builders commit tags, all through Lake Formation's metadata."""
    store = define_store(group("stock"), access=LF)
    for method in METHODS:
        getattr(store, method)(iam.User(store, method.title().replace("_", "")))

    def of(name: str) -> list[str]:
        (found,) = (p for p, kind, _ in _permissions(resources, store, name) if kind == "Table")
        return found

    assert of("GrantDescribe") == ["DESCRIBE"]
    assert of("GrantRead") == ["DESCRIBE", "SELECT"]
    assert of("GrantWrite") == ["ALTER", "DESCRIBE", "INSERT", "SELECT"]
    assert of("GrantErase") == ["ALTER", "DELETE", "DESCRIBE", "INSERT", "SELECT"]
    assert of("GrantBuildTrainingSets") == ["ALTER", "DESCRIBE", "SELECT"]


def test_writers_and_builders_keep_the_objects_rights(define_store: Any, group: Any, resources: Any) -> None:
    """The client reads and writes objects itself."""
    store = define_store(group("stock"), access=LF)
    store.grant_write(iam.User(store, "Caller"))

    (policy,) = resources(store, "AWS::IAM::Policy").values()
    assert "s3:PutObject" in str(policy)


def test_roles_of_ours_are_admitted(define_store: Any, group: Any, resources: Any) -> None:
    """Without permissions the catalog would deny optimizers and the freshness function."""
    store = define_store(group("stock", freshness=timedelta(days=1)), access=LF)
    role = iam.Role(store, "Builder", assumed_by=iam.AccountRootPrincipal())
    store.admit(role, to="build")

    assert [p for p, kind, _ in _permissions(resources, store, "OptimizerRole") if kind == "Table"] == [
        ["ALTER", "DELETE", "DESCRIBE", "INSERT", "SELECT"]
    ]
    assert {tuple(p) for p, _, _ in _permissions(resources, store, "FreshnessRole")} == {("DESCRIBE",)}
    assert [p for p, kind, _ in _permissions(resources, store, "Builder") if kind == "Table"] == [
        ["ALTER", "DESCRIBE", "SELECT"]
    ]
    assert "lakeformation:GetDataAccess" in str(
        [p for n, p in resources(store, "AWS::IAM::ManagedPolicy").items() if "OptimizerRole" in n]
    )


def test_another_grant_is_another_resource(define_store: Any, group: Any, resources: Any) -> None:
    """Every property is create-only, so a changed grant is a new resource beside the old one."""
    schema = resource_types.schema(KIND)
    assert {p.removeprefix("/properties/") for p in schema["createOnlyProperties"]} >= {
        "Permissions",
        "PermissionsWithGrantOption",
        "Principal",
        "Resource",
    }

    def permitted(*columns: str) -> dict[str, dict[str, Any]]:
        store = define_store(group("stock"), access=LF)
        store.grant_read(iam.User(store, "Caller"), columns=columns)
        found: dict[str, dict[str, Any]] = resources(store, KIND)
        return found

    one, other = permitted("cost"), permitted("cost", "on_hand")

    assert set(one) & set(other)
    assert set(one) ^ set(other)
    assert all(one[name] == other[name] for name in set(one) & set(other))
    assert one == permitted("cost")


def test_the_same_grant_twice_is_one(define_store: Any, group: Any, resources: Any) -> None:
    """Two constructs may add the same grant."""
    store = define_store(group("stock"), access=LF)
    caller = iam.User(store, "Caller")
    store.grant_read(caller)
    before = len(resources(define_store(group("stock"), access=LF), KIND))
    store.grant_read(caller)

    assert len(resources(store, KIND)) == before + 2


def test_permissions_wait_for_location_and_tables(define_store: Any, group: Any) -> None:
    """Lake Formation rejects permissions on missing resources."""
    store = define_store(group("stock"), access=LF)
    store.grant_read(iam.User(store, "Caller"))

    found = Template.from_stack(cdk.Stack.of(store)).find_resources(KIND)
    assert all(any("Location" in d for d in r["DependsOn"]) for r in found.values())
    assert all(any("StockV1" in d for d in r["DependsOn"]) for r in found.values() if "Caller" in json.dumps(r))


def test_the_properties_fit_cloudformations_schemas(define_store: Any, group: Any) -> None:
    """The embedded cloud validates them by the same schemas."""
    store = define_store(group("stock"), access=LF)
    store.grant_read(iam.User(store, "Caller"), columns=["cost"])
    store.grant_write(iam.User(store, "Writer"))

    found = Template.from_stack(cdk.Stack.of(store)).to_json()["Resources"].values()
    checked = [r for r in found if r["Type"].startswith("AWS::LakeFormation::")]
    for resource in checked:
        properties = {
            name: "arn" if isinstance(value, dict) and set(value) & {"Fn::Join", "Fn::GetAtt"} else value
            for name, value in resource["Properties"].items()
        }
        if "Principal" in properties:
            properties["Principal"] = {"DataLakePrincipalIdentifier": "arn:aws:iam::123456789012:user/x"}
        resource_types.check_schema(resource["Type"], properties)
    assert len(checked) > 4


@pytest.mark.parametrize(
    ("groups", "columns", "message"),
    [
        (None, ["cost"], "columns must be of one group, got 2 groups; grant each separately"),
        (["stock"], [], "columns must contain at least one feature, got none; omit it for all"),
        (
            ["stock"],
            ["costs"],
            "column 'costs' is not one of cost, created_time, event_time, ingest_id, on_hand, store_id",
        ),
    ],
)
def test_fails_on_columns_that_cannot_be_meant(
    define_store: Any, group: Any, groups: list[str] | None, columns: list[str], message: str
) -> None:
    """Reports each problem and adds no permission."""
    store = define_store(group("stock"), group("sales"), access=LF)
    chosen = None if groups is None else [group(name) for name in groups]

    with pytest.raises(ValidationError, match=message):
        store.grant_read(iam.User(store, "Caller"), groups=chosen, columns=columns)


def test_fails_for_who_is_neither_role_nor_user(define_store: Any, group: Any) -> None:
    """Lake Formation does not support IAM groups."""
    store = define_store(group("stock"), access=LF)

    with pytest.raises(ValidationError, match="LostGrant: Lake Formation supports roles and users, got Group"):
        store.grant_read(iam.Group(store, "Analysts"))
