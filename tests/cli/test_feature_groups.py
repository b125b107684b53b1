"""``mlops features list | show | who-used | catalog`` on a store in a folder."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.feature_shops import STOCK, FeatureShop, stock

from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.table_catalog import Tables

Run = Callable[..., subprocess.CompletedProcess[str]]

MODULE = """
from datetime import timedelta

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup

GROUPS = (
    FeatureGroup(
        name="stock",
        entities=(Entity("store_id", "string", "store"),),
        features=(Feature("on_hand", "long", "units", minimum=0), Feature("shelf", "string", "shelf")),
        owner="demand",
        description="What lies on the shelves",
        freshness=timedelta(days=2),
    ),
)
"""


def test_list_shows_tables_rows_and_ages(feature_shop: FeatureShop, in_process: Run) -> None:
    """Prints a table, or JSON."""
    shown = in_process("features", "list", "--path", feature_shop.path)
    result = json.loads(in_process("features", "list", "--path", feature_shop.path, "--json").stdout)

    assert shown.returncode == 0
    lines = [re.split(r"\s*│\s*", line.strip("│ ")) for line in shown.stdout.splitlines() if "_v1" in line]
    assert [line[:4] for line in lines] == [
        ["price_v1", "pricing", "10", "2017-01-10 00:00"],
        ["stock_v1", "demand", "12", "2017-01-10 00:00"],
    ]
    assert [line[5:] for line in lines] == [["1", "0"], ["2", "1"]]
    assert [(t["table"], t["rows"], t["newest_event"], t["training_sets"]) for t in result] == [
        ("price_v1", 10, "2017-01-10T00:00:00Z", 0),
        ("stock_v1", 12, "2017-01-10T00:00:00Z", 1),
    ]


def test_show_names_columns_snapshots_and_users(feature_shop: FeatureShop, in_process: Run) -> None:
    """Finds a group by its name or its table's; brackets are not interpreted as markup."""
    shown = in_process("features", "show", "stock", "--path", feature_shop.path).stdout
    result = json.loads(in_process("features", "show", "stock_v1", "--path", feature_shop.path, "--json").stdout)

    assert "stock_v1, owned by demand: 12 rows, month(event_time)" in shown
    assert re.search(r"│ 5\s+│ on_hand\s+│ long\s+│ no\s+│ units \[on hand\]", shown)
    assert re.search(rf"│ {feature_shop.first.snapshot_id}\s+│ .*│ append │ 10\s+│ 10", shown)
    assert re.search(rf"│ {feature_shop.built.id} │ shelves │ on_hand", shown)
    assert [column["field_id"] for column in result["columns"]] == [1, 2, 3, 4, 5, 6]
    assert [snapshot["total"] for snapshot in result["snapshots"]] == [12, 10]
    assert result["used_by"][0]["id"] == feature_shop.built.id


def test_who_used_finds_by_snapshot_and_column(feature_shop: FeatureShop, in_process: Run) -> None:
    """Rows of the first snapshot are included in later reads; another column was not read."""
    where = ("--path", feature_shop.path)
    snapshot = in_process("features", "who-used", "stock", "--snapshot", feature_shop.first.snapshot_id, *where)
    later = feature_shop.client.ingest(STOCK, stock(11))
    none = in_process("features", "who-used", "stock", "--snapshot", later.snapshot_id, *where)
    column = in_process("features", "who-used", "stock", "--column", "shelf", *where)
    result = json.loads(in_process("features", "who-used", "stock", "--column", "on_hand", *where, "--json").stdout)

    assert feature_shop.built.id in snapshot.stdout
    assert none.stdout == "no training set used stock_v1\n"
    assert column.stdout == "no training set used shelf of stock_v1\n"
    assert [(use["manifest_id"], use["columns"]) for use in result] == [(feature_shop.built.id, ["on_hand"])]


