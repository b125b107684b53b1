"""The function that ingests batches: on the embedded cloud with IAM enforced, and with only its zip and its layer."""

import importlib.metadata
import io
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from botocore.exceptions import ClientError
from tests.lambdas.named_layer import name_layer

from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureIngest, FeatureStore, Profile, _assets
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.contracts.events import event_source
from mlops_runtime.features.group_json import declaration_json
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.layers import layer_wheels

ROOT = Path(__file__).parents[2]
UNIT = "ingest-unit"
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand", minimum=0),),
    owner="demand",
    description="stock",
)


def _parquet(day: datetime, *on_hand: int, columns: tuple[str, ...] = ("store_id", "event_time", "on_hand")) -> bytes:
    rows = {
        "store_id": [str(n) for n in range(len(on_hand))],
        "event_time": [day] * len(on_hand),
        "on_hand": pa.array(on_hand, pa.int64()),
    }
    target = io.BytesIO()
    pq.write_table(pa.table({name: rows[name] for name in columns}), target)
    return target.getvalue()


def _synthesize(folder: Path) -> Path:
    write_lock([STOCK], folder / "features.lock.json")
    app = cdk.App(outdir=str(folder / "assembly"))
    stack = cdk.Stack(app, "Ingest")
    unit = BusinessUnit(stack, "Unit", name=UNIT, profile=Profile.DEVELOPMENT)
    store = FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=[STOCK],
        lock_file=folder / "features.lock.json",
        ingest=FeatureIngest(max_rows=100),
    )
    assert store.incoming_bucket is not None
    producer = iam.Role(stack, "Producer", assumed_by=iam.AccountRootPrincipal())
    store.grant_deliver(producer)
    received = sqs.Queue(stack, "Heard")
    rule = events.Rule(
        stack, "Hear", event_bus=unit.bus, event_pattern=events.EventPattern(source=[event_source(UNIT)])
    )
    rule.add_target(targets.SqsQueue(received))
    for name, value in {
        "Incoming": store.incoming_bucket.bucket_name,
        "ProducerRole": producer.role_arn,
        "HeardQueue": received.queue_url,
        "Bus": unit.bus.event_bus_name,
        "Queue": store.node.find_child("Ingest").node.find_child("SmallQueue").queue_url,  # type: ignore[attr-defined]
    }.items():
        cdk.CfnOutput(stack, name, value=value)
    app.synth()
    return folder / "assembly"


class _Deployed:
    """The stack, and a role that may only deliver batches."""

    def __init__(self, cloud: Cloud, assembly: Path) -> None:
        self.cloud = cloud
        self.outputs = deployer.deploy(cloud, assembly)["Ingest"]
        session = cloud.client("sts").assume_role(RoleArn=self.outputs["ProducerRole"], RoleSessionName="producer")
        keys = session["Credentials"]
        self.producer = boto3.client(
            "s3",
            endpoint_url=cloud.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
        self.store = FeatureStoreClient.glue(
            database="ingest_unit_features", environment=cloud.environment(), now=self.now
        )

    def now(self) -> datetime:
        """Return the cloud's time."""
        return datetime.fromisoformat(self.cloud.clock()["now"])

    def deliver(self, key: str, body: bytes) -> None:
        self.producer.put_object(Bucket=self.outputs["Incoming"], Key=key, Body=body)

    def received_events(self) -> list[dict[str, Any]]:
        """Return the events of the unit's bus since the last call."""
        answer = self.cloud.client("sqs").receive_message(QueueUrl=self.outputs["HeardQueue"], MaxNumberOfMessages=10)
        found = []
        for message in answer.get("Messages", []):
            self.cloud.client("sqs").delete_message(
                QueueUrl=self.outputs["HeardQueue"], ReceiptHandle=message["ReceiptHandle"]
            )
            found.append(json.loads(message["Body"]))
        return found

    def rows(self) -> pa.Table:
        return self.store.table("stock_v1").scan().to_arrow()

    def snapshots(self) -> int:
        return len(self.store.table("stock_v1").metadata.snapshots)


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Deployed]:
    """Deploy with a layer of names and versions: the embedded cloud mounts none, but checks that it has the packages."""
    folder = tmp_path_factory.mktemp("ingest")
    with pytest.MonkeyPatch.context() as patch:
        name_layer(folder, patch)
        assembly = _synthesize(folder)
    yield _Deployed(cloud, assembly)
    deployer.destroy(cloud, assembly)


