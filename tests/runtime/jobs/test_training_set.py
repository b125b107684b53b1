"""The training-set job against the embedded cloud's Glue and S3, and its checks of a set that another engine built.

It checks manifest, plan, time, tag, counts, and the bytes of every file.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto import mock_aws
from pyiceberg.catalog.glue import GlueCatalog

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import Build, Output, OutputFile, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.build_intent import Builds, OpenBuild
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.iceberg_tables import iceberg_partition, iceberg_schema
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.open_lineage import LineageOutbox
from mlops_runtime.features.rebuild import Verdict, rebuild
from mlops_runtime.features.snapshot_tags import training_set_tag
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import glue_properties
from mlops_runtime.features.training_set_files import MANIFEST_FILE
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.jobs.training_set import StoredSetError, main, verified

START = datetime(2017, 1, 1, tzinfo=UTC)
DATABASE, TABLES, SETS = "job_features", "training-set-job-features", "training-set-job-sets"
CATALOG = "arn:aws:glue:us-east-1:000000000000"
STORE = Entity("store_id", "string", "store")
SALES = FeatureGroup(
    name="sales",
    entities=(STORE,),
    features=(Feature("asked_at", "timestamp", "time of the prediction"), Feature("units", "double", "units")),
    owner="demand",
    description="units a day",
)
STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
)
PLAN = TrainingSetPlan(
    name="daily",
    label_group="sales",
    timestamp="asked_at",
    label="units",
    features={"stock": ("on_hand",)},
    holdout_days=2,
)


@pytest.fixture(scope="module")
def store(cloud) -> SimpleNamespace:
    """Return a feature store in Glue as CloudFormation creates it, with ten days of sales and stock."""
    s3 = cloud.client("s3")
    for bucket in (TABLES, SETS):
        s3.create_bucket(Bucket=bucket)
    cloud.client("glue").create_database(DatabaseInput={"Name": DATABASE})
    catalog = GlueCatalog("glue", None, **glue_properties(cloud.environment()))
    lock = FeatureLock().extend([SALES, STOCK])
    for group in (SALES, STOCK):
        catalog.create_table(
            (DATABASE, group.table_name),
            iceberg_schema(group, lock.table(group)),
            location=f"s3://{TABLES}/{DATABASE}/{group.table_name}",
            partition_spec=iceberg_partition(lock.table(group)),
            properties=group.properties,
        )
    day = [START + timedelta(days=n) for n in range(12)]
    client = FeatureStoreClient.glue(database=DATABASE, environment=cloud.environment(), now=lambda: day[11])
    requested = {"store_id": ["1"] * 10, "event_time": day[1:11], "created_time": day[1:11], "asked_at": day[:10]}
    client.ingest(SALES, pa.table({**requested, "units": [float(n) for n in range(10)]}))
    client.ingest(
        STOCK,
        pa.table({"store_id": ["1"] * 10, "event_time": day[:10], "created_time": day[:10], "on_hand": range(10)}),
    )
    return SimpleNamespace(client=client, s3=s3, environment=cloud.environment(), cloud=cloud)


@pytest.fixture
def opt_ml(store, tmp_path, monkeypatch):
    """Set up a job's environment and return its root."""
    for name, value in {**store.environment, "MLOPS_OPT_ML": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def arguments(*, tables: tuple[str, ...] = ("sales_v1", "stock_v1"), **changes: str) -> list[str]:
    """Return the arguments as the machine passes them, the plan in pieces of at most 60 characters."""
    plan = canonical_json(PLAN).decode()
    values = {
        "as-of": "2017-01-07T12:00:00Z",
        "database": DATABASE,
        "output": f"s3://{SETS}/sets/daily/1",
        "manifests": f"s3://{SETS}/manifests",
        **changes,
    }
    pieces = [plan[i : i + 60] for i in range(0, len(plan), 60)]
    named = ["--plan", *pieces, "--tables", *tables]
    return [*named, *(part for name, value in values.items() for part in (f"--{name}", value))]


def written(store, key: str) -> bytes:
    """Return a file written by the job."""
    return Objects(f"s3://{SETS}/sets/daily/1", s3=store.s3).get(key) or b""


@pytest.mark.cloud
def test_job_writes_splits_and_manifest(store, tmp_path):
    """Both splits and the manifest are in its output, the manifest also under its id; the build is closed."""
    done = subprocess.run(
        [sys.executable, "-m", "mlops_runtime.jobs.training_set", *arguments()],
        env={**os.environ, **store.environment, "MLOPS_OPT_ML": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    train, holdout = (
        pq.read_table(io.BytesIO(written(store, f"{split}/part-0.parquet"))) for split in ("train", "holdout")
    )
    assert train.select(["units", "on_hand"]).to_pydict() == {"units": [0.0, 1.0, 2.0, 3.0], "on_hand": [0, 1, 2, 3]}
    assert holdout["units"].to_pylist() == [4.0, 5.0]
    manifest = from_json(TrainingSetManifest, written(store, "manifest/training_set.json"))
    assert Builds(f"s3://{SETS}/manifests", s3=store.s3).unclosed() == ()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["message"]
    manifests, digest = Manifests(f"s3://{SETS}/manifests", s3=store.s3), content_hash(manifest)
    assert manifests.read(digest) == manifest
    assert manifests.copies(digest) == (f"s3://{SETS}/sets/daily/1",)
    assert rebuild(store.client.table, digest, manifests).verdict is Verdict.IDENTICAL


@pytest.mark.cloud
def test_the_job_tells_lineage_of_what_it_built_and_of_what_it_could_not(store, opt_ml, capsys):
    """The set is in SageMaker's graph and its events in the outbox; a failed build has START and FAIL."""
    reported = {"catalog": CATALOG, "lineage": f"s3://{SETS}/lineage", "namespace": "mlops.job"}
    assert main(arguments(**reported)) == 0
    assert "lineage" not in capsys.readouterr().err
    manifest = written(store, "manifest/training_set.json")
    digest = content_hash(from_json(TrainingSetManifest, manifest))
    sagemaker = store.cloud.client("sagemaker")
    (found,) = sagemaker.list_artifacts(SourceUri=f"s3://{SETS}/manifests/{digest}.json")["ArtifactSummaries"]
    edges = sagemaker.list_associations(DestinationArn=found["ArtifactArn"])["AssociationSummaries"]
    assert sorted(edge["AssociationType"] for edge in edges) == ["DerivedFrom", "DerivedFrom", "Produced"]
    outbox = LineageOutbox(f"s3://{SETS}/lineage", s3=store.s3)
    assert [name.rpartition("-")[2] for name in outbox.pending()] == ["COMPLETE", "START"]
    assert main(arguments(**reported, database="nowhere")) == 1
    assert sorted(name.rpartition("-")[2] for name in outbox.pending()) == ["COMPLETE", "FAIL", "START", "START"]
    assert main(arguments(**reported)) == 0  # the same set is the same run
    assert len(outbox.pending()) == 4


@pytest.mark.cloud
def test_a_set_that_another_engine_built_is_checked_and_reported_as_ones_own(store, opt_ml, capsys):
    """The exit message is its id, lineage is reported, nothing is written; a missing file is an error."""
    place = f"s3://{SETS}/sets/daily/built"
    assert main(arguments(output=place)) == 0
    reported = next(path for path in opt_ml.rglob("message"))
    built, before = reported.read_text(), Manifests(f"s3://{SETS}/manifests", s3=store.s3).ids()
    reported.unlink()
    capsys.readouterr()
    assert main([*arguments(output=place, catalog=CATALOG), "--built"]) == 0
    assert reported.read_text() == built
    assert f"4 rows to train, 2 held out, {built}" in capsys.readouterr().err
    assert Manifests(f"s3://{SETS}/manifests", s3=store.s3).ids() == before
    store.s3.delete_object(Bucket=SETS, Key="sets/daily/built/holdout/part-0.parquet")
    assert main([*arguments(output=place), "--built"]) == 1
    assert "holdout/part-0.parquet is missing; build it again" in capsys.readouterr().err


@pytest.mark.cloud
def test_lineage_that_cannot_be_told_is_said_and_fails_nothing(store, opt_ml, capsys, monkeypatch):
    """An invalid catalog or missing bucket: the set is complete, and the log reports the missing lineage."""
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:1")
    assert main(arguments(catalog="glue", lineage="s3://training-set-job-none/lineage")) == 0
    error = capsys.readouterr().err
    assert "lineage: the lineage graph lacks the set, record it again from its manifest: catalog must be arn:" in error
    assert "lineage: lineage events were not stored or not delivered: cannot write events/" in error
    assert main(arguments(catalog=CATALOG, lineage=f"s3://{SETS}/unheard")) == 0
    assert "2 lineage events wait for the next delivery: " in capsys.readouterr().err
    assert written(store, "manifest/training_set.json")


@pytest.mark.cloud
def test_fails_when_an_erasure_began_meanwhile(store, opt_ml, capsys, monkeypatch):
    """It leaves no manifest and requests a new build; the erasure removes its files."""

    def fence_first(build):
        build._builds.fence(build.intent.id, "e1")
        check(build)

    check = OpenBuild.check
    monkeypatch.setenv("PROCESSING_JOB_NAME", "demand-set")
    monkeypatch.setattr(OpenBuild, "check", fence_first)
    known = Manifests(f"s3://{SETS}/manifests", s3=store.s3).ids()
    assert main(arguments(output=f"s3://{SETS}/sets/daily/2")) == 1
    assert "erasure e1 began while this training set was built and may affect" in capsys.readouterr().err
    assert Manifests(f"s3://{SETS}/manifests", s3=store.s3).ids() == known
    assert Builds(f"s3://{SETS}/manifests", s3=store.s3).unclosed() == ()


@pytest.mark.cloud
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"database": "nowhere"}, "database nowhere has no table sales_v1; deploy the feature store that declares it"),
        ({"tables": ("other_v1",)}, "there is no feature table of group 'sales', there are other_v1"),
        ({"as-of": "2017-01-01T06:00:00Z"}, "no label of sales_v1 was known at 2017-01-01T06:00:00+00:00"),
        ({"lineage": "s3://b/lineage"}, "--lineage identifies tables by the catalog; pass --catalog too"),
        ({"as-of": "yesterday"}, "--as-of must be an ISO 8601 time, got 'yesterday'"),
    ],
)
def test_fails_with_one_line(opt_ml, capsys, changes, message):
    """One line without a traceback is also the exit message; nothing else is written."""
    assert main(arguments(**changes)) == 1
    error = capsys.readouterr().err
    assert error.startswith("mlops training set: ")
    assert error.count("\n") == 1
    assert message in error
    assert [path.relative_to(opt_ml).as_posix() for path in opt_ml.rglob("*") if path.is_file()] == ["output/message"]
    assert f"mlops {(opt_ml / 'output' / 'message').read_text()}\n" == error


