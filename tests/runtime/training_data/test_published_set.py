"""A training set in S3: complete or rejected, with baselines and a manifest of all files."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from mlops_runtime.contracts import content_hash, from_json
from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.jobs.evaluate import check_files
from mlops_runtime.jobs.job_environment import OptMl
from mlops_runtime.training_data.published_set import PublishedSet, PublishError, as_table, publish

PLACE = "s3://sets/training-sets/forecast"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def rows(first: int, last: int) -> pa.Table:
    """Return a row for each day."""
    days = range(first, last)
    return pa.table(
        {
            "store": ["a" if day % 2 else "b" for day in days],
            "price": [float(day) for day in days],
            "at": [BEGIN + timedelta(days=day) for day in days],
            "units": [2 * day for day in days],
        }
    )


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return an account with a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="sets")
        yield client


def published(s3: Any, train: Any, holdout: Any, **more: Any) -> PublishedSet:
    """Publish splits."""
    given = {"label": "units", "timestamp": "at", "baselines": ("naive_mean_by_store",), "block": "store", **more}
    return publish(s3, PLACE, train, holdout, **given)


def objects(s3: Any) -> dict[str, bytes]:
    """Return the objects below the prefix."""
    listed = s3.list_objects_v2(Bucket="sets").get("Contents", ())
    return {
        each["Key"].removeprefix("training-sets/forecast/"): s3.get_object(Bucket="sets", Key=each["Key"])[
            "Body"
        ].read()
        for each in listed
    }


def test_the_evaluation_accepts_what_was_published(s3: Any, tmp_path: Any) -> None:
    """Both files have the manifest's hashes, whose hash is the set's id; nothing else is left."""
    done = published(s3, rows(0, 8), rows(8, 10))
    found = objects(s3)
    assert sorted(found) == ["holdout/part-0.parquet", "manifest/manifest.json", "train/part-0.parquet"]
    manifest = from_json(TrainingSetManifest, found["manifest/manifest.json"])
    assert content_hash(manifest) == done.id
    assert done.split == manifest.split == {
        "trained_until": "2026-01-08T00:00:00+00:00",
        "holdout_from": "2026-01-09T00:00:00+00:00",
        "holdout_until": "2026-01-10T00:00:00+00:00",
    }  # fmt: skip
    assert (done.train_rows, done.holdout_rows) == (8, 2)
    assert "naive_mean_by_store" in manifest.output.columns
    opt_ml = OptMl(tmp_path)
    for name in ("train", "holdout"):
        folder = opt_ml.processing_input(name)
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").write_bytes(found[f"{name}/part-0.parquet"])
    check_files(opt_ml, manifest)


def test_files_of_an_earlier_export_are_removed(s3: Any) -> None:
    """They would be read together with the new ones."""
    s3.put_object(Bucket="sets", Key="training-sets/forecast/train/part-7.parquet", Body=b"old")
    s3.put_object(Bucket="sets", Key="training-sets/forecast-2/train/part-7.parquet", Body=b"another pipeline's")
    published(s3, rows(0, 8), rows(8, 10))
    assert "train/part-7.parquet" not in objects(s3)
    assert s3.head_object(Bucket="sets", Key="training-sets/forecast-2/train/part-7.parquet")


def test_the_same_rows_are_the_same_set(s3: Any) -> None:
    """Also from pandas, whose index is not a column."""
    first = published(s3, rows(0, 8), rows(8, 10))
    again = published(s3, rows(0, 8).to_pandas(), rows(8, 10).to_pandas())
    assert first.id == published(s3, rows(0, 8), rows(8, 10)).id
    assert (again.train_rows, again.split) == (first.train_rows, first.split)
    framed = pd.DataFrame({"a": [1, 2]}, index=[5, 6])
    assert as_table(pa.Table.from_pandas(framed)).column_names == ["a"]


def test_an_older_set_does_not_replace_a_newer_one(s3: Any) -> None:
    """Nothing is written unless forced; rows with the same end time are a correction."""
    newer = published(s3, rows(0, 8), rows(8, 12))
    before = objects(s3)
    with pytest.raises(PublishError) as error:
        published(s3, rows(0, 8), rows(8, 11))
    assert error.value.problems == (
        f"the rows end at 2026-01-11T00:00:00+00:00, those of the published set {newer.id[:12]} at "
        "2026-01-12T00:00:00+00:00; publish rows that reach at least as far, or replace the newer set on "
        "purpose: --replace-newer (in Python replace_newer=True)",
    )
    assert objects(s3) == before
    assert published(s3, rows(1, 8), rows(8, 12)).id != newer.id
    assert published(s3, rows(0, 8), rows(8, 11), replace_newer=True).split["holdout_until"].startswith("2026-01-11")


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=5))
def test_what_is_published_never_ends_earlier(s3: Any, lengths: list[tuple[int, int]]) -> None:
    """For any files in any order, the published set is the last of those with the latest end."""
    s3.delete_object(Bucket="sets", Key="training-sets/forecast/manifest/manifest.json")
    furthest = 0
    for first, more in lengths:
        end = first + more
        try:
            published(s3, rows(0, first), rows(first, end))
        except PublishError:
            assert end < furthest
        else:
            assert end >= furthest
        furthest = max(furthest, end)
        manifest = from_json(TrainingSetManifest, objects(s3)["manifest/manifest.json"])
        assert manifest.split["holdout_until"] == (BEGIN + timedelta(days=furthest - 1)).isoformat()


@pytest.mark.parametrize("body", [b"{}", b"no JSON", None])
def test_a_manifest_that_says_no_time_keeps_nothing_out(s3: Any, body: bytes | None) -> None:
    """No evaluation accepts such a set, and the next publish replaces it."""
    done = published(s3, rows(0, 8), rows(8, 12))
    found = json.loads(objects(s3)["manifest/manifest.json"])
    found["split"]["holdout_until"] = "yesterday"
    s3.put_object(
        Bucket="sets",
        Key="training-sets/forecast/manifest/manifest.json",
        Body=json.dumps(found).encode() if body is None else body,
    )
    assert published(s3, rows(0, 8), rows(8, 11)).id != done.id


def test_a_set_that_came_between_is_not_replaced(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older set read the manifest before the newer one was published: the newer manifest stays."""
    published(s3, rows(0, 8), rows(8, 9))
    upload, newer = s3.upload_file, []

    def between(*arguments: Any) -> None:
        upload(*arguments)
        if not newer:
            newer.append(True)
            newer.append(published(s3, rows(0, 8), rows(8, 12)))

    monkeypatch.setattr(s3, "upload_file", between)
    with pytest.raises(
        PublishError, match="another publish to the same pipeline happened at the same time; publish again"
    ):
        published(s3, rows(0, 8), rows(8, 10))
    manifest = from_json(TrainingSetManifest, objects(s3)["manifest/manifest.json"])
    assert content_hash(manifest) == newer[1].id


