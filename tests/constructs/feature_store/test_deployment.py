"""The store on the embedded cloud with IAM enforced: deployment, updates, ages measured by the deployed function."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pytest
from aws_cdk import aws_iam as iam
from botocore.exceptions import ClientError
from pyiceberg.catalog.glue import GlueCatalog

from mlops_constructs import BusinessUnit, FeatureAccess, FeatureGroup, FeatureStore, Network, Profile
from mlops_runtime.features.lock_file import write_lock

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

pytestmark = pytest.mark.cloud


def _assembly(folder: Path, group: FeatureGroup, access: FeatureAccess, unit_name: str = "") -> Path:
    app = cdk.App(outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, f"Lake{access.name.title().replace('_', '')}")
    name = unit_name or ("lake-iam" if access is FeatureAccess.IAM else "lake-lf")
    unit = BusinessUnit(
        stack, "Unit", name=name, profile=Profile.DEVELOPMENT, network=Network.create(availability_zones=2)
    )
    folder.mkdir(exist_ok=True)
    write_lock([group], folder / "features.lock.json")
    store = FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=[group],
        lock_file=folder / "features.lock.json",
        access=access,
        snapshot_retention=cdk.Duration.days(91),
    )
    assert store.freshness_function is not None
    cdk.CfnOutput(stack, "Freshness", value=store.freshness_function.function_name)
    cdk.CfnOutput(stack, "Alarm", value=store.freshness_alarms["stock_v1"].alarm_name)
    cdk.CfnOutput(stack, "Database", value=store.database_name)
    cdk.CfnOutput(stack, "UnitName", value=unit.name)
    app.synth()
    return folder / "cdk.out"


def _table(cloud: "Cloud", database: str) -> Any:
    root = cloud.root_keys()
    keys = {"s3.access-key-id": root["aws_access_key_id"], "s3.secret-access-key": root["aws_secret_access_key"]}
    catalog = GlueCatalog(
        "embedded",
        client=cloud.client("glue"),
        **{"s3.endpoint": cloud.endpoint_url, "s3.region": "us-east-1", **keys},
    )
    return catalog.load_table((database, "stock_v1"))


def _now(cloud: "Cloud") -> datetime:
    """Return the cloud's time: CloudWatch rejects datapoints older than two weeks.

    See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
    """
    return datetime.fromisoformat(cloud.clock()["now"]).astimezone(UTC).replace(microsecond=0)


def _append(table: Any, newest: datetime) -> None:
    schema = table.schema().as_arrow()
    row = {
        "store_id": "a",
        "event_time": newest,
        "created_time": newest,
        "ingest_id": "0",
        "on_hand": 1,
        "cost": None,
    }
    rows = pa.Table.from_pylist([{name: row.get(name) for name in schema.names}], schema=schema)
    table.append(rows, snapshot_properties={"mlops.event-time-max": newest.isoformat()})


def _measure(cloud: "Cloud", function: str, now: datetime) -> list[dict[str, Any]]:
    event = {"time": now.isoformat().replace("+00:00", "Z")}
    answer = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    assert "FunctionError" not in answer, answer["Payload"].read()
    found: list[dict[str, Any]] = json.loads(answer["Payload"].read())
    return found


def _sharing(folder: Path, group: FeatureGroup) -> Path:
    """Define a unit with a store, one that imports its group and one that does not; both have a role with the same grant."""
    app = cdk.App(outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Sharing")
    network = Network.create(availability_zones=2)
    owner = BusinessUnit(stack, "Unit", name="share-owner", profile=Profile.DEVELOPMENT, network=network)
    write_lock([group], folder / "features.lock.json")
    store = FeatureStore(
        stack, "Features", business_unit=owner, groups=[group], lock_file=folder / "features.lock.json"
    )
    cdk.CfnOutput(stack, "Bucket", value=store.data_bucket.bucket_name)
    given = Network.from_vpc(vpc=owner.vpc, subnets=owner.subnets, security_group=owner.security_group)
    for name in ("Reader", "Stranger"):
        unit = BusinessUnit(stack, name, name=f"share-{name.lower()}", profile=Profile.DEVELOPMENT, network=given)
        importer = unit if name == "Reader" else owner
        seen = FeatureStore.from_feature_store_attributes(
            stack,
            f"{name}Prices",
            business_unit=importer,
            owner_name="share-owner",
            data_bucket=store.data_bucket,
            key=store.key,
            groups=[group],
        )
        role = iam.Role(
            stack,
            f"{name}Role",
            assumed_by=iam.AccountRootPrincipal(),
            permissions_boundary=unit.permissions_boundary,
        )
        seen.grant_read(role)
        cdk.CfnOutput(stack, f"{name}Arn", value=role.role_arn)
    app.synth()
    return folder / "cdk.out"


def _as(cloud: "Cloud", role: str) -> Callable[[str], Any]:
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="tester")["Credentials"]
    return lambda service: boto3.client(
        service,
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def test_another_unit_reads_what_it_has_imported(
    cloud: "Cloud", tmp_path: Path, group: Callable[..., FeatureGroup]
) -> None:
    """Reads catalog, object and key and cannot write; with the same policy, a unit without the import is denied the key."""
    from mlops_local.stacks.deployer import deploy, destroy

    assembly = _sharing(tmp_path, group())
    outputs = deploy(cloud, assembly)["Sharing"]
    key = "share_owner_features/stock_v1/data/a.parquet"
    cloud.client("s3").put_object(Bucket=outputs["Bucket"], Key=key, Body=b"rows")
    reader, stranger = (_as(cloud, outputs[f"{name}Arn"]) for name in ("Reader", "Stranger"))

    table = reader("glue").get_table(DatabaseName="share_owner_features", Name="stock_v1")["Table"]
    assert table["Parameters"]["table_type"] == "ICEBERG"
    assert reader("s3").get_object(Bucket=outputs["Bucket"], Key=key)["Body"].read() == b"rows"
    with pytest.raises(ClientError, match="s3:PutObject"):
        reader("s3").put_object(Bucket=outputs["Bucket"], Key=key, Body=b"other rows")
    with pytest.raises(ClientError, match=r"kms:Decrypt on resource: .* with an explicit deny"):
        stranger("s3").get_object(Bucket=outputs["Bucket"], Key=key)
    destroy(cloud, assembly)


def test_the_alarm_rings_for_old_events_and_not_for_a_table_without_rows(
    cloud: "Cloud", tmp_path: Path, group: Callable[..., FeatureGroup], wait_for: Callable[..., Any]
) -> None:
    """Schedule, function, metric and alarm work together, hour after hour."""
    from mlops_local.stacks.deployer import deploy, destroy

    assembly = _assembly(tmp_path, group(freshness=timedelta(days=2)), FeatureAccess.IAM, "lake-alarm")
    outputs = next(iter(deploy(cloud, assembly).values()))
    described = cloud.client("cloudwatch").describe_alarms

    def is_state(state: str) -> bool:
        (alarm,) = (a for a in described()["MetricAlarms"] if a["AlarmName"] == outputs["Alarm"])
        return bool(alarm["StateValue"] == state)

    cloud.clock_jump(by=timedelta(hours=3))
    assert is_state("INSUFFICIENT_DATA")
    _append(_table(cloud, outputs["Database"]), _now(cloud) - timedelta(days=3))
    cloud.clock_jump(by=timedelta(hours=2))
    wait_for(lambda: is_state("ALARM"))
    _append(_table(cloud, outputs["Database"]), _now(cloud))
    cloud.clock_jump(by=timedelta(hours=4))
    wait_for(lambda: is_state("OK"))
    destroy(cloud, assembly)


@pytest.mark.parametrize("access", list(FeatureAccess))
def test_a_store_is_deployed_measured_and_changed_in_place(
    cloud: "Cloud", tmp_path: Path, group: Callable[..., FeatureGroup], access: FeatureAccess
) -> None:
    """Sort order and ids are as declared; an empty table has no age, a filled one has; a changed owner keeps table and rows."""
    from mlops_local.stacks.deployer import deploy, destroy
    from mlops_local.stacks.recorded_types import list_recorded

    now = _now(cloud)
    declared = group(freshness=timedelta(days=2))
    outputs = next(iter(deploy(cloud, _assembly(tmp_path / "1", declared, access)).values()))
    table = _table(cloud, outputs["Database"])
    assert [(f.source_id, str(f.transform), f.direction.name) for f in table.sort_order().fields] == [
        (1, "identity", "ASC"),
        (2, "identity", "ASC"),
    ]
    assert [age["reason"] for age in _measure(cloud, outputs["Freshness"], now)] == ["no row has ever been ingested"]

    _append(table, now - timedelta(days=3))
    assert [age["age_seconds"] for age in _measure(cloud, outputs["Freshness"], now)] == [3 * 86400]
    published = cloud.client("cloudwatch").get_metric_statistics(
        Namespace=f"MLOps/{outputs['UnitName']}",
        MetricName="FeatureAge",
        Dimensions=[{"Name": "FeatureGroup", "Value": "stock_v1"}],
        Statistics=["Minimum"],
        Period=3600,
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
    )
    assert [point["Minimum"] for point in published["Datapoints"]] == [3 * 86400]

    recorded = {r.resource_type for r in list_recorded(cloud.client("cloudformation")) if r.stack.startswith("Lake")}
    assert "AWS::Glue::TableOptimizer" in recorded
    is_lake = access is FeatureAccess.LAKE_FORMATION
    assert ("AWS::LakeFormation::PrincipalPermissions" in recorded) == is_lake
    assert ("AWS::LakeFormation::Resource" in recorded) == is_lake

    changed = _assembly(tmp_path / "2", replace(declared, owner="somebody else"), access)
    deploy(cloud, changed)
    again = _table(cloud, outputs["Database"])
    assert again.properties["mlops.owner"] == "somebody else"
    assert again.metadata.table_uuid == table.metadata.table_uuid
    assert again.scan().to_arrow().num_rows == 1
    destroy(cloud, changed)
