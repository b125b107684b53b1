"""Tables by name, and the configuration of Glue."""

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import event
from tests.runtime.features.conftest import STOCK, asked, fill, shop_at

from mlops_runtime.features import table_catalog
from mlops_runtime.features.feature_group import Entity, Feature
from mlops_runtime.features.lock_file import FeatureLockError
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.source import DamagedFileError, MissingFileError
from mlops_runtime.features.table_catalog import MovedFolderError, Tables, UnusableCatalogError, glue_properties
from mlops_runtime.features.table_description import FeatureTableError


def test_tables_are_listed_and_loaded_by_name(filled):
    """A folder contains the tables of its groups."""
    tables = Tables.local(filled.path, "features", None)
    assert tables.names() == ("sales_v1", "stock_v1")
    assert tables.load("stock_v1").name() == ("features", "stock_v1")
    with pytest.raises(FeatureTableError, match="database features has no table other_v1; ingest a batch of it first"):
        tables.load("other_v1")


def test_a_group_is_found_by_its_name(filled):
    """The group's name works while it has one version, the table's name always."""
    assert (
        filled.client._tables.find("stock").name()[-1]
        == filled.client._tables.find("stock_v1").name()[-1]
        == "stock_v1"
    )
    filled.client.ingest(replace(filled.STOCK, version=2), filled.stock((1, 1, 1)))
    assert filled.client._tables.find("stock_v2").name()[-1] == "stock_v2"
    with pytest.raises(FeatureTableError, match="group 'stock' has versions stock_v1, stock_v2; name one of them"):
        filled.client._tables.find("stock")


def test_fails_for_a_place_that_is_no_folder(tmp_path):
    """The error names the path."""
    (tmp_path / "file").touch()
    with pytest.raises(FeatureTableError, match=r"a store needs a folder that exists or can be created, got .*file"):
        Tables.local(tmp_path / "file", "features", None)


@pytest.mark.parametrize("name", ["a b", "ü", "p%41", "s;t=1", "b[1]*"])
def test_a_folder_may_have_any_name(tmp_path, name):
    """All files of a store are below its folder; other programs would escape such a name."""
    shop = shop_at(tmp_path / name)
    fill(shop)
    shop.client.ingest(shop.STOCK, shop.stock((10, 1, 10)))
    built = shop.new_client().training_set(asked((6, "1")), [STOCK], name="daily")
    assert shop.new_client().rebuild(built.id).verdict is Verdict.IDENTICAL
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert shop.client.erase({"store_id": "1"}, reason="T-1", in_use=(), wait=timedelta(0)).pending == ()
    tables = (tmp_path / name / "tables").rglob("*.parquet")
    assert [pq.read_metadata(file).num_rows for file in tables] == []


@pytest.mark.parametrize("name", ["h#x", "q?x"])
def test_a_folder_whose_name_would_end_a_uri_is_refused(tmp_path, name):
    """The error precedes the folder's creation."""
    with pytest.raises(FeatureTableError, match=r"a store's folder must not contain [#?], .*; choose another folder"):
        Tables.local(tmp_path / name, "features", None)
    assert not (tmp_path / name).exists()


def test_glue_reads_region_endpoints_and_keys_from_the_environment():
    """A service's endpoint overrides the common one; unset values are left to boto3 and Arrow."""
    assert glue_properties(
        {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}
    ) == {"client.region": "eu-west-1", "glue.endpoint": "http://all", "s3.endpoint": "http://s3"}
    assert glue_properties({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}) == {
        "client.access-key-id": "a",
        "client.secret-access-key": "b",
        "client.session-token": "c",
    }


def test_a_folder_follows_what_a_deployment_would_change(filled):
    """Covers widened columns and the time to live, applied by another process with the current declaration."""
    old = replace(filled.STOCK, name="grown", features=(Feature("a", "int", "a"), Feature("b", "float", "b")))
    filled.client.ingest(old, pa.table({"store_id": ["1"], "event_time": [filled.day(1)], "a": [1], "b": [0.5]}))
    wide = (
        Feature("a", "long", "a"),
        Feature("b", "double", "b", nullable=True),
        Feature("c", "int", "c", nullable=True),
    )
    now = replace(old, features=wide, ttl=timedelta(days=9), ttl_bound="exclusive", owner="others")
    batch = pa.table({"store_id": ["2"], "event_time": [filled.day(1)], "a": [2**40], "b": pa.nulls(1), "c": [1]})

    filled.new_client().ingest(now, batch)

    found = filled.new_client().table("grown_v1")
    assert {k: v for k, v in found.properties.items() if k.startswith("mlops.")} == {
        **now.properties,
        "mlops.description": now.description,
    }
    assert found.scan().to_arrow().sort_by("store_id").select(["a", "b", "c"]).to_pylist() == [
        {"a": 1, "b": 0.5, "c": None},
        {"a": 2**40, "b": None, "c": 1},
    ]
    filled.new_client().ingest(replace(now, ttl=None, ttl_bound="inclusive"), batch, idempotency_key="again")
    assert "mlops.ttl-seconds" not in filled.new_client().table("grown_v1").properties


