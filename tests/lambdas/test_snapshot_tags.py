"""The function that tags the snapshots for a training set, with its tables in this process (moto)."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from tests.loaded_module import load_module

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.snapshot_tags import SnapshotTagError, training_set_tag

HANDLER = Path(__file__).parents[2] / "lambdas" / "snapshot_tags" / "handler.py"
PLAN = TrainingSetPlan(
    name="daily", label_group="sales", timestamp="asked_at", label="units", features={"stock": ("on_hand",)}, holdout_days=2
)  # fmt: skip
ASKED = {"as_of": "2017-08-01T00:00:00Z", "now": "2017-08-01T09:00:00.000Z"}
TABLES = {"sales_v1": 7, "stock_v1": 8}


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Load the function with the plan as in its zip, over two tables."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("DATABASE", "demand_features")
    monkeypatch.setenv("TABLES", ",".join(TABLES))
    monkeypatch.setenv("MEMORY", str(600 << 20))
    shutil.copy(HANDLER, tmp_path / "handler.py")
    (tmp_path / "plan.json").write_bytes(canonical_json(PLAN))
    with mock_aws():
        s3, glue = boto3.client("s3"), boto3.client("glue")
        s3.create_bucket(Bucket="tables")
        glue.create_database(DatabaseInput={"Name": "demand_features"})
        for table, snapshot in TABLES.items():
            file = f"{table}/metadata/00001-a.metadata.json"
            metadata = {
                "current-snapshot-id": snapshot,
                "snapshots": [{"snapshot-id": snapshot, "summary": {"total-records": "1000000"}}],
                "last-updated-ms": 1,
            }
            s3.put_object(Bucket="tables", Key=file, Body=json.dumps(metadata).encode())
            parameters = {"table_type": "ICEBERG", "metadata_location": f"s3://tables/{file}"}
            glue.create_table(DatabaseName="demand_features", TableInput={"Name": table, "Parameters": parameters})
        module = load_module(tmp_path / "handler.py")
        yield module.handler


def _metadata(table: str) -> tuple[str, dict[str, Any]]:
    found = boto3.client("glue").get_table(DatabaseName="demand_features", Name=table)["Table"]
    location = found["Parameters"]["metadata_location"]
    body = boto3.client("s3").get_object(Bucket="tables", Key=location.removeprefix("s3://tables/"))["Body"].read()
    return location, json.loads(body)


def test_each_table_of_the_plan_is_tagged_in_a_new_metadata_file(handler: Any) -> None:
    """The catalog points to it; a second call writes nothing."""
    answer = handler(ASKED, None)
    tag = answer["tag"]
    assert tag == training_set_tag(PLAN, datetime(2017, 8, 1, tzinfo=UTC), TABLES)
    for table, snapshot in TABLES.items():
        location, metadata = _metadata(table)
        assert location.startswith(f"s3://tables/{table}/metadata/00002-")
        reference = {"snapshot-id": snapshot, "type": "tag", "max-ref-age-ms": 91 * 86_400_000}
        assert metadata["refs"] == {tag: reference}
        assert metadata["last-updated-ms"] == int(datetime(2017, 8, 1, 9, tzinfo=UTC).timestamp() * 1000)
    before = [_metadata(table)[0] for table in TABLES]
    assert handler(ASKED, None) == answer
    assert [_metadata(table)[0] for table in TABLES] == before


def test_the_engine_is_chosen_by_what_the_snapshots_say(handler: Any) -> None:
    """A million labels and as many feature rows fit 601 MiB of memory, and not 600."""
    answer = handler(ASKED, None)
    assert answer["engine"] == "spark"
    assert answer["reason"].startswith(
        "601 MiB of memory for 1000000 entity rows and 1000000 rows of stock_v1 do not fit into"
    )


def test_fails_for_a_table_without_rows(handler: Any) -> None:
    """Tags nothing then."""
    metadata = json.dumps({"current-snapshot-id": -1, "snapshots": [], "last-updated-ms": 1}).encode()
    boto3.client("s3").put_object(Bucket="tables", Key="stock_v1/metadata/00001-a.metadata.json", Body=metadata)
    with pytest.raises(SnapshotTagError, match="without rows cannot be read: stock_v1"):
        handler(ASKED, None)
    assert "refs" not in _metadata("sales_v1")[1]