def test_batches_arrive_once_or_are_rejected(deployed: _Deployed, wait_for: Callable[..., Any]) -> None:
    """Covers a valid batch, a repeated one, an invalid one, one that is too large, and a duplicate message."""
    day = deployed.now() - timedelta(days=1)
    deployed.deliver("incoming/stock_v1/day-1.parquet", _parquet(day, 7, 8))
    (reported,) = wait_for(deployed.received_events, 60)
    assert (reported["detail-type"], reported["detail"]["subject"]) == ("MLOps Features Ingested", "stock_v1")
    assert sorted(deployed.store.latest(STOCK)["on_hand"].to_pylist()) == [7, 8]
    assert max(deployed.rows()["created_time"].to_pylist()) <= deployed.now()

    deployed.deliver("incoming/stock_v1/day-1.parquet", _parquet(day, 7, 8))
    (again,) = wait_for(deployed.received_events, 60)
    assert again["detail"]["id"] == reported["detail"]["id"]
    assert (deployed.snapshots(), deployed.rows().num_rows) == (1, 2)

    deployed.deliver("incoming/stock_v1/bad.parquet", _parquet(day, 1, -2, columns=("store_id", "on_hand")))
    (rejected,) = wait_for(deployed.received_events, 60)
    assert (rejected["detail-type"], rejected["detail"]["outcome"]) == ("MLOps Features Rejected", "REJECTED")
    assert "column 'event_time' is missing" in rejected["detail"]["reason"]
    report = deployed.producer.get_object(Bucket=deployed.outputs["Incoming"], Key="rejected/stock_v1/bad.json")
    assert "column 'event_time' is missing" in json.loads(report["Body"].read())["problems"]

    deployed.deliver("incoming/stock_v1/large.parquet", _parquet(day, *range(101)))
    (large,) = wait_for(deployed.received_events, 60)
    assert "it has 101 rows" in large["detail"]["reason"]
    assert (deployed.snapshots(), deployed.rows().num_rows) == (1, 2)

    detail = {"bucket": {"name": deployed.outputs["Incoming"]}, "object": {"key": "incoming/stock_v1/day-1.parquet"}}
    for _ in range(2):
        deployed.cloud.client("sqs").send_message(
            QueueUrl=deployed.outputs["Queue"], MessageBody=json.dumps({"source": "aws.s3", "detail": detail})
        )
    repeated = wait_for(deployed.received_events, 60)
    assert {event["detail"]["id"] for event in repeated} == {reported["detail"]["id"]}
    assert (deployed.snapshots(), deployed.rows().num_rows) == (1, 2)


