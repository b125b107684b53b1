"""Permissions for `engine="athena"`, granted by the store: sufficient with IAM enforced, and minimal."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pytest
from aws_cdk import aws_iam as iam

from mlops_constructs import (
    BusinessUnit,
    Entity,
    Feature,
    FeatureAccess,
    FeatureGroup,
    FeatureStore,
    Profile,
    ValidationError,
)
from mlops_constructs.compliance.harness import check
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.features.athena_runs import AthenaRuns
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.features.store_client import FeatureStoreClient

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
        asked = pa.table({"store_id": ["1"], "event_timestamp": [day + timedelta(hours=1)]})
        built = mine.training_set(asked, [STOCK], name=name, engine="athena")
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