def test_fails_when_the_plan_is_no_plan(capsys):
    """The error lists the missing fields."""
    changed = ["--plan", json.dumps({"name": "daily"}), *arguments()[-11:]]
    assert main(changed) == 1
    assert "not a valid TrainingSetPlan: $.label_group is missing" in capsys.readouterr().err


AS_OF = datetime(2017, 1, 7, tzinfo=UTC)
DAILY = TrainingSetPlan(
    name="daily", label_group="sales", timestamp="asked_at", label="units", features={"stock": ("on_hand",)}, holdout_days=2
)  # fmt: skip
TAG = training_set_tag(DAILY, AS_OF, {"sales_v1": 1, "stock_v1": 1})
CONTENT = {"train/part-0.parquet": b"rows", "holdout/part-0.parquet": b"other rows"}


def pinned(group: str, *columns: str) -> PinnedTable:
    """Describe a table."""
    return PinnedTable(
        group=group,
        version=1,
        database="d",
        table=f"{group}_v1",
        table_uuid="u",
        snapshot_id=1,
        sequence=1,
        schema_id=0,
        tag=TAG,
        columns=columns,
    )


MANIFEST = TrainingSetManifest(
    name="daily",
    semantics=Semantics(as_of="known_at", cutoff="2017-01-07T00:00:00Z"),
    entities=pinned("sales", "store_id", "asked_at", "units"),
    features=(pinned("stock", "on_hand"),),
    build=Build(engine="spark", engine_version="3.5", planner="timeline", client="0"),
    output=Output(
        rows=5,
        content_hash="h",
        columns={},
        matched={"stock_v1": 4},
        files=tuple(
            OutputFile(path=path, sha256=hashlib.sha256(body).hexdigest(), bytes=len(body), rows=2 + (body == b"rows"))
            for path, body in CONTENT.items()
        ),
    ),
    split={"timestamp": "asked_at", "label": "units", "holdout_days": "2"},
)