@pytest.mark.parametrize("verb", ["who-used", "show"])
def test_ids_are_whole_on_a_narrow_terminal(feature_shop: FeatureShop, mlops: Run, verb: str) -> None:
    """Ids are folded so that they can be copied."""
    shown = mlops("features", verb, "stock", "--path", feature_shop.path, COLUMNS="80").stdout

    table = [line.split("│") for line in shown[shown.index("training set") :].splitlines() if "│" in line]
    cells = [line[1].strip() for line in table]
    assert "".join(cells).endswith(feature_shop.built.id)
    assert "…" not in shown


def test_catalog_writes_a_page(
    feature_shop: FeatureShop, in_process: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adds the declaration and the history of the lock file beside it."""
    (tmp_path / "declared_shop.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    plain = in_process("features", "catalog", "--path", feature_shop.path)
    in_process("features", "lock", "declared_shop:GROUPS")
    done = in_process(
        "features", "catalog", "--path", feature_shop.path, "--groups", "declared_shop:GROUPS", "--output", "full.html"
    )

    assert plain.stdout == "features.html: 2 groups, 1 training sets, 0 packages\n"
    assert done.stdout == "full.html: 2 groups, 1 training sets, 0 packages\n"
    pages = [Path(name).read_text() for name in ("features.html", "full.html")]
    assert [feature_shop.built.id in page for page in pages] == [True, True]
    assert ["What lies on the shelves" in page for page in pages] == [True, True]
    assert ["at least 0" in page for page in pages] == [False, True]
    assert ["at least 0" in page for page in pages] == [False, True]
    assert "of 2 days" in pages[1]


def test_an_empty_store_says_so(in_process: Run, tmp_path: Path) -> None:
    """Lists nothing and succeeds."""
    Tables.local(tmp_path / "empty", "features", FeatureLock())

    shown = in_process("features", "list", "--path", tmp_path / "empty")

    assert (shown.returncode, shown.stdout) == (0, "feature store empty has no group yet\n")


def test_list_shows_what_can_be_read_and_names_the_rest(feature_shop: FeatureShop, in_process: Run) -> None:
    """A damaged table does not hide others, and the command exits with 1."""
    table = Tables.local(feature_shop.path, "features", FeatureLock()).load("price_v1")
    newest = Path(table.metadata_location.removeprefix("file://"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2])
    try:
        shown = in_process("features", "list", "--path", feature_shop.path)
        result = in_process("features", "list", "--path", feature_shop.path, "--json")
        other = in_process("features", "show", "stock", "--path", feature_shop.path)
        itself = in_process("features", "show", "price", "--path", feature_shop.path)
    finally:
        newest.write_bytes(whole)

    assert shown.returncode == result.returncode == itself.returncode == 1
    assert other.returncode == 0
    assert "stock_v1" in shown.stdout
    assert shown.stderr.startswith("mlops: price_v1 is not shown: file ")
    assert newest.name in shown.stderr
    assert "restore it" in shown.stderr
    assert [group["table"] for group in json.loads(result.stdout)["groups"]] == ["stock_v1"]
    assert all(len(each.stderr.splitlines()) == 1 for each in (shown, result, itself))


def test_a_damaged_catalog_is_one_line(in_process: Run, tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "catalog.db").write_bytes(b"garbage" * 1000)

    found = in_process("features", "list", "--path", tmp_path)

    assert (found.returncode, found.stdout, len(found.stderr.splitlines())) == (1, "", 1)
    assert "catalog.db cannot be read: file is not a database" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "sales"), "there is no feature table of group 'sales', there are price_v1, stock_v1"),
        (("who-used", "stock", "--column", "x"), "stock_v1 has no column 'x', it has store_id, event_time"),
        (("catalog", "--output", "absent/page.html"), "cannot write absent/page.html: No such file or directory"),
        (("catalog", "--lock", "absent.json"), "no lock file at absent.json; create it: mlops features lock"),
        (("catalog", "--groups", "nothing"), "groups must be <module>:<name>, got 'nothing'"),
    ],
)
def test_fails_in_one_line(
    feature_shop: FeatureShop, in_process: Run, arguments: tuple[str, ...], message: str
) -> None:
    """The error has the value and the existing ones."""
    result = in_process("features", *arguments, "--path", feature_shop.path)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"mlops: {message}")
    assert len(result.stderr.splitlines()) == 1
