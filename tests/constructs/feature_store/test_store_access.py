"""A unit that reads another's groups: names, grants, and the combined effect of boundary, role and key. Permissions of Athena."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk.assertions import Template
from ministack.core import iam_evaluator

from mlops_constructs import (
    BusinessUnit,
    Entity,
    Feature,
    FeatureAccess,
    FeatureGroup,
    FeatureStore,
    IFeatureStore,
    IUnitFeatureStore,
    Profile,
    ValidationError,
)
from mlops_constructs._arguments import is_of, problem_of
from mlops_constructs._roles import ServiceRole, service_role
from mlops_constructs.compliance.harness import check
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.unit_entries import STORE_PARAMETERS, unit_parameter
from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.features.store_client import FeatureStoreClient

ACCOUNT, REGION = "123456789012", "eu-west-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234"
ENVIRONMENT = cdk.Environment(account=ACCOUNT, region=REGION)
TABLE = f"arn:aws:glue:{REGION}:{ACCOUNT}:table/pricing_features"


class Reader:
    """A unit with a reading role, and the role's policies with concrete ARNs."""

    def __init__(self, *, is_imported: bool, group: Any, access: FeatureAccess = FeatureAccess.IAM) -> None:
        """Define the unit ``demand``, which imports groups of ``pricing`` or only gets its statements."""
        self.stack = cdk.Stack(cdk.App(), "Reader", env=ENVIRONMENT)
        self.unit = BusinessUnit(self.stack, "Unit", name="demand")
        importer = self.unit if is_imported else BusinessUnit(self.stack, "Other", name="other")
        self.store: IFeatureStore = FeatureStore.from_feature_store_attributes(
            self.stack,
            "Prices",
            business_unit=importer,
            owner_name="pricing",
            data_bucket=s3.Bucket.from_bucket_name(self.stack, "Data", "pricing-data"),
            key=kms.Key.from_key_arn(self.stack, "Key", KEY),
            groups=[group("price")],
            access=access,
        )
        self.role: ServiceRole = service_role(
            self.stack,
            "Role",
            service="lambda.amazonaws.com",
            statements=self.store.read_statements(),
            business_unit=self.unit,
            description="reads prices",
            wildcard_reason="objects of a table have names that writers give them; rejected: a list of all of them",
        )

    def decision(self, action: str, resource: str, context: Mapping[str, str]) -> str:
        """Return IAM's decision for the role, within its boundary."""
        document = Template.from_stack(self.stack).to_json()["Resources"]
        policies = {n: r for n, r in document.items() if r["Type"] == "AWS::IAM::ManagedPolicy"}
        role, boundary = (self._parsed(policies, part) for part in ("RolePolicy", "UnitBoundary"))
        request = iam_evaluator.EvalContext(
            principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/s",
            principal_type="AssumedRole",
            principal_account=ACCOUNT,
            action=action,
            resource_arn=resource,
            region=REGION,
            service_context=dict(context),
        )
        return str(iam_evaluator.evaluate(request, role, boundary).decision)

    def _parsed(self, policies: Mapping[str, Any], part: str) -> list[Any]:
        (found,) = (p for n, p in policies.items() if n.startswith(part))
        text = json.dumps(_plain(found["Properties"]["PolicyDocument"]))
        return [iam_evaluator.parse_policy_document(text)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"Fn::Join"}:
            return "".join(map(str, (_plain(part) for part in value["Fn::Join"][1])))
        if set(value) == {"Ref"}:
            return {"AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}.get(value["Ref"], value["Ref"])
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


# the evaluator expects lower-case condition keys
OWNER = {"aws:resourcetag/mlops:unit": "pricing"}
VIA_S3 = {"kms:viaservice": f"s3.{REGION}.amazonaws.com"}
NEEDS = [
    ("glue:GetTable", f"{TABLE}/price_v1", {}),
    ("glue:GetTable", f"arn:aws:glue:{REGION}:{ACCOUNT}:database/pricing_features", {}),
    ("s3:GetObject", "arn:aws:s3:::pricing-data/pricing_features/price_v1/data/a.parquet", OWNER),
    ("s3:ListBucket", "arn:aws:s3:::pricing-data", {**OWNER, "s3:prefix": "pricing_features/price_v1/metadata"}),
    ("kms:Decrypt", KEY, {**OWNER, **VIA_S3}),
]


@pytest.mark.parametrize(("action", "resource", "context"), NEEDS)
def test_what_was_imported_is_read(group: Any, action: str, resource: str, context: dict[str, str]) -> None:
    """Reads catalog, objects and key, although bucket and key have the other unit's tag."""
    assert Reader(is_imported=True, group=group).decision(action, resource, context) == "Allow"


@pytest.mark.parametrize(("action", "resource", "context"), [need for need in NEEDS if need[2]])
def test_what_was_not_imported_is_denied_by_the_boundary(
    group: Any, action: str, resource: str, context: dict[str, str]
) -> None:
    """With the same role policy the boundary denies access."""
    assert Reader(is_imported=False, group=group).decision(action, resource, context) == "Deny"


@pytest.mark.parametrize(
    ("action", "resource", "context", "decision"),
    [
        ("kms:GenerateDataKey", KEY, {**OWNER, **VIA_S3}, "Deny"),
        ("s3:PutObject", "arn:aws:s3:::pricing-data/pricing_features/price_v1/data/a.parquet", OWNER, "Deny"),
        ("dynamodb:GetItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/rollout", OWNER, "Deny"),
        ("kms:Decrypt", KEY, {"aws:resourcetag/mlops:unit": "finance", **VIA_S3}, "Deny"),
        ("kms:Decrypt", KEY, OWNER, "ImplicitDeny"),
        ("s3:GetObject", "arn:aws:s3:::pricing-data/pricing_features/cost_v1/data/a.parquet", OWNER, "ImplicitDeny"),
        ("s3:ListBucket", "arn:aws:s3:::pricing-data", {**OWNER, "s3:prefix": "sets/"}, "ImplicitDeny"),
        ("glue:GetTable", f"{TABLE}/cost_v1", {}, "ImplicitDeny"),
        ("glue:UpdateTable", f"{TABLE}/price_v1", {}, "ImplicitDeny"),
    ],
)
def test_nothing_else_of_the_other_unit_is_reached(
    group: Any, action: str, resource: str, context: dict[str, str], decision: str
) -> None:
    """Denies other groups, writes, a third unit, and the key except through S3."""
    assert Reader(is_imported=True, group=group).decision(action, resource, context) == decision


def test_the_owners_key_leaves_use_to_the_accounts_policies(define_store: Any, group: Any, resources: Any) -> None:
    """The key policy lets the account decrypt, so an identity policy of the same account suffices.

    See: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    store = define_store(group("price"), unit="pricing")

    (key,) = (key for key in resources(store, "AWS::KMS::Key").values() if "KeyUsage" not in key)
    (statement,) = (s for s in key["KeyPolicy"]["Statement"] if s.get("Sid") == "Administer")
    assert "kms:Decrypt" in statement["Action"]
    assert f"iam::{ACCOUNT}:root" in str(statement["Principal"])
    assert "Condition" not in statement


def test_names_are_those_of_the_owner(group: Any) -> None:
    """Database and tables have the names of the other unit's stack."""
    store = Reader(is_imported=True, group=group).store

    assert store.database_name == "pricing_features"
    assert store.table_names == ("price_v1",)
    assert store.table_name(group("price")) == "price_v1"
    assert store.data_bucket.bucket_name == "pricing-data"
    assert store.key.key_arn == KEY


def test_several_units_are_read_and_the_own_name_changes_nothing(group: Any) -> None:
    """The boundary lists each unit once."""
    reader = Reader(is_imported=True, group=group)
    for unit in ("finance", "pricing", "demand"):
        reader.unit.read_from(unit)

    found = Template.from_stack(reader.stack).find_resources("AWS::IAM::ManagedPolicy")
    (boundary,) = (p["Properties"]["PolicyDocument"]["Statement"] for n, p in found.items() if "Boundary" in n)
    (reads,) = (s for s in boundary if s.get("Sid") == "OtherUnitsReads")
    (others,) = (s for s in boundary if s.get("Sid") == "OtherUnits")
    assert reads["Condition"]["StringNotEquals"] == {"aws:ResourceTag/mlops:unit": ["demand", "pricing", "finance"]}
    assert others["Condition"]["StringNotEquals"] == {"aws:ResourceTag/mlops:unit": "demand"}
    assert set(reads["Action"]) <= set(others["NotAction"])


@pytest.mark.parametrize("kind", ["role", "imported role", "user"])
def test_an_imported_store_grants_reading(group: Any, kind: str) -> None:
    """Grants the named table with its key."""
    reader = Reader(is_imported=True, group=group)
    grantees: dict[str, iam.IGrantable] = {
        "role": iam.Role(reader.stack, "Caller", assumed_by=iam.AccountRootPrincipal()),
        "imported role": iam.Role.from_role_name(reader.stack, "Caller2", "analyst"),
        "user": iam.User(reader.stack, "Caller3"),
    }

    assert reader.store.grant_read(grantees[kind]).success

    (policy,) = Template.from_stack(reader.stack).find_resources("AWS::IAM::Policy").values()
    assert "pricing_features/price_v1/*" in str(policy)
    assert KEY in str(policy)
    assert not hasattr(reader.store, "grant_write")


def test_columns_of_an_imported_store_are_permitted_by_its_lake(group: Any) -> None:
    """The reader's stack defines the permission."""
    reader = Reader(is_imported=True, group=group, access=FeatureAccess.LAKE_FORMATION)
    reader.store.grant_read(iam.User(reader.stack, "Caller"), columns=["cost"])

    template = Template.from_stack(reader.stack)
    template.resource_count_is("AWS::LakeFormation::PrincipalPermissions", 2)
    template.resource_count_is("AWS::LakeFormation::Resource", 0)


def test_attributes_may_be_tokens(group: Any) -> None:
    """Accepts tokens, such as parameters of the other unit's platform."""
    stack = cdk.Stack(cdk.App(), "Reader")
    value = {name: cdk.CfnParameter(stack, name).value_as_string for name in ("Bucket", "KeyArn")}
    store = FeatureStore.from_feature_store_attributes(
        stack,
        "Prices",
        business_unit=BusinessUnit(stack, "Unit", name="demand"),
        owner_name="pricing",
        data_bucket=s3.Bucket.from_bucket_name(stack, "Data", value["Bucket"]),
        key=kms.Key.from_key_arn(stack, "Key", value["KeyArn"]),
        groups=[group("price")],
    )
    store.grant_read(iam.User(stack, "Caller"))

    assert '{"Ref": "KeyArn"}' in json.dumps(Template.from_stack(stack).find_resources("AWS::IAM::Policy"))


def test_fails_without_groups_or_with_an_unknown_one(group: Any) -> None:
    """Only imported groups can be granted."""
    reader = Reader(is_imported=True, group=group)

    with pytest.raises(ValidationError, match="group must be one of 'price_v1', got 'cost_v1'"):
        reader.store.grant_read(iam.User(reader.stack, "Caller"), groups=[group("cost")])
    with pytest.raises(ValidationError, match="groups must have at least one feature group, got none"):
        FeatureStore.from_feature_store_attributes(
            reader.stack,
            "Nothing",
            business_unit=reader.unit,
            owner_name="pricing",
            data_bucket=reader.store.data_bucket,
            key=reader.store.key,
            groups=[],
        )


def test_a_store_publishes_what_other_stacks_of_its_unit_need(define_store: Any, group: Any, resources: Any) -> None:
    """Publishes the generated bucket names; the database's name derives from the unit's."""
    store = define_store(group())
    found = resources(store, "AWS::SSM::Parameter").values()
    names = {unit_parameter("demand", "production", parameter.field) for parameter in STORE_PARAMETERS}
    assert {p["Name"] for p in found if "/features/" in str(p["Name"])} == names


def test_another_stack_of_the_unit_trains_from_its_store(group: Any) -> None:
    """Reads, appends and builds training sets as in the defining stack; erasure and the online table stay there."""
    stack = cdk.Stack(cdk.App(), "Second", env=ENVIRONMENT)
    unit = BusinessUnit.from_name(stack, "Unit", name="demand")
    store = FeatureStore.from_name(stack, "Store", business_unit=unit, groups=[group()])
    role = iam.Role(stack, "Trainer", assumed_by=iam.AccountRootPrincipal())
    assert store.grant_build_training_sets(role).success
    template = Template.from_stack(stack)
    read = {p["Default"] for p in template.to_json()["Parameters"].values() if p["Type"].startswith("AWS::SSM")}
    (policy,) = template.find_resources("AWS::IAM::Policy").values()

    assert {unit_parameter("demand", "production", each.field) for each in STORE_PARAMETERS} <= read
    assert "table/demand_features/stock_v1" in json.dumps(policy)
    assert (is_of(store, IUnitFeatureStore), is_of(store, IFeatureStore)) == (True, True)
    assert not any(hasattr(store, name) for name in ("grant_erase", "online_table", "grant_deliver"))
    template.resource_count_is("AWS::S3::Bucket", 0)


def test_a_pipeline_is_not_given_a_store_that_is_only_read(group: Any) -> None:
    """Rejects another unit's store, whose interface has no training sets."""
    store = Reader(is_imported=True, group=group).store
    problem = problem_of("store", store, IUnitFeatureStore)
    assert problem == "store must be an IUnitFeatureStore, got a store_access.ImportedFeatureStore"


STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
)