def test_a_folder_grows_a_vector_with_its_length(filled):
    """One commit adds both; readers without the declaration continue, and another length is rejected."""
    extra = Feature("extra", "vector(2)", "x", nullable=True)
    grown = replace(filled.STOCK, features=(*filled.STOCK.features, extra))
    batch = filled.stock((12, 1, 12)).append_column("extra", pa.array([[1.0, 2.0]], pa.list_(pa.float32())))
    before = filled.client.table("stock_v1").metadata

    filled.new_client().ingest(grown, batch)

    after = filled.new_client().table("stock_v1")
    assert [1.0, 2.0] in after.scan().to_arrow()["extra"].to_pylist()
    assert len(after.metadata.metadata_log) == len(before.metadata_log) + 2  # the columns, then the rows
    assert filled.new_client().ingest(grown, batch).duplicate
    assert filled.new_client().ingest(filled.STOCK, filled.stock((13, 1, 13))).rows == 1
    longer = replace(grown, features=(*filled.STOCK.features, replace(extra, type="vector(3)")))
    with pytest.raises(FeatureLockError, match=r"'extra' .* has type 'vector\(2\)' and cannot become 'vector\(3\)'"):
        filled.new_client().ingest(longer, filled.stock((14, 1, 14)))


_ON_HAND = Feature("on_hand", "long", "x", nullable=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"entities": (Entity("shop_id", "string", "x"),)},
            r"entities are \['shop_id'\], the table was made with \['store_id'\]",
        ),
        ({"partition": "day"}, "partition is 'day', the table was made with 'month'"),
        ({"features": (Feature("on_hand", "string", "x"),)}, "'on_hand' .* has type 'long' and cannot become 'string'"),
        ({"features": (replace(_ON_HAND, nullable=False),)}, "'on_hand' .* is nullable and may have nulls"),
        (
            {"features": (_ON_HAND, Feature("extra", "long", "x"))},
            "new column 'extra' has no value in existing rows; set nullable=True",
        ),
    ],
)
def test_a_folder_does_not_follow_what_readers_would_not_survive(filled, change, message):
    """With or without knowledge of the earlier declaration; the table is unchanged, and a new version is the fix."""
    group = replace(filled.STOCK, **change)
    values = {"shop_id": ["1"], "store_id": ["1"], "event_time": [filled.day(1)], "on_hand": [1], "extra": [1]}
    values |= {"on_hand": ["x"]} if group.features[0].type == "string" else {}
    batch = pa.table({name: values[name] for name in (*group.entity_names, "event_time", *group.feature_names)})
    known = filled.new_client()
    known.ingest(filled.STOCK, filled.stock((12, 1, 12)))
    before = filled.client.table("stock_v1").metadata_location
    new = filled.new_client()
    for client in (new, known):
        with pytest.raises(FeatureLockError, match=f"{message}.* or set version=2"):
            client.ingest(replace(group, ttl=timedelta(days=9)), batch)
    assert filled.new_client().table("stock_v1").metadata_location == before
    assert new.ingest(replace(group, version=2), batch).rows == 1
    assert new.ingest(filled.STOCK, filled.stock((13, 1, 13))).rows == 1


def test_many_may_open_a_new_folder_at_once(tmp_path):
    """Each process checks and then creates what is missing."""
    for folder in range(5):
        together = Barrier(6)

        def opened(_number, path=tmp_path / str(folder), together=together):
            together.wait()
            return Tables.local(path, "features", None).names()

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(opened, range(6))) == [()] * 6


