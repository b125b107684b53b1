"""A file as a pipeline's training set: split as recorded in its project, or by the pipeline's entry."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto import mock_aws
from tests.cli.asked_pipeline import PIPELINE, Cloud, stand_in
from typer.testing import CliRunner

from mlops_cli import train, training_file
from mlops_cli.__main__ import app
from mlops_cli.aws_account import UserError
from mlops_cli.project import RECORD, Answers, ModelAnswers, record_of, render
from mlops_cli.project_packages import PackageSources
from mlops_cli.training_file import publish_file
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.training_data.stored_schema import stored_schema
from mlops_runtime.training_data.table_schema import read_schema

ENTRY = replace(
    PIPELINE,
    label="units",
    timestamp="day",
    block="store",
    baselines=("naive_mean_by_store",),
    training_set="s3://sets/training-sets/forecast",
)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An account with a bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="sets")
        yield client


@pytest.fixture
def sales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of sales in the working directory."""
    days = [(day, store) for day in range(60) for store in range(20)]
    table = {
        "store": [f"s{store:02}" for _, store in days],
        "day": [datetime(2025, 1, 1) + timedelta(days=day) for day, _ in days],
        "price": [1 + (day * 7 + store) % 13 / 4 for day, store in days],
        "note": ["seen"] * 600 + ["not seen"] * 600,
        "units": [store + day % 5 for day, store in days],
    }
    pq.write_table(pa.table(table), tmp_path / "sales.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sales.parquet"


def published(s3: Any, name: str = "train") -> pa.Table:
    """Return a split from the bucket."""
    key = f"training-sets/forecast/{name}/part-0.parquet"
    return pq.read_table(pa.BufferReader(s3.get_object(Bucket="sets", Key=key)["Body"].read()))


def test_a_file_is_cut_and_gets_baselines(s3: Any, sales: Path) -> None:
    """Without a project every possible input column is used; the manifest names the file."""
    done = publish_file(s3, ENTRY, sales, holdout_from=None)
    assert (done.train_rows, done.holdout_rows) == (1000, 200)
    assert published(s3).column_names == ["store", "price", "note", "day", "units", "naive_mean_by_store"]
    body = s3.get_object(Bucket="sets", Key="training-sets/forecast/manifest/manifest.json")["Body"].read()
    assert json.loads(body)["build"]["source"]["file"] == "sales.parquet"
    later = publish_file(s3, ENTRY, sales, holdout_from="2025-02-01")
    assert later.split["holdout_from"] == "2025-02-01T00:00:00+00:00"


def test_the_projects_schema_says_which_columns(s3: Any, sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Works in any subfolder; a pipeline of another project uses its entry."""
    schema = read_schema(sales, label="units", time="day", key="store", without=["note"])
    answers = Answers(unit="demand", models=(ModelAnswers(unit="demand", model="forecast", schema=schema),))
    (sales.parent / RECORD).write_bytes(record_of(answers, {"app.py": b""}))
    (sales.parent / "demand_forecast").mkdir()
    monkeypatch.chdir(sales.parent / "demand_forecast")
    publish_file(s3, ENTRY, sales, holdout_from=None)
    assert "note" not in published(s3).column_names
    publish_file(s3, replace(ENTRY, pipeline="demand-other"), sales, holdout_from=None)
    assert "note" in published(s3).column_names


def test_a_pipeline_that_takes_no_file_says_so(s3: Any, sales: Path) -> None:
    """It cannot be split by time."""
    with pytest.raises(UserError, match="has no timestamp to split a file by"):
        publish_file(s3, replace(ENTRY, timestamp=None), sales, holdout_from=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "builds its training sets from the feature store; run this in the folder of its project"),
        (
            ("--holdout-from", "2025-02-01"),
            "--holdout-from applies only to published files: demand-forecast holds out the newest days",
        ),
        (("--replace-newer",), "--replace-newer applies only to published files"),
    ],
)
def test_a_pipeline_over_the_feature_store_says_what_it_takes(
    cloud: Cloud, sales: Path, arguments: tuple[str, ...], message: str
) -> None:
    """Names the groups if the project recorded them; requests nothing."""
    cloud.pipeline = replace(ENTRY, training_set=None)
    requested = CliRunner().invoke(
        app, ["train", "demand-forecast", "--data", str(sales), "--reason", "new rows", *arguments]
    )
    assert message in str(requested.exception)
    assert cloud.events == []


def test_the_rows_of_a_file_are_written_to_the_store_of_its_project(
    cloud: Cloud, sales: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uses the project's groups and the recorded schema; then requests a training."""
    cloud.pipeline = replace(ENTRY, pipeline="demand-stored", training_set=None)
    schema = stored_schema(sales, read_schema(sales, label="units", time="day", key="store", without=["note"]))
    model = ModelAnswers(unit="demand", model="stored", schema=schema)
    project = sales.parent / "project"
    (project / "demand_stored").mkdir(parents=True)
    (project / "demand_stored/__init__.py").touch()
    made = render(Answers(unit="demand", models=(model,)), sales.parent / "rendered", PackageSources())
    (project / "demand_stored/features.py").write_bytes(made["demand_stored/features.py"])
    (project / RECORD).write_bytes(record_of(Answers(unit="demand", models=(model,)), made))
    client = FeatureStoreClient.local(sales.parent / "store")
    monkeypatch.setattr(training_file, "deployed", lambda _unit, _aws: SimpleNamespace(client=client))
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", [*sys.path])
    arguments = ["train", "demand-stored", "--data", str(sales), "--reason", "new rows", "--json"]

    first = CliRunner().invoke(app, [*arguments, "--publish-only"])
    assert first.exit_code == 0, first.exception
    written = json.loads(first.stdout)
    assert written == {"pipeline": "demand-stored", "written": {"stored_features_v1": 1200, "stored_labels_v1": 1200}}
    assert cloud.events == []
    again = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert (again["outcome"], again["written"]["stored_features_v1"]) == ("REGISTERED", 0)
    pq.write_table(pq.read_table(sales).drop_columns(["price"]), sales)
    failed = CliRunner().invoke(app, arguments)
    assert str(failed.exception).startswith("nothing was written: the column 'price' is missing; the file has ")
    assert len(cloud.events) == 1


def test_a_file_that_does_not_fit_publishes_nothing(s3: Any, sales: Path) -> None:
    """Reports every problem."""
    with pytest.raises(UserError, match="nothing was published: --label must be a column of the file, got 'sold'"):
        publish_file(s3, replace(ENTRY, label="sold"), sales, holdout_from=None)
    with pytest.raises(UserError, match="nothing was published: baseline 'guess' is neither a column nor"):
        publish_file(s3, replace(ENTRY, baselines=("guess",)), sales, holdout_from=None)
    assert "Contents" not in s3.list_objects_v2(Bucket="sets")


@pytest.fixture
def cloud(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Let the verb use a stand-in with moto's S3."""
    found: Cloud = stand_in(monkeypatch, train)
    found.pipeline = ENTRY
    for name in (
        "upload_file",
        "copy",
        "get_paginator",
        "put_object",
        "get_object",
        "head_object",
        "delete_object",
        "list_objects_v2",
    ):
        monkeypatch.setattr(found, name, getattr(s3, name), raising=False)
    return found


def test_the_verb_publishes_before_it_asks(cloud: Cloud, sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output names the training set; without a file the split option is rejected."""
    requested = CliRunner().invoke(app, ["train", "demand-forecast", "--data", str(sales), "--reason", "new", "--json"])
    assert requested.exit_code == 0, requested.exception
    assert len(json.loads(requested.stdout)["training_set"]) == 64
    assert len(cloud.events) == 1
    monkeypatch.setattr(cloud, "get_item", lambda **_: {"Item": {"owner": {"S": "arn:x:run-1"}}})
    monkeypatch.setattr(cloud, "describe_execution", lambda **_: {"status": "RUNNING"})
    busy = CliRunner().invoke(app, ["train", "demand-forecast", "--data", str(sales), "--reason", "new"])
    assert str(busy.exception).startswith("nothing was published: run-1 of demand-forecast is running")
    assert len(cloud.events) == 1
    bare = CliRunner().invoke(app, ["train", "demand-forecast", "--holdout-from", "2025-02-01", "--reason", "new"])
    assert str(bare.exception) == "--holdout-from needs --data"


def test_an_older_file_is_refused_with_the_way_on(cloud: Cloud, sales: Path) -> None:
    """Requests nothing then; with the named option it publishes and requests a training."""
    arguments = ["train", "demand-forecast", "--reason", "new", "--data"]
    assert CliRunner().invoke(app, [*arguments, str(sales)]).exit_code == 0
    older = sales.parent / "older.parquet"
    pq.write_table(pq.read_table(sales).slice(0, 1000), older)
    refused = CliRunner().invoke(app, [*arguments, str(older)])
    assert str(refused.exception).startswith(
        "nothing was published: the rows end at 2025-02-19T00:00:00+00:00, those of"
    )
    assert str(refused.exception).endswith("--replace-newer (in Python replace_newer=True)")
    assert len(cloud.events) == 1
    assert CliRunner().invoke(app, [*arguments, str(older), "--replace-newer"]).exit_code == 0
    assert len(cloud.events) == 2
    bare = CliRunner().invoke(app, ["train", "demand-forecast", "--replace-newer", "--reason", "new"])
    assert str(bare.exception) == "--replace-newer needs --data"


def test_a_file_is_published_without_a_training(cloud: Cloud, sales: Path) -> None:
    """For externally trained models: requests nothing, and the output has the next command."""
    before = CliRunner().invoke(app, ["train", "demand-forecast", "--reason", "early"])
    assert str(before.exception).endswith("mlops train demand-forecast --data FILE --publish-only --reason ...")
    done = CliRunner().invoke(
        app, ["train", "demand-forecast", "--data", str(sales), "--publish-only", "--reason", "new"]
    )
    assert done.exit_code == 0, done.exception
    assert done.stdout.endswith("to evaluate a model on them: mlops models register demand-forecast PATH\n")
    assert cloud.events == []
    bare = CliRunner().invoke(app, ["train", "demand-forecast", "--publish-only", "--reason", "new"])
    assert str(bare.exception) == "--publish-only needs --data"
    assert CliRunner().invoke(app, ["train", "demand-forecast", "--reason", "now"]).exit_code == 0
    assert len(cloud.events) == 1