@pytest.fixture
def built(tmp_path: Path) -> SimpleNamespace:
    """Return a set as a build leaves it in a folder."""
    objects, manifests = Objects(tmp_path / "set"), Manifests(tmp_path / "manifests")
    for path, body in CONTENT.items():
        objects.put_once(path, body)
    return SimpleNamespace(objects=objects, manifests=manifests, folder=tmp_path / "set")


def keep(built: SimpleNamespace, manifest: TrainingSetManifest = MANIFEST) -> None:
    """Write the manifest last."""
    built.objects.put_once(MANIFEST_FILE, canonical_json(manifest))
    built.manifests.write(manifest)


def check(built: SimpleNamespace, plan: TrainingSetPlan = DAILY, **changes: Any) -> TrainingSetManifest:
    """Check the set."""
    return verified(built.objects, built.manifests, plan, **{"as_of": AS_OF, "tag": TAG, **changes})


def test_a_set_that_is_all_there_gives_its_manifest(built: SimpleNamespace) -> None:
    """The id is the hash of its content."""
    keep(built)
    assert check(built) == MANIFEST


@pytest.mark.parametrize(
    ("manifest", "changes", "problem"),
    [
        (
            MANIFEST,
            {"plan": replace(DAILY, label="price")},
            f"another plan, time or snapshots: it has tag {TAG}, which should",
        ),
        (MANIFEST, {"as_of": datetime(2017, 1, 8, tzinfo=UTC)}, f"it has tag {TAG}, which should be ts-"),
        (MANIFEST, {"tag": "ts-2"}, f"another plan, time or snapshots: it has tag {TAG}, which should be {TAG}"),
        (replace(MANIFEST, output=replace(MANIFEST.output, rows=9)), {}, "files have 5 rows, its manifest has 9"),
        (
            replace(MANIFEST, output=replace(MANIFEST.output, files=MANIFEST.output.files[:1])),
            {},
            "no rows for holdout",
        ),
        (
            replace(MANIFEST, output=replace(MANIFEST.output, matched={"stock_v1": 6})),
            {},
            "6 of 5 rows match stock",
        ),
        (
            replace(MANIFEST, output=replace(MANIFEST.output, matched=None)),
            {},
            "lacks the number of matched rows of",
        ),
    ],
)
def test_a_set_of_another_request_or_with_other_counts_is_refused(
    built: SimpleNamespace, manifest: TrainingSetManifest, changes: dict[str, Any], problem: str
) -> None:
    """The error names the difference and the fix."""
    keep(built, manifest)
    with pytest.raises(StoredSetError, match=rf"{problem}.*; build it again"):
        check(built, **changes)


