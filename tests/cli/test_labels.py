"""Labels with the command, on the embedded cloud: matched by id, checked against the live model, read by the monitor."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.serving.named_calls import NamedCalls, name_call

Run = Callable[..., Any]
BASELINE = Baseline(features=(), rows=1, training_set_id="t", created="2017-08-07", target="regression")


class Fed:
    """An endpoint with a call of three rows, a, b and c."""

    def __init__(self, unit: DeployedUnit) -> None:
        self.unit, self.s3, self.endpoint, self.bucket = unit, unit.s3, unit.endpoint, f"{unit.name}-captures"
        self.s3.create_bucket(Bucket=self.bucket)
        unit.publish(replace(unit.endpoint_entry, capture_bucket=self.bucket))
        self.now = datetime.fromisoformat(unit.cloud.clock()["now"]).astimezone(UTC)
        at = self.now - timedelta(hours=2)
        self.call = name_call(["a", "b", "c"], at)
        NamedCalls(self.s3, bucket=self.bucket, endpoint=self.endpoint).put([self.call], at=at)

    def serve(self, baseline: Baseline) -> None:
        """Make a model with this baseline live."""
        self.s3.put_object(Bucket=self.bucket, Key="baseline.json", Body=canonical_json(baseline))
        self.unit.serve(1, baseline_uri=f"s3://{self.bucket}/baseline.json")

    def records(self) -> list[dict[str, Any]]:
        """Return every uploaded label record."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"labels/{self.endpoint}/").get("Contents", [])
        bodies = [self.s3.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read() for entry in listed]
        return [json.loads(line) for body in bodies for line in body.splitlines()]


@pytest.fixture
def fed(deployed: DeployedUnit) -> Fed:
    """An endpoint whose rows have ids."""
    return Fed(deployed)


def test_labels_are_put_once(fed: Fed, on_cloud: Run, tmp_path: Path) -> None:
    """Prints the outcome of the rows as text or one document; a second run writes nothing."""
    fed.serve(BASELINE)
    parquet.write_table(
        pa.table({"order": ["a", "c", "b"], "units": pa.array([1.0, 3.5, None])}), tmp_path / "l.parquet"
    )
    done = on_cloud("labels", "put", fed.endpoint, "l.parquet", "--ids", "order", "--value", "units")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith(f"{fed.endpoint}: 2 labels added, 0 replaced, 0 unchanged, of 3 rows")
    assert "1 rows have no label yet" in done.stdout
    (record,) = fed.records()
    assert record["groundTruthData"] == {"data": "1\n\n3.5", "encoding": "CSV"}
    assert record["eventMetadata"]["inferenceId"] == fed.call.inference_id

    again = on_cloud("labels", "put", fed.endpoint, "l.parquet", "--ids", "order", "--value", "units", "--json")
    assert {name: json.loads(again.stdout)[name] for name in ("added", "unchanged", "calls")} == {
        "added": 0,
        "unchanged": 2,
        "calls": 0,
    }
    assert len(fed.records()) == 1


def test_ids_of_no_call_are_counted(fed: Fed, on_cloud: Run, tmp_path: Path) -> None:
    """CSV and JSON lines behave alike; without a live model labels are not checked."""
    (tmp_path / "l.csv").write_text("order,won\na,yes\nghost,no\n")
    done = on_cloud("labels", "put", fed.endpoint, "l.csv", "--ids", "order", "--value", "won")
    assert "1 ids match no captured call and were skipped (ghost)" in done.stdout
    (tmp_path / "l.jsonl").write_text('{"order": "a", "won": "yes"}\n{"order": "b", "won": "no"}\n')
    later = on_cloud("labels", "put", fed.endpoint, "l.jsonl", "--ids", "order", "--value", "won", "--json")
    assert (json.loads(later.stdout)["added"], json.loads(later.stdout)["unchanged"]) == (1, 1)


def test_the_newest_label_counts(fed: Fed, on_cloud: Run, tmp_path: Path) -> None:
    """Uses the column with the time at which a label became known."""
    (tmp_path / "l.csv").write_text("order,units,known\na,1,2017-08-07\na,2,2017-08-09\na,3,2017-08-08\n")
    done = on_cloud("labels", "put", fed.endpoint, "l.csv", "--ids", "order", "--value", "units", "--time", "known")
    assert "2 rows repeat the id of another row" in done.stdout
    assert fed.records()[0]["groundTruthData"]["data"] == "2\n\n"


def test_fails_on_labels_of_another_kind(fed: Fed, on_cloud: Run, tmp_path: Path) -> None:
    """The live model's baseline defines the kind; reports all problems at once and writes nothing."""
    fed.serve(replace(BASELINE, target="classes", classes=("barbera", "barolo")))
    (tmp_path / "l.csv").write_text("order,wine\na,barolo\nb,merlot\n,barolo\nc,barolo\nc,barbera\n")
    done = on_cloud("labels", "put", fed.endpoint, "l.csv", "--ids", "order", "--value", "wine")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mlops: a label must be a class of the model (barbera, barolo): invalid in 1 row (2: 'merlot'); an id is null in 1 "
        "row (3); an id with another label than before in 1 row (5: 'c')\n"
    )
    assert fed.records() == []


def test_fails_where_no_label_can_be_of_a_call(fed: Fed, on_cloud: Run, tmp_path: Path) -> None:
    """Covers ids of other rows, calls that are too old, an endpoint without capture, a missing column."""
    (tmp_path / "l.csv").write_text("order,units\na,1\n")
    put = ("labels", "put", fed.endpoint, "l.csv", "--ids", "order", "--value", "units")
    assert "none of 1 ids is of a call since " in on_cloud(*put, "--from", f"{fed.now:%Y-%m-%dT%H:%M}").stderr
    assert (
        "l.csv has no column 'id'; it has order, units" in on_cloud(*put[:4], "--ids", "id", "--value", "units").stderr
    )
    fed.unit.publish(fed.unit.endpoint_entry)
    assert "captures nothing that labels could be joined with" in on_cloud(*put).stderr
    assert on_cloud("labels", "put", "a", "b", "c", "--ids", "x", "--value", "y").returncode == 2
