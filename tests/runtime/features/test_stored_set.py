"""Checks of a set that another engine built: manifest, plan, time, tag, counts, and the bytes of every file."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.features import Build, Output, OutputFile, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.snapshot_tags import training_set_tag
from mlops_runtime.features.stored_set import StoredSetError, verified
from mlops_runtime.features.training_set_files import MANIFEST_FILE
from mlops_runtime.features.training_set_manifest import Manifests, Objects

AS_OF = datetime(2017, 1, 7, tzinfo=UTC)
PLAN = TrainingSetPlan(
    name="daily", label_group="sales", timestamp="asked_at", label="units", features={"stock": ("on_hand",)}, holdout_days=2
)  # fmt: skip
TAG = training_set_tag(PLAN, AS_OF, {"sales_v1": 1, "stock_v1": 1})
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


def check(built: SimpleNamespace, plan: TrainingSetPlan = PLAN, **changes: Any) -> TrainingSetManifest:
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
            {"plan": replace(PLAN, label="price")},
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


@pytest.mark.parametrize("asked", ["SHA256", None])
def test_s3_is_asked_for_the_hash_that_it_keeps(monkeypatch: pytest.MonkeyPatch, asked: str | None) -> None:
    """The object is read if S3 has no hash; a missing object has none."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="sets")
        s3.put_object(Bucket="sets", Key="a", Body=b"rows", **({} if asked is None else {"ChecksumAlgorithm": asked}))
        objects = Objects("s3://sets", s3=s3)
        if asked is not None:
            monkeypatch.setattr(objects, "get", lambda _key: pytest.fail("read"))
        assert objects.digest("a") == (4, hashlib.sha256(b"rows").hexdigest())
        assert objects.digest("b") is None
