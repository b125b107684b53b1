"""``mlops features ingest | latest`` on a store in a folder, and what a unit's bus hears."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feature_shops import STOCK, day, stock

from mlops_runtime.features.store_client import FeatureStoreClient

Run = Callable[..., subprocess.CompletedProcess[str]]
MODULE = """
from feature_shops import PRICE, STOCK
from dataclasses import replace

GROUPS = (STOCK, PRICE, replace(PRICE, version=2))
"""


@pytest.fixture
def features(in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb on a folder that is not there yet, with a declaration in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows_shop.py").write_text(MODULE)
    where = ("--groups", "rows_shop:GROUPS", "--path", "store")
    return lambda verb, *arguments: in_process("features", verb, *arguments, *where)


def _written(rows: pa.Table, name: str = "batch.parquet") -> str:
    pq.write_table(rows, name)
    return name


def test_a_batch_is_written_once_restated_and_read(features: Run) -> None:
    """The folder becomes a store; the newest value of each entity is what was restated."""
    plain = stock(1, 2).drop_columns("created_time")
    first = features("ingest", "stock", _written(plain), "--key", "monday")
    again = features("ingest", "stock_v1", "batch.parquet", "--key", "monday")
    past = features("ingest", "stock", _written(stock(3, store="2")), "--backfill", "--json")
    wrong = features("ingest", "stock", _written(stock(9)), "--correct")
    rows = plain.slice(1).set_column(2, "on_hand", pa.array([70]))
    right = features("ingest", "stock", _written(rows), "--correct")
    every = features("latest", "stock")
    one = json.loads(features("latest", "stock", "--entity", "store_id=1", "--json").stdout)
    nobody = features("latest", "stock", "--entity", "store_id=9")

    snapshots = [s.snapshot_id for s in FeatureStoreClient.local(Path("store")).table("stock_v1").snapshots()]
    assert first.stdout == f"stock_v1: 2 rows in snapshot {snapshots[0]}\n"
    assert again.stdout == f"stock_v1: this batch is in snapshot {snapshots[0]} already, nothing written\n"
    assert (json.loads(past.stdout)["rows"], json.loads(past.stdout)["snapshot_id"]) == (1, snapshots[1])
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert right.stdout == f"stock_v1: 1 rows in snapshot {snapshots[2]}\n"
    assert "2017-01-04T00:00:00+00:00" in every.stdout
    assert [(row["store_id"], row["event_time"], row["on_hand"]) for row in one] == [("1", day(2).isoformat(), 70)]
    assert nobody.stdout == "stock_v1: no row counts now for the entity\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ingest", "sales", "x"), "GROUP must name one of stock_v1, price_v1, price_v2, got 'sales'"),
        (("ingest", "price", "x"), "GROUP must name one of stock_v1, price_v1, price_v2, got 'price'; it has several"),
        (("ingest", "stock", "x"), "FILE must be a Parquet file, got x: it is not there"),
        (("ingest", "stock", "x", "--backfill", "--correct"), "--backfill and --correct are two things"),
        (("latest", "stock"), "there is no feature store in store; mlops features ingest"),
        (("latest", "stock", "--entity", "shop=1"), "--entity must name store_id, got shop"),
    ],
)
def test_fails_in_one_line(features: Run, arguments: tuple[str, ...], message: str) -> None:
    """And makes no folder."""
    result = features(*arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert not Path("store").exists()


def test_a_batch_that_does_not_fit_is_refused(features: Run) -> None:
    """With every problem, and no row is written."""
    result = features("ingest", STOCK.name, _written(stock(1).set_column(3, "on_hand", pa.array([-1]))))

    assert (result.returncode, result.stdout) == (1, "")
    assert "on_hand" in result.stderr
    assert len(result.stderr.splitlines()) == 1
