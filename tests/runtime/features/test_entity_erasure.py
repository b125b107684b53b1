"""The right to erasure: no row, file or copy remains, and the erasure is recorded."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Transaction
from tests.runtime.features.conftest import Kept, fill, shop_at
from tests.runtime.features.test_source import FILES

from mlops_runtime.features import entity_erasure as module
from mlops_runtime.features import table_erasure
from mlops_runtime.features.entity_erasure import ErasureError
from mlops_runtime.features.ledger_index import INDEX_FILES, LostLedgerError
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.source import DamagedFileError, MissingFileError
from mlops_runtime.features.table_files import listed, unnamed
from mlops_runtime.features.training_set_manifest import ManifestError, Objects

SECRET = "household-4711-of-the-canary"
BOUND = SECRET[:15]
ENTITY = {"store_id": SECRET}


@pytest.fixture(scope="module")
def _kept_once(tmp_path_factory):
    """Make a store with two entities, a training set of each and one of both."""
    kept = Kept(tmp_path_factory.mktemp("kept"))
    filled = shop_at(kept.store)
    fill(filled)
    batch = pa.concat_tables([filled.stock((3, 7, 3)), filled.stock((4, 8, 4)).set_column(0, "store_id", [[SECRET]])])
    filled.client.ingest(filled.STOCK, batch, idempotency_key="mixed")
    filled.client.ingest(
        filled.STOCK, filled.stock((5, 9, 5)).set_column(0, "store_id", [[SECRET]]), idempotency_key="alone"
    )
    built = {
        "before": filled.client.training_set(filled.asked((2, "1")), {"sales": ["units"]}, name="sales"),
        "one": filled.client.training_set(filled.asked((6, "1")), [filled.STOCK], name="one"),
        "both": filled.client.training_set(filled.asked((6, "1"), (6, SECRET)), [filled.STOCK], name="both"),
    }
    kept.keep()
    return kept, built


@pytest.fixture
def kept(_kept_once):
    """Return the restored store, and the training sets by name."""
    kept, built = _kept_once
    shop = kept.back()
    vars(shop).update(built)
    return shop


def erase(filled, **options):
    """Erase the entity."""
    return filled.new_client().erase(ENTITY, **({"reason": "ticket 7", "in_use": ()} | options))


def found(path) -> list[str]:
    """Return the files below a folder that contain the entity, compressed or not."""
    files = [p for p in path.rglob("*") if p.is_file()]
    plain = [p for p in files if SECRET.encode() in p.read_bytes()]
    tables = [p for p in files if p.suffix == ".parquet" and SECRET in pq.read_table(p)["store_id"].to_pylist()]
    manifests = [p for p in files if p.suffix == ".avro" and BOUND in str(avro(p))]
    return sorted({str(p.relative_to(path)) for p in (*plain, *tables, *manifests)})


def avro(path) -> list[object]:
    """Return the records of an Avro file: manifests contain bounds of current and deleted files, 16 characters of strings."""
    with AvroFile(PyArrowFileIO().new_input(str(path))) as records:
        return list(records)


def test_nothing_of_the_entity_is_left(kept):
    """No rows, files of any kind or history remain; other rows keep their values."""
    assert found(kept.path)

    record = erase(kept)

    assert found(kept.path) == []
    assert set(record.used_by) == {kept.one.id, kept.both.id}
    table = kept.client.table("stock_v1")
    assert set(table.scan().to_arrow()["store_id"].to_pylist()) == {"1"}
    assert table.scan().to_arrow().num_rows == 11
    assert all(s not in {x.snapshot_id for x in table.metadata.snapshots} for t in record.tables for s in t.snapshots)
    built = kept.client.training_set(kept.asked((3.5, "1")), [kept.STOCK], name="after")
    assert built.rows["stock__on_hand"].to_pylist() == [7]


def test_training_sets_that_held_it_have_tombstones(kept):
    """They cannot be rebuilt, others can. Tombstones name tables with the entity's rows, not others with such a key."""
    record = erase(kept)

    for built in (kept.one, kept.both):
        again = kept.client.rebuild(built.id)
        assert again.verdict is Verdict.IMPOSSIBLE
        assert again.reason == f"erasure {record.id} of {record.at} (ticket 7) erased rows of stock_v1"
    assert kept.client.rebuild(kept.before.id).verdict is Verdict.IDENTICAL
    assert [use.is_erased for use in kept.client.who_used(kept.STOCK)] == [True, True]


