"""``mlops features ingest | latest | build | rebuild | diff`` on a store in a folder, and events on a unit's bus."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.feature_shops import STOCK, FeatureShop, day, stock

from mlops_runtime.features.store_client import FeatureStoreClient

Run = Callable[..., subprocess.CompletedProcess[str]]
MODULE = """
from tests.cli.feature_shops import PRICE, STOCK
from dataclasses import replace

GROUPS = (STOCK, PRICE, replace(PRICE, version=2))
"""


@pytest.fixture
def features(in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb on a new folder, with a declaration in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows_shop.py").write_text(MODULE)
    where = ("--groups", "rows_shop:GROUPS", "--path", "store")
    return lambda verb, *arguments: in_process("features", verb, *arguments, *where)


def _written(rows: pa.Table, name: str = "batch.parquet") -> str:
    pq.write_table(rows, name)
    return name


def test_a_batch_is_written_once_restated_and_read(features: Run) -> None:
    """Creates the store; a correction replaces the newest value of an entity."""
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
    assert again.stdout == f"stock_v1: this batch is already in snapshot {snapshots[0]}; nothing was written\n"
    assert (json.loads(past.stdout)["rows"], json.loads(past.stdout)["snapshot_id"]) == (1, snapshots[1])
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert right.stdout == f"stock_v1: 1 rows in snapshot {snapshots[2]}\n"
    assert "2017-01-04T00:00:00+00:00" in every.stdout
    assert [(row["store_id"], row["event_time"], row["on_hand"]) for row in one] == [("1", day(2).isoformat(), 70)]
    assert nobody.stdout == "stock_v1: no current row for the entity\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ingest", "sales", "x"), "GROUP must name one of stock_v1, price_v1, price_v2, got 'sales'"),
        (("ingest", "price", "x"), "GROUP must name one of stock_v1, price_v1, price_v2, got 'price'; it has several"),
        (("ingest", "stock", "x"), "FILE must be a Parquet file, got x: the file does not exist"),
        (("ingest", "stock", "x", "--backfill", "--correct"), "give --backfill or --correct, not both"),
        (("latest", "stock"), "no feature store found in store; create one with mlops features ingest"),
        (("latest", "stock", "--entity", "shop=1"), "--entity must give store_id, got shop"),
    ],
)
def test_fails_in_one_line(features: Run, arguments: tuple[str, ...], message: str) -> None:
    """Creates no folder."""
    result = features(*arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert not Path("store").exists()


def test_a_batch_that_does_not_fit_is_refused(features: Run) -> None:
    """Reports every problem, and writes no row."""
    result = features("ingest", STOCK.name, _written(stock(1).set_column(3, "on_hand", pa.array([-1]))))

    assert (result.returncode, result.stdout) == (1, "")
    assert "on_hand" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def features_feature_sets(feature_shop: FeatureShop, in_process: Run) -> Run:
    """Run a verb on the store."""
    return lambda verb, *arguments: in_process("features", verb, *arguments, "--path", feature_shop.path)


def _build(features_feature_sets: Run, shop: FeatureShop, *options: object) -> subprocess.CompletedProcess[str]:
    return features_feature_sets("build", "shelves", "--entities", shop.entities, *options)


def test_build_makes_what_the_client_makes(feature_shop: FeatureShop, features_feature_sets: Run) -> None:
    """Id and files are equal."""
    shown = _build(features_feature_sets, feature_shop, "--features", "stock:on_hand")

    lines = shown.stdout.splitlines()
    assert shown.returncode == 0
    assert lines[0] == feature_shop.built.id
    assert lines[1] == "2 rows of store_id, event_timestamp, row_id, stock__on_hand"
    assert lines[2] == "2 of them have a matching row in stock_v1"
    assert [Path(line).is_file() for line in lines[3:]] == [True]
    assert pq.read_table(lines[3])["stock__on_hand"].to_pylist() == [5, 4]


def test_build_warns_of_a_group_without_a_match(feature_shop: FeatureShop, features_feature_sets: Run) -> None:
    """Warns on stderr and in the document; the set is built."""
    early = ("--features", "stock:on_hand", "--as-of", "2010-01-01T00:00:00+00:00")
    shown = _build(features_feature_sets, feature_shop, *early)
    assert (shown.returncode, shown.stdout.splitlines()[2]) == (0, "0 of them have a matching row in stock_v1")
    assert shown.stderr.startswith("mlops: warning: no entity row matched a row of group stock: ")
    found = json.loads(_build(features_feature_sets, feature_shop, *early, "--json").stdout)
    assert found["matched"] == {"stock_v1": 0}
    assert f"mlops: warning: {found['warnings'][0]}" == shown.stderr.strip()


def test_build_takes_groups_snapshots_semantics_and_a_cutoff(
    feature_shop: FeatureShop, features_feature_sets: Run
) -> None:
    """A group without features means all of them; the manifest contains the request."""
    snapshot = feature_shop.first.snapshot_id
    done = _build(
        features_feature_sets,
        feature_shop,
        *("--features", "stock,price:list_price", "--snapshot", f"stock={snapshot}", "--semantics", "event_time"),
        *("--as-of", "2017-01-04T00:00:00+00:00", "--json"),
    )

    found = json.loads(done.stdout)
    assert found["columns"][2:] == ["row_id", "stock__on_hand", "stock__shelf", "price__list_price"]
    manifest = feature_shop.client.manifests.read(found["id"])
    assert manifest.features[0].snapshot_id == snapshot
    assert (manifest.semantics.as_of, manifest.semantics.cutoff) == ("event_time", "2017-01-04T00:00:00Z")
    rows = pq.read_table(f"{found['places'][0]}/{found['files'][0]}")
    assert rows["stock__on_hand"].to_pylist() == [3, None]


def test_build_joins_a_group_twice_by_other_columns(
    feature_shop: FeatureShop, features_feature_sets: Run, tmp_path: Path
) -> None:
    """Each use has its own name; an unknown name is rejected with the valid ones."""
    rows = pq.read_table(feature_shop.entities)
    home = rows.append_column("home", pa.array(["1"] * rows.num_rows))
    pq.write_table(home, tmp_path / "rows.parquet")
    arguments = ("build", "shelves", "--entities", tmp_path / "rows.parquet")
    done = features_feature_sets(
        *arguments, "--features", "near=stock:on_hand,stock:on_hand", "--on", "near.store_id=home", "--json"
    )
    found = json.loads(done.stdout)
    assert found["columns"][-2:] == ["near__on_hand", "stock__on_hand"]
    assert (found["rows"], found["engine"], found["matched"].keys()) == (2, "duckdb", {"near", "stock_v1"})
    (near, _) = feature_shop.client.manifests.read(found["id"]).features
    assert (near.alias, near.key_columns) == ("near", {"store_id": "home"})
    wrong = features_feature_sets(*arguments, "--features", "stock", "--on", "far.store_id=home")
    assert wrong.stderr == "mlops: --on must be NAME.KEY=COLUMN with one of stock, got 'far.store_id'\n"
    unnamed = features_feature_sets(*arguments, "--features", "=stock")
    assert unnamed.stderr.startswith(
        "mlops: --features must be GROUP:COLUMN or GROUP, separated by commas, got '=stock'"
    )


def test_build_on_spark_needs_a_job_that_the_store_names(feature_shop: FeatureShop, features_feature_sets: Run) -> None:
    """A folder has no job; other engines are rejected."""
    shown = _build(features_feature_sets, feature_shop, "--features", "stock", "--engine", "spark")
    assert shown.returncode == 1
    assert (
        "has no Glue job; define a TrainingSetJob for the deployed store in its stack, or omit --engine" in shown.stderr
    )
    other = _build(features_feature_sets, feature_shop, "--features", "stock", "--engine", "athena")
    assert other.stderr == "mlops: --engine must be duckdb or spark, got 'athena'\n"


def test_rebuild_proves_a_set_by_the_start_of_its_id(feature_shop: FeatureShop, features_feature_sets: Run) -> None:
    """Exits with 0 if identical, even with an expired snapshot; after an erasure with 3 and the reason."""
    shown = features_feature_sets("rebuild", feature_shop.built.id[:8])
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"IDENTICAL {feature_shop.built.id}: 2 rows with content ")
    assert shown.stdout.endswith(", the same bytes\n")

    pinned = feature_shop.built.manifest.features[0]
    feature_shop.client.ingest(STOCK, stock(11))
    table = feature_shop.client.table(pinned.table)
    table.manage_snapshots().remove_tag(pinned.tag).commit()
    table.maintenance.expire_snapshots().by_id(pinned.snapshot_id).commit()
    assert features_feature_sets("rebuild", feature_shop.built.id).stdout.startswith("IDENTICAL")

    feature_shop.client.erase({"store_id": "1"}, reason="T-1", in_use=())
    gone = features_feature_sets("rebuild", feature_shop.built.id)
    result = features_feature_sets("rebuild", feature_shop.built.id, "--json")

    assert (gone.returncode, gone.stdout, result.returncode) == (3, "", 3)
    assert gone.stderr.startswith(f"mlops: IMPOSSIBLE {feature_shop.built.id}: erasure ")
    assert json.loads(result.stdout)["verdict"] == "IMPOSSIBLE"


def test_diff_tells_how_two_sets_differ(feature_shop: FeatureShop, features_feature_sets: Run) -> None:
    """Compares request, snapshot, columns and values."""
    first = feature_shop.built.id
    feature_shop.client.ingest(STOCK, stock(5, store="2"))
    second = _build(features_feature_sets, feature_shop, "--features", "stock:on_hand").stdout.splitlines()[0]
    third = _build(features_feature_sets, feature_shop, "--features", "price").stdout.splitlines()[0]

    values, columns, same = (
        features_feature_sets("diff", first, second),
        features_feature_sets("diff", first, third),
        features_feature_sets("diff", first, first),
    )
    result = json.loads(features_feature_sets("diff", first, second, "--json").stdout)

    assert "column stock__on_hand: 1 rows have another value" in values.stdout.splitlines()
    assert "table" not in values.stdout
    assert "column price__list_price added" in columns.stdout.splitlines()
    assert "column stock__on_hand removed" in columns.stdout.splitlines()
    assert same.stdout == "both have the same rows and columns\n"
    assert (result["changed"], result["is_none"]) == ({"stock__on_hand": 1}, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rebuild", "abc"), "a training set is named by 6 to 64 hexadecimal digits of its id, got 'abc'"),
        (("rebuild", "abcdef"), "no training set has an id that starts with 'abcdef'; give more digits"),
        (("rebuild", "0" * 64), "no manifest 000000"),
        (("diff", "0" * 64, "1" * 64), "no manifest 000000"),
        (
            (
                "build",
                "sales",
                "--entities",
                "a.csv",
                "--features",
                "stock:on_hand",
                "--as-of",
                "0001-01-01T00:00+14:00",
            ),
            "--as-of must be a time with a zone, such as 2017-08-07T00:00:00Z, got '0001-01-01T00:00+14:00'",
        ),
    ],
)
def test_feature_sets_fails_in_one_line(features_feature_sets: Run, arguments: tuple[str, ...], message: str) -> None:
    """The error has the value and what is allowed."""
    result = features_feature_sets(*arguments)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: {message}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--features", "stock:"), "--features must be GROUP:COLUMN or GROUP, separated by commas, got 'stock:'"),
        (("--features", "sales:units"), "training set shelves: there is no feature table of group 'sales'"),
        (("--features", "stock:x"), "training set shelves: stock has no column 'x', it has store_id"),
        (("--features", "stock", "--semantics", "x"), "--semantics must be known_at or event_time, got 'x'"),
        (("--features", "stock", "--as-of", "2017-01-01"), "--as-of must be a time with a zone, such as"),
        (("--features", "stock", "--as-of", "x"), "--as-of must be a time with a zone, such as"),
        (("--features", "stock", "--snapshot", "stock=x"), "the ID in --snapshot GROUP=ID must be an integer, got 'x'"),
        (("--features", "stock", "--snapshot", "stock=1"), "training set shelves: table stock_v1 has no snapshot 1"),
        (("--features", "stock", "--timestamp", "at"), "entity rows have no column 'at', they have store_id"),
        (
            ("--features", "stock", "--entities", "absent.parquet"),
            "--entities must be a Parquet file, got absent.parquet",
        ),
        (("--features", "stock", "--entities", __file__), "--entities must be a Parquet file, got"),
    ],
)
def test_a_set_that_cannot_be_built_leaves_nothing(
    feature_shop: FeatureShop, features_feature_sets: Run, options: tuple[str, ...], message: str
) -> None:
    """Prints one line and writes no manifest."""
    result = _build(features_feature_sets, feature_shop, *options)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert feature_shop.client.manifests.ids() == (feature_shop.built.id,)
