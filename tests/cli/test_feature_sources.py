"""``mlops features ingest | build`` on many files, and invalid requests."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.feature_shops import FeatureShop

from mlops_runtime.features.store_client import FeatureStoreClient

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def features(in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb on a new folder, with a declaration in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source_shop.py").write_text("from tests.cli.feature_shops import STOCK\n\nGROUPS = (STOCK,)\n")
    where = ("--groups", "source_shop:GROUPS", "--path", "store")
    return lambda verb, *arguments: in_process("features", verb, *arguments, *where)


def test_many_files_are_ingested_and_are_entity_rows(features: Run, tmp_path: Path) -> None:
    """Reads a folder of CSV files in batches, each once; entity rows too, with the key types of the group."""
    (tmp_path / "history").mkdir()
    (tmp_path / "asked").mkdir()
    head = "store_id,event_time,created_time,on_hand,shelf\n"
    (tmp_path / "history" / "a.csv").write_text(head + "007,2017-01-02T00:00:00Z,2017-01-02T00:00:00Z,3,a\n")
    (tmp_path / "history" / "b.csv").write_text(head + "007,2017-01-03T00:00:00Z,2017-01-03T00:00:00Z,4,a\n")
    (tmp_path / "asked" / "a.csv").write_text("store_id,event_timestamp\n007,2017-01-02T12:00:00Z\n")
    first = features("ingest", "stock", "history", "--backfill")
    again = features("ingest", "stock", "history", "--backfill", "--json")

    assert first.stdout == "stock_v1: 2 rows of 2 files, in 2 pieces\n"
    assert {name: json.loads(again.stdout)[name] for name in ("files", "known", "rows")} == {
        "files": 2,
        "known": 2,
        "rows": 0,
    }
    built = FeatureStoreClient.local(Path("store"))
    assert built.table("stock_v1").scan().to_arrow()["store_id"].to_pylist() == ["007", "007"]


def test_entity_rows_of_a_folder(in_process: Run, feature_shop: FeatureShop, tmp_path: Path) -> None:
    """Keys from a text file get the types of the group."""
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "a.csv").write_text(
        "store_id,event_timestamp\n1,2017-01-06T00:00:00Z\n2,2017-01-07T00:00:00Z\n"
    )
    where = ("--entities", str(tmp_path / "asked"), "--features", "stock:on_hand", "--path", str(feature_shop.path))
    done = in_process("features", "build", "shelves", *where)

    assert done.stdout.splitlines()[0] == feature_shop.built.id


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "give either FILE or --query: files of rows, or an Athena query"),
        (("a.parquet", "--query", "select 1"), "give either FILE or --query"),
        (("a.parquet", "--output", "s3://a/b"), "--output is the result location of --query"),
        (("--query", "select 1", "--format", "csv"), "--format is the format of files; omit it with --query"),
        (("nowhere.csv", "--backfill"), "there is no folder or file nowhere.csv"),
        (("nowhere.csv", "--correct"), "--correct and --key require a single Parquet file"),
        (("nowhere", "--format", "orc"), "format must be one of parquet, csv, jsonl, got 'orc'"),
        (("--query", "@nowhere.sql"), "--query @FILE cannot be read: No such file or directory: nowhere.sql"),
        (("--query", "@binary.sql"), "--query @FILE must be text in UTF-8: binary.sql"),
    ],
)
def test_rows_that_are_nowhere_are_refused(
    features: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], problem: str
) -> None:
    """Fails before anything is created or called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.sql").write_bytes(b"\xff")
    failed = features("ingest", "stock", *arguments)

    assert failed.returncode == 1
    assert problem in failed.stderr