def test_a_set_whose_entity_rows_alone_held_it_has_a_tombstone(kept):
    """It names no table, because no table lost rows."""
    built = kept.client.training_set(kept.asked((6, "1"), (6, "ghost")), [kept.STOCK], name="ghost")

    record = kept.client.erase({"store_id": "ghost"}, reason="T-8", in_use=[])

    assert record.used_by == (built.id,)
    again = kept.client.rebuild(built.id)
    assert again.reason == f"erasure {record.id} of {record.at} (T-8) erased rows of the given entity rows"


@pytest.mark.parametrize("resumes", [True, False], ids=["resumed", "erased again"])
def test_an_erasure_that_a_lost_index_stops_is_completed_after_maintenance(kept, resumes):
    """The ledger cannot store the keys of expired snapshots; until then each call reports it and the record stays."""
    small_batches(kept)
    (newest, *_) = sorted(kept.path.rglob(f"ledger/**/{INDEX_FILES}*"), key=lambda path: -path.stat().st_mtime_ns)
    newest.unlink()
    for call in (lambda: erase(kept), kept.client.resume_erasures, lambda: erase(kept)):
        with pytest.raises(LostLedgerError, match=f"{newest.name}.*mlops features maintain"):
            call()
    assert found(kept.path)

    kept.new_client().maintain()
    if resumes:
        (done,) = kept.new_client().resume_erasures()
        assert done.pending == ()
    else:
        erase(kept)

    assert found(kept.path) == []
    assert kept.client.resume_erasures() == ()
    assert kept.client.rebuild(kept.both.id).verdict is Verdict.IMPOSSIBLE
    batch = kept.stock((5, 9, 5)).set_column(0, "store_id", [[SECRET]])
    assert kept.client.ingest(kept.STOCK, batch, idempotency_key="alone").duplicate


def test_files_of_a_set_without_the_entity_stay(kept):
    """Such a set has only other entities' rows."""
    erase(kept)

    assert len(list(kept.path.rglob("sets/one/**/*.parquet"))) == 1
    assert list(kept.path.rglob("sets/both/**/*.parquet")) == []


def test_keys_of_erased_batches_are_remembered(kept):
    """A redelivered batch restores nothing."""
    erase(kept)

    batch = kept.stock((5, 9, 5)).set_column(0, "store_id", [[SECRET]])
    assert kept.client.ingest(kept.STOCK, batch, idempotency_key="alone").duplicate
    assert found(kept.path) == []


def test_a_set_in_use_is_taken_only_when_asked(kept):
    """Otherwise nothing changes."""
    files = sorted(kept.path.rglob("*"))

    with pytest.raises(ErasureError, match=f"1 training sets that contain the entity: {kept.one.id}; retrain without"):
        erase(kept, in_use=[kept.one.id, kept.before.id])
    assert sorted(kept.path.rglob("*")) == files

    assert kept.one.id in erase(kept, in_use=[kept.one.id], include_in_use=True).used_by
    assert found(kept.path) == []


def test_erasing_again_takes_nothing(kept):
    """It commits the same rows again, which makes commits of earlier writers fail."""
    erase(kept)
    before = kept.client.table("stock_v1")

    again = erase(kept)

    after = kept.client.table("stock_v1")
    assert (again.tables, again.used_by, again.pending) == ((), (), ())
    assert after.last_sequence_number == before.last_sequence_number + 1
    assert {task.file.file_path for task in after.scan().plan_files()} == {
        task.file.file_path for task in before.scan().plan_files()
    }