def test_who_delivers_reaches_nothing_else(deployed: _Deployed) -> None:
    """Neither another prefix nor batches of others."""
    for call, arguments in (
        ("put_object", {"Key": "rejected/stock_v1/x.json", "Body": b""}),
        ("put_object", {"Key": "incoming/sales_v1/x.parquet", "Body": b""}),
        ("get_object", {"Key": "incoming/stock_v1/day-1.parquet"}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(deployed.producer, call)(Bucket=deployed.outputs["Incoming"], **arguments)


def test_the_function_loads_no_duckdb(tmp_path: Path) -> None:
    """The function's layer has no duckdb."""
    (tmp_path / "groups.json").write_text(declaration_json([STOCK]))
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("handler", {str(ROOT / "lambdas/feature_ingest/handler.py")!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(*sorted(name for name in ("aws_cdk", "duckdb", "numpy", "pandas", "polars", "sqlalchemy") if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT / "packages/mlops-runtime/src"),
            **_environment(str(tmp_path / "groups.json")),
        },
    )

    assert set(done.stdout.split()) <= {"numpy", "pandas"}  # pyarrow uses them if available; the layer has neither


@pytest.mark.skipif(
    (platform.system(), platform.machine()) not in {("Linux", "x86_64"), ("Linux", "aarch64")},
    reason="the layer's wheels are for Linux",
)
def test_zip_and_layer_are_all_that_the_function_needs(
    deployed: _Deployed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python with only its standard library, boto3, the zip and the layer ingests a batch and rejects one."""
    architecture = "x86_64" if platform.machine() == "x86_64" else "arm64"
    # the layer as built for Lambda, but for this Python: same pins, hashes and excluded files
    monkeypatch.setattr(layer_wheels, "ASSETS", tmp_path / "assets")
    monkeypatch.setattr(layer_wheels, "PYTHON_VERSION", f"{sys.version_info.major}.{sys.version_info.minor}")
    monkeypatch.setattr(layer_wheels, "layer_names", lambda: ["features"])
    (layer,) = layer_wheels.build_layers(architecture=architecture)
    staged = _assets._staged("feature_ingest", {"groups.json": declaration_json([STOCK])})
    (tmp_path / "runtime").mkdir()
    for name in ("boto3", "botocore", "jmespath", "s3transfer"):
        package = Path(str(importlib.metadata.distribution(name).locate_file(name)))
        (tmp_path / "runtime" / name).symlink_to(package)
    deployed.cloud.client("s3").create_bucket(Bucket="clean-room")
    day, records = deployed.now() - timedelta(days=2), []
    for key, body in (("good", _parquet(day, 5)), ("bad", _parquet(day, -5))):
        path = f"incoming/stock_v1/clean-{key}.parquet"
        deployed.cloud.client("s3").put_object(Bucket="clean-room", Key=path, Body=body)
        event = {"detail": {"bucket": {"name": "clean-room"}, "object": {"key": path}}}
        sent = str(int(deployed.now().timestamp() * 1000))
        records.append({"messageId": key, "body": json.dumps(event), "attributes": {"SentTimestamp": sent}})
    program = f"""
import json, sys
sys.path[:0] = {[str(staged), str(layer / "python"), str(tmp_path / "runtime")]!r}
assert not [path for path in sys.path if "site-packages" in path], sys.path
import handler
print(json.dumps(handler.handler(json.loads(sys.stdin.read()), None)))
"""
    done = subprocess.run(
        [sys.executable, "-B", "-I", "-S", "-c", program],
        input=json.dumps({"Records": records}),
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            **deployed.cloud.environment(),
            **_environment("groups.json", "clean-room"),
            "EVENT_BUS": deployed.outputs["Bus"],
        },
    )

    assert done.stdout.strip() == '{"batchItemFailures": []}', done.stderr[-2000:]
    assert 5 in deployed.rows()["on_hand"].to_pylist()
    report = deployed.cloud.client("s3").get_object(Bucket="clean-room", Key="rejected/stock_v1/clean-bad.json")
    assert "on_hand" in json.loads(report["Body"].read())["problems"][0]


def _environment(declaration: str, incoming: str = "incoming") -> dict[str, str]:
    return {
        "AWS_DEFAULT_REGION": "us-east-1",
        "DATABASE": "ingest_unit_features",
        "INCOMING_BUCKET": incoming,
        "DECLARATION": declaration,
        "MAXIMUM_MIB": "64",
        "MAXIMUM_ROWS": "1000",
        "UNIT": UNIT,
        "EVENT_BUS": f"{UNIT}-bus",
    }