@pytest.mark.parametrize(("body", "problem"), [(None, "is missing"), (b"junk", "has different bytes")])
def test_a_file_that_is_missing_or_has_other_bytes_is_named(
    built: SimpleNamespace, body: bytes | None, problem: str
) -> None:
    """All such files are reported."""
    keep(built)
    path = built.folder / "holdout" / "part-0.parquet"
    path.unlink() if body is None else path.write_bytes(body)
    with pytest.raises(StoredSetError, match=f"holdout/part-0.parquet {problem}"):
        check(built)


def test_a_set_without_a_manifest_was_not_built(built: SimpleNamespace) -> None:
    """The manifest is missing next to its files, or under its id."""
    with pytest.raises(StoredSetError, match=r"there is no manifest/training_set.json in .*; build it again"):
        check(built)
    built.objects.put_once(MANIFEST_FILE, canonical_json(MANIFEST))
    with pytest.raises(StoredSetError, match=r"no manifest [0-9a-f]{64} in .*; build it again"):
        check(built)


@pytest.mark.parametrize("checksum", ["SHA256", None])
def test_s3_is_asked_for_the_hash_that_it_keeps(monkeypatch: pytest.MonkeyPatch, checksum: str | None) -> None:
    """The object is read if S3 has no hash; a missing object has none."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="sets")
        s3.put_object(
            Bucket="sets",
            Key="a",
            Body=b"rows",
            **({} if checksum is None else {"ChecksumAlgorithm": checksum}),
        )
        objects = Objects("s3://sets", s3=s3)
        if checksum is not None:
            monkeypatch.setattr(objects, "get", lambda _key: pytest.fail("read"))
        assert objects.digest("a") == (4, hashlib.sha256(b"rows").hexdigest())
        assert objects.digest("b") is None