def test_the_second_of_two_copies_is_found_after_a_crash(kept, monkeypatch):
    """Applies also when the tables, or the entity rows that led to the set, are already clean."""
    again = kept.client.training_set(kept.asked((7, "1"), (6, SECRET)), [kept.STOCK], name="more")
    assert again.entities is not None
    erased = Objects.erase
    for count in range(8):
        calls = []

        def crash_later(objects, key, calls=calls, count=count):
            calls.append(key)
            if len(calls) > count:
                raise KeyboardInterrupt
            erased(objects, key)

        with monkeypatch.context() as broken:
            broken.setattr(Objects, "erase", crash_later)
            try:
                erase(kept)
            except KeyboardInterrupt:
                continue
            break

    erase(kept)

    assert found(kept.path) == []


def test_files_of_a_set_that_was_never_finished_go_too(kept, monkeypatch):
    """Its builder died before the manifest."""
    with monkeypatch.context() as broken:
        broken.setattr(module.Manifests, "add_copy", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            kept.client.training_set(kept.asked((7, SECRET)), [kept.STOCK], name="half")
    assert len(list(kept.path.rglob("sets/half/**/*.parquet"))) == 1

    erase(kept)

    assert found(kept.path) == []
    assert len(list(kept.path.rglob("sets/one/**/*.parquet"))) == 1


def test_what_a_killed_job_staged_goes_with_what_lies_beside_it(kept):
    """Tasks' files end with their attempts; column files without keys cannot be attributed. Other files stay."""
    folder = kept.path / "training_sets" / "staged" / "build"
    folder.mkdir(parents=True)
    for name, store_id in (("part-0.parquet.3", SECRET), ("000000.1.parquet", SECRET), ("000001.2.parquet", "1")):
        pq.write_table(kept.asked((7, store_id)), folder / name)
        pq.write_table(pa.table({"naive_median": [7.0]}), folder / f"{name}.beside")

    assert erase(kept).pending == ()

    assert found(kept.path) == []
    assert sorted(path.name for path in folder.iterdir()) == ["000001.2.parquet", "000001.2.parquet.beside"]


def test_a_batch_that_lands_meanwhile_stays_remembered(kept, monkeypatch):
    """Its snapshot, which includes the entity's earlier rows, is removed; its key and its own rows stay."""
    rewrite = module.rewrite

    def ingest_first(table, *arguments):
        if table.name()[-1] == "stock_v1":
            kept.new_client().ingest(kept.STOCK, kept.stock((6, 10, 6)), idempotency_key="meanwhile")
            meanwhile.append(kept.new_client().training_set(kept.asked((8, SECRET)), [kept.STOCK], name="meanwhile"))
        return rewrite(table, *arguments)

    meanwhile = []
    monkeypatch.setattr(module, "rewrite", ingest_first)
    record = erase(kept)

    assert kept.client.ingest(kept.STOCK, kept.stock((6, 10, 6)), idempotency_key="meanwhile").duplicate
    assert kept.client.table("stock_v1").scan().to_arrow().num_rows == 12
    assert meanwhile[0].id in record.used_by
    assert kept.client.rebuild(meanwhile[0].id).verdict is Verdict.IMPOSSIBLE
    assert found(kept.path) == []


def test_a_batch_that_lands_right_after_the_rewriting_blocks_nothing(kept, monkeypatch):
    """The restored entity is a matter for the next erasure."""
    taken = table_erasure._taken

    def ingest_after(table, *arguments):
        found_then = taken(table, *arguments)
        if table.name()[-1] == "stock_v1" and not late:
            batch = kept.stock((7, 9, 7)).set_column(0, "store_id", [[SECRET]])
            late.append(kept.new_client().ingest(kept.STOCK, batch, idempotency_key="late"))
        return found_then

    late = []
    monkeypatch.setattr(table_erasure, "_taken", ingest_after)
    first = erase(kept)
    assert late[0].snapshot_id not in {s for table in first.tables for s in table.snapshots}

    erase(kept)

    assert found(kept.path) == []


STEPS = {
    "begin": (module.Manifests, "begin"),
    "bury": (module.Manifests, "bury"),
    "rewrite": (module, "rewrite"),
    "take": (module.Manifests, "take"),
    "untag": (table_erasure, "_untag"),
    "expire": (table_erasure, "_drop"),
    "remove": (None, "mlops_runtime.features.erasure_places.remove"),
    "builds": (module, "_open"),
    "copies": (module, "_erase_copies"),
    "parts": (Objects, "remove_parts"),
    "sweep": (module, "sweep"),
    "end": (module.Manifests, "end"),
}


@pytest.mark.parametrize("resumes", [True, False], ids=["maintain", "erase"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_is_finished_by_the_next_call(kept, monkeypatch, step, resumes):
    """Applies to a crash at any step, and to a call without the entity."""

    def crash(*_args, **_options):
        raise KeyboardInterrupt

    place, name = STEPS[step]
    with monkeypatch.context() as broken:
        broken.setattr(*((name, crash) if place is None else (place, name, crash)))
        with pytest.raises(KeyboardInterrupt):
            erase(kept)

    if resumes:
        (done,) = kept.new_client().resume_erasures()
        assert done.pending == ()
        assert kept.client.resume_erasures() == ()
    else:
        erase(kept)

    assert found(kept.path) == []
    assert kept.client.rebuild(kept.both.id).verdict is Verdict.IMPOSSIBLE
    assert kept.client.table("stock_v1").scan().to_arrow().num_rows == 11


def test_part_of_a_key_erases_all_below_it(shop):
    """Erases a household in every category."""
    group = replace(
        shop.STOCK, name="wide", entities=(*shop.STOCK.entities, replace(shop.STOCK.entities[0], name="category"))
    )
    rows = shop.stock((1, 1, 1), (2, 2, 2)).append_column("category", [["a", "b"]])
    shop.client.ingest(group, rows)
    shop.client.ingest(group, rows.set_column(0, "store_id", [["2", "2"]]))

    shop.client.erase({"store_id": "1"}, reason="t", in_use=())

    assert shop.client.table("wide_v1").scan().to_arrow()["store_id"].to_pylist() == ["2", "2"]


def test_tables_that_name_keys_otherwise_are_left_alone(kept):
    """A value that is not a number matches no numeric key, in tables and entity rows."""
    numbered = replace(kept.STOCK, name="numbered", entities=(replace(kept.STOCK.entities[0], type="long"),))
    kept.client.ingest(numbered, kept.stock((1, 1, 1)).set_column(0, "store_id", pa.array([1])))
    entities = pa.table({"store_id": [1], "event_timestamp": [kept.day(2)]})
    built = kept.client.training_set(entities, [numbered], name="numbered")

    assert {table.table for table in erase(kept).tables} == {"stock_v1"}
    assert kept.client.rebuild(built.id).verdict is Verdict.IDENTICAL


def test_fails_when_no_table_has_the_key(kept):
    """The error lists the existing keys."""
    with pytest.raises(
        ErasureError, match="no table has the key customer; there are sales_v1: store_id; stock_v1: store_id"
    ):
        kept.client.erase({"customer": "1"}, reason="t", in_use=())
    with pytest.raises(ErasureError, match=r"no table has the key \(empty\)"):
        kept.client.erase({}, reason="t", in_use=())


@pytest.mark.parametrize("in_use", ["a list was forgotten", None, 5])
def test_fails_when_in_use_is_no_list(kept, in_use):
    """A string would be read as a list of single-letter ids."""
    with pytest.raises(ErasureError, match=r"in_use must be a list of ids of training sets, got .*; give \[\] if"):
        erase(kept, in_use=in_use)
    assert found(kept.path)


def test_fails_when_in_use_names_no_training_set(kept):
    """A misspelt id would protect nothing: nothing is erased, and all wrong ids are reported."""
    files = sorted(kept.path.rglob("*"))
    with pytest.raises(ErasureError, match=r"in_use names 'beef', 'dead', without a manifest in .*manifests;"):
        erase(kept, in_use=["dead", kept.before.id, "beef"])
    assert sorted(kept.path.rglob("*")) == files


def test_fails_when_a_manifest_cannot_be_read(kept):
    """Whether it pins the entity's rows is unknown, so nothing is erased."""
    (kept.path / "manifests" / "not-one.json").write_text("{}")
    files = sorted(kept.path.rglob("*"))

    with pytest.raises(
        ManifestError, match=r"manifest not-one in .*manifests was changed.*; restore the file as it was"
    ):
        erase(kept)
    assert sorted(kept.path.rglob("*")) == files


@pytest.mark.parametrize("reason", ["", "  ", 5])
def test_fails_without_a_reason(kept, reason):
    """The reason stays in the records after the rows are gone."""
    with pytest.raises(ErasureError, match="reason must be a reason, such as a ticket's number, got"):
        kept.client.erase(ENTITY, reason=reason, in_use=())


def small_batches(shop, count: int = 40) -> None:
    """Ingest enough small batches to expire the first snapshots."""
    for number in range(count):
        shop.client.ingest(shop.STOCK, shop.stock((6 + number / 100, number, 7)), idempotency_key=f"small {number}")


def test_nothing_is_left_of_what_snapshots_were_expired_of(kept):
    """Their manifests contain keys as bounds; affected sets are found by sequence numbers."""
    pinned = kept.one.manifest.features[0]
    for built in (kept.one, kept.both):
        kept.client.table("stock_v1").manage_snapshots().remove_tag(built.manifest.features[0].tag).commit()
    small_batches(kept)
    assert kept.client.table("stock_v1").snapshot_by_id(pinned.snapshot_id) is None

    record = erase(kept)

    assert found(kept.path) == []
    assert set(record.used_by) == {kept.one.id, kept.both.id}
    assert kept.client.rebuild(kept.before.id).verdict is Verdict.IDENTICAL
    assert set(kept.client.table("stock_v1").scan().to_arrow()["store_id"].to_pylist()) == {"1"}


def test_files_of_an_ingest_that_was_killed_or_overtaken_are_erased(kept, monkeypatch):
    """No snapshot names them; files of other, possibly active writers stay."""
    for store_id in (SECRET, "1"):
        batch = kept.stock((8, 8, 8)).set_column(0, "store_id", [[store_id]])
        with monkeypatch.context() as patched:
            patched.setattr(Transaction, "commit_transaction", lambda commit: commit._updates and 1 / 0)
            with pytest.raises(ZeroDivisionError):
                kept.client.ingest(kept.STOCK, batch)
    erase(kept)

    assert found(kept.path) == []
    table = kept.client.table("stock_v1")
    (others,) = [file for file in unnamed(table, listed(table)) if file.uri.endswith(".parquet")]
    assert pq.read_table(others.uri.removeprefix("file://"))["store_id"].to_pylist() == ["1"]


def test_files_that_nothing_can_read_are_erased(kept):
    """A writer was killed while writing; its commit can no longer succeed."""
    data = next(iter((kept.path / "tables/features/stock_v1/data").rglob("*.parquet")))
    half = data.with_name("half.parquet")
    half.write_bytes(b"PAR1" + SECRET.encode())

    erase(kept)

    assert found(kept.path) == []


def truncated(path):
    """Truncate a file to its first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path):
    """Overwrite the pages of a data file, leaving its footer."""
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 400 + content[404:])


@pytest.mark.parametrize(
    "damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b""), truncated, overwritten]
)
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_missing_or_damaged_is_named(filled, kind, damage):
    """The error names the restore, as for reads; other files stay."""
    (place, *_) = FILES[kind](filled.client.table("stock_v1"))
    path = Path(place.removeprefix("file://"))
    damage(path)
    files = sorted(filled.path.rglob("*"))
    kind_named = "data file" if kind == "data file" else "manifest"

    with pytest.raises(
        (MissingFileError, DamagedFileError),
        match=rf"^{kind_named} .*{path.name} (is missing|cannot be read).*restore it",
    ):
        filled.new_client().erase({"store_id": "1"}, reason="T-1", in_use=())
    assert sorted(filled.path.rglob("*")) == files


def test_entity_rows_that_cannot_be_read_are_named(kept):
    """Whether they contain the entity is unknown, so nothing is erased."""
    path = next(iter(sorted(kept.path.rglob("entities/*.parquet"))))
    path.write_bytes(b"")
    files = sorted(kept.path.rglob("*"))

    with pytest.raises(DamagedFileError, match=rf"data file .*{path.name} cannot be read.*restore it"):
        erase(kept)
    assert sorted(kept.path.rglob("*")) == files