def _store(folder: Path, **options: Any) -> FeatureStore:
    write_lock([STOCK], folder / "features.lock.json")
    stack = cdk.Stack(cdk.App(outdir=str(folder / "assembly")), "ByAthena")
    unit = BusinessUnit(stack, "Unit", name="by-athena", profile=Profile.DEVELOPMENT)
    return FeatureStore(
        stack, "Features", business_unit=unit, groups=[STOCK], lock_file=folder / "features.lock.json", **options
    )


def _synthesize(folder: Path) -> Path:
    store = _store(folder)
    stack = cdk.Stack.of(store)
    role = iam.Role(stack, "Scientist", assumed_by=iam.AccountRootPrincipal())
    store.grant_build_training_sets(role)
    store.grant_build_by_athena(role)
    for name, value in {
        "Sets": store.training_sets_bucket.bucket_name,
        "Manifests": store.manifests_bucket.bucket_name,
        "Role": role.role_name,
        "RoleArn": role.role_arn,
    }.items():
        cdk.CfnOutput(stack, name, value=value)
    app = cdk.App.of(store)
    assert app is not None
    app.synth()
    return folder / "assembly"


@pytest.fixture(scope="module")
def scientist(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Return a store with rows, and a function that builds a set as the role."""
    assembly = _synthesize(tmp_path_factory.mktemp("athena"))
    outputs = deployer.deploy(cloud, assembly)["ByAthena"]
    day = datetime.fromisoformat(cloud.clock()["now"]) - timedelta(days=2)

    def client(session: boto3.Session | None, environment: Any) -> FeatureStoreClient:
        def made(name: str) -> Any:
            return cloud.client(name) if session is None else session.client(name, endpoint_url=cloud.endpoint_url)

        return FeatureStoreClient.glue(
            database="by_athena_features",
            environment=environment,
            now=lambda: day + timedelta(days=1),
            manifests=f"s3://{outputs['Manifests']}/manifests",
            training_sets=f"s3://{outputs['Sets']}",
            s3=made("s3"),
            glue=made("glue"),
            athena=AthenaRuns(made("athena"), output=f"s3://{outputs['Sets']}/staged/athena"),
        )

    batch = pa.table({"store_id": ["1"], "event_time": [day], "created_time": [day], "on_hand": [7]})
    client(None, cloud.environment()).backfill(STOCK, batch)

    def build(name: str) -> list[int | None]:
        keys = cloud.client("sts").assume_role(RoleArn=outputs["RoleArn"], RoleSessionName="scientist")["Credentials"]
        named = {
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }
        environment = {**cloud.environment(), **{each.upper(): value for each, value in named.items()}}
        mine = client(boto3.Session(region_name="us-east-1", **named), environment)
        entity_rows = pa.table({"store_id": ["1"], "event_timestamp": [day + timedelta(hours=1)]})
        built = mine.training_set(entity_rows, [STOCK], name=name, engine="athena")
        values: list[int | None] = built.rows["stock__on_hand"].to_pylist()
        return values

    yield SimpleNamespace(build=build, iam=cloud.client("iam"), role=outputs["Role"], store=client)
    deployer.destroy(cloud, assembly)


def _athenas(statement: dict[str, Any]) -> bool:
    said = json.dumps(statement)
    return any(word in said for word in ("athena:", "mlops_rows_", "/staged/*", "s3:ListBucketVersions"))


def test_a_scientist_builds_and_each_statement_is_needed(scientist: SimpleNamespace) -> None:
    """Builds with all statements; any missing one denies the build."""
    (name,) = scientist.iam.list_role_policies(RoleName=scientist.role)["PolicyNames"]
    whole = scientist.iam.get_role_policy(RoleName=scientist.role, PolicyName=name)["PolicyDocument"]
    statements = whole["Statement"]
    mine = [each for each in statements if _athenas(each)]
    assert len(mine) == 4

    for number, each in enumerate(mine):
        rest = {**whole, "Statement": [other for other in statements if other is not each]}
        scientist.iam.put_role_policy(RoleName=scientist.role, PolicyName=name, PolicyDocument=json.dumps(rest))
        with pytest.raises(Exception, match=r"(?i)not authorized|access ?denied|forbidden"):
            scientist.build(f"without-{number}")

    scientist.iam.put_role_policy(RoleName=scientist.role, PolicyName=name, PolicyDocument=json.dumps(whole))
    assert scientist.build("whole") == [7]


def test_results_may_lie_elsewhere(tmp_path: Path) -> None:
    """Results go to a bucket with its own key; the named workgroup is used."""
    store = _store(tmp_path)
    stack = cdk.Stack.of(store)
    role = iam.Role(stack, "Scientist", assumed_by=iam.AccountRootPrincipal())
    results = cdk.aws_s3.Bucket(stack, "Results", encryption=cdk.aws_s3.BucketEncryption.KMS)
    store.grant_build_by_athena(role, workgroup="science", results=results, results_prefix="answers")
    template = cdk.assertions.Template.from_stack(stack)
    (policy,) = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in template.find_resources("AWS::IAM::Policy").items()
        if name.startswith("Scientist")
    ]
    said = json.dumps(policy)
    assert "workgroup/science" in said
    assert "/answers/*" in said
    assert [each["Action"] for each in policy if "ResultsKey" in json.dumps(each["Resource"])] == [
        ["kms:Decrypt", "kms:GenerateDataKey"]
    ]


def test_lake_formation_is_refused_by_name(tmp_path: Path) -> None:
    """Only administrators of the data lake let others create tables."""
    store = _store(tmp_path, access=FeatureAccess.LAKE_FORMATION)
    role = iam.Role(cdk.Stack.of(store), "Scientist", assumed_by=iam.AccountRootPrincipal())
    with pytest.raises(ValidationError, match=r"AthenaNeedsIam.*CREATE_TABLE on .* in Lake Formation; build by Spark"):
        store.grant_build_by_athena(role)


def test_cdk_nag_finds_two_patterns_and_nothing_else(tmp_path: Path) -> None:
    """Only names of entity-row tables and staged files use wildcards; the inline grant belongs to its own role."""
    store = _store(tmp_path)
    stack = cdk.Stack.of(store)
    store.grant_build_by_athena(iam.Role(stack, "Scientist", assumed_by=iam.AccountRootPrincipal()))
    app = stack.node.root
    assert isinstance(app, cdk.App)
    found = [each for each in check(app).problems if "Scientist" in each and "NoInlinePolicy" not in each]
    assert len(found) == 2
    assert all("AwsSolutions-IAM5[Resource::" in each for each in found)
    assert sorted(each.partition("]")[0].rpartition("/")[2] for each in found) == ["*", "mlops_rows_*"]
    assert any(".Arn>/staged/*]" in each for each in found)