def test_a_publish_that_is_killed_leaves_the_set_before(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file uploaded by the killed publish is removed."""
    published(s3, rows(0, 8), rows(8, 10))
    before = objects(s3)
    upload, calls = s3.upload_file, []

    def killed(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        upload(*arguments)

    monkeypatch.setattr(s3, "upload_file", killed)
    with pytest.raises(KeyboardInterrupt):
        published(s3, rows(0, 9), rows(9, 12))
    assert objects(s3) == before


def test_the_manifest_is_written_last(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A crash between two files leaves a set that no evaluation accepts."""
    published(s3, rows(0, 8), rows(8, 10))
    copy, calls = s3.copy, []

    def killed(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        copy(*arguments)

    monkeypatch.setattr(s3, "copy", killed)
    with pytest.raises(KeyboardInterrupt):
        published(s3, rows(0, 9), rows(9, 12))
    found, opt_ml = objects(s3), OptMl(tmp_path)
    for name in ("train", "holdout"):
        opt_ml.processing_input(name).mkdir(parents=True)
        (opt_ml.processing_input(name) / "part-0.parquet").write_bytes(found[f"{name}/part-0.parquet"])
    with pytest.raises(ValueError, match=r"is not the one of its manifest: train/part-0\.parquet is another"):
        check_files(opt_ml, from_json(TrainingSetManifest, found["manifest/manifest.json"]))


def test_files_of_another_publish_are_noticed(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two concurrent publishes, the last manifest would not match the files."""
    copy, calls = s3.copy, []

    def between(*arguments: Any) -> None:
        copy(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            published(s3, rows(0, 9), rows(9, 12))

    monkeypatch.setattr(s3, "copy", between)
    with pytest.raises(
        PublishError, match="another publish to the same pipeline happened at the same time; publish again"
    ):
        published(s3, rows(0, 8), rows(8, 10))


def test_every_problem_is_named_at_once_and_nothing_is_written(s3: Any) -> None:
    """Labels, times, columns and baselines."""
    train = rows(0, 8).set_column(3, "units", pa.array([None, *range(7)]))
    with pytest.raises(PublishError) as raised:
        published(s3, train, rows(5, 10).drop_columns(["price"]), baselines=("naive_mean_by_shop", "guess"))
    assert len(raised.value.problems) == 5
    for part in (
        "nothing was published: label 'units' must be known in every row, 1 of 8 in 'train' are null",
        "both splits must have the same columns, 'price' are only in one of them",
        "baseline 'naive_mean_by_shop' needs a column 'shop'",
        "baseline 'guess' is neither a column",
        "must end before the holdout begins, it reaches 2026-01-08 00:00:00+00:00, the holdout begins 2026-01-06",
    ):
        assert part in str(raised.value)
    assert objects(s3) == {}


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ([1, 2], "must have times or dates, got int64"),
        ([None, date(2026, 1, 1)], "must be known in every row, it is null in 1"),
        ([datetime(2026, 1, 1), datetime(2026, 1, 2)], "must have one type in both splits"),
    ],
)
def test_times_must_be_known_and_alike(s3: Any, times: list[Any], problem: str) -> None:
    """Numbers, nulls and two types are refused."""
    train = pa.table({"store": ["a", "b"], "at": times, "units": [1, 2], "price": [1.0, 2.0]})
    holdout = rows(8, 10) if "one type" in problem else train.slice(1)
    with pytest.raises(PublishError, match=problem):
        published(s3, train, holdout)


def test_what_is_not_a_table_is_refused() -> None:
    """The error lists the accepted types."""
    with pytest.raises(PublishError, match="rows must be an Arrow table, or a pandas or polars frame, got int"):
        as_table(5)