@pytest.mark.parametrize("is_copied", [True, False])
def test_a_folder_that_was_moved_or_copied_is_named(filled, tmp_path, is_copied):
    """Tables reference files by absolute paths: a copy would read from and write to the original."""
    target = tmp_path / "elsewhere"
    (shutil.copytree if is_copied else shutil.move)(filled.path, target)
    moved = filled.new_client(target)
    with pytest.raises(MovedFolderError, match=r"elsewhere (was moved or copied: its table|has no file )"):
        moved.training_set(filled.asked((1, "1")), [filled.STOCK], name="s")
    with pytest.raises(MovedFolderError, match="copy rows to another store by ingest_from"):
        moved.ingest(filled.STOCK, filled.stock((12, 1, 12)))
    if not is_copied:
        shutil.move(target, filled.path)
    assert filled.client.training_set(filled.asked((1, "1")), [filled.STOCK], name="s").rows.num_rows == 1


@pytest.mark.parametrize("content", [b"{", b"", b"\0\xff", b'{"format-version": 2}'])
def test_a_damaged_state_of_a_table_is_named(filled, content):
    """The error has the file and the fix; other tables are readable."""
    newest = Path(filled.client.table("stock_v1").metadata_location.removeprefix("file://"))
    newest.write_bytes(content)
    with pytest.raises(DamagedFileError, match=f"^file .*{newest.name} of table stock_v1 cannot be read: .*restore it"):
        filled.new_client().table("stock_v1")
    assert filled.new_client().table("sales_v1").name()[-1] == "sales_v1"


def test_a_damaged_catalog_is_named(filled):
    """It is not replaced by a new one."""
    (filled.path / "catalog.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(DamagedFileError, match=r"catalog\.db cannot be read: file is not a database; restore it"):
        filled.new_client()


def test_a_state_that_is_missing_alone_is_named(filled):
    """The folder did not move, and other tables are readable."""
    newest = Path(filled.client.table("stock_v1").metadata_location.removeprefix("file://"))
    newest.unlink()
    with pytest.raises(MissingFileError, match=f"^file .*{newest.name} of table stock_v1 is missing; restore it"):
        filled.new_client().table("stock_v1")
    assert filled.new_client().table("sales_v1").name()[-1] == "sales_v1"


def test_a_state_that_later_commits_removed_is_not_missing(filled, monkeypatch):
    """A reader may get its name shortly before."""
    tables = filled.client._tables
    load, stale = tables._catalog.load_table, [FileNotFoundError("of a state before")]

    def raced(name):
        if stale:
            raise stale.pop()
        return load(name)

    monkeypatch.setattr(tables._catalog, "load_table", raced)
    assert tables.load("stock_v1").name()[-1] == "stock_v1"


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_a_catalog_that_was_emptied_is_no_new_store(filled, damage):
    """Tables exist, so a catalog existed; no new one is made in its place."""
    damage(filled.path / "catalog.db")
    with pytest.raises(
        DamagedFileError, match=r"catalog\.db is (empty|missing), but there are tables beside it; restore it"
    ):
        filled.new_client()
    assert not (filled.path / "catalog.db").exists() or not (filled.path / "catalog.db").stat().st_size


def test_a_catalog_that_is_empty_before_there_is_a_table_is_made(tmp_path):
    """Its creator was killed or has just started."""
    (tmp_path / "catalog.db").touch()
    assert Tables.local(tmp_path, "features", None).names() == ()


def test_a_locked_catalog_is_named(filled, monkeypatch):
    """By opening and by a commit, after the lock timeout."""
    monkeypatch.setattr(table_catalog, "_BUSY_SECONDS", 0.01)
    opened = filled.new_client()
    holder = sqlite3.connect(filled.path / "catalog.db", isolation_level=None)
    try:
        holder.execute("begin exclusive")
        for call in (filled.new_client, lambda: opened.ingest(filled.STOCK, filled.stock((12, 1, 12)))):
            with pytest.raises(
                UnusableCatalogError, match=r"catalog\.db cannot be used: database is locked; .*try again"
            ):
                call()
    finally:
        holder.close()
    assert opened.ingest(filled.STOCK, filled.stock((12, 1, 12))).rows == 1


@pytest.mark.parametrize(
    ("pragma", "message"),
    [("query_only=on", "attempt to write a readonly database"), ("max_page_count=1", "database or disk is full")],
)
def test_a_catalog_that_cannot_be_written_is_named(filled, pragma, message):
    """Other tables are readable."""
    client = filled.new_client()
    engine = client._tables._catalog.engine
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute(f"pragma {pragma}"))
    with pytest.raises(UnusableCatalogError, match=f"catalog\\.db cannot be used: {message}; .*free space"):
        for number in range(50):
            client.ingest(replace(filled.STOCK, name=f"stock{number}"), filled.stock((12, 1, 12)))
    assert client.table("stock_v1").scan().to_arrow().num_rows == 10
