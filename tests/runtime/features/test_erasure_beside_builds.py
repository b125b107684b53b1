"""Erasures concurrent with builds, compactions and other erasures leave no byte of the entity."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Transaction
from tests.runtime.features.conftest import Kept, fill, shop_at
from tests.runtime.features.test_entity_erasure import SECRET, found

from mlops_runtime.contracts.features import BuildProcess
from mlops_runtime.features import entity_erasure, table_compaction, table_maintenance
from mlops_runtime.features import training_set as sets
from mlops_runtime.features.build_intent import Builds, ErasedDuringBuildError, OpenBuild
from mlops_runtime.features.entity_search import ErasureError
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.table_pins import tag_snapshot
from mlops_runtime.features.training_set_manifest import Manifests, Objects
from mlops_runtime.features.training_set_request import TrainingSetError

ENTITY = {"store_id": SECRET}
NOW = timedelta(0)


def of(store_id: str, rows: pa.Table) -> pa.Table:
    """Return rows of another store."""
    return rows.set_column(0, "store_id", [[store_id] * rows.num_rows])


@pytest.fixture(scope="module")
def _filled_with_the_entity(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    kept = Kept(tmp_path_factory.mktemp("builds"))
    shop = shop_at(kept.store)
    fill(shop)
    shop.client.ingest(shop.STOCK, pa.concat_tables([shop.stock((3, 7, 3)), of(SECRET, shop.stock((4, 8, 4)))]))
    shop.client.ingest(shop.STOCK, of(SECRET, shop.stock((5, 9, 5))))
    kept.keep()
    return kept


@pytest.fixture
def shop(_filled_with_the_entity: Kept) -> SimpleNamespace:
    """Return a shop with the entity's rows in a shared file and in a separate one."""
    return _filled_with_the_entity.back()


def erase(shop: SimpleNamespace, **options: Any) -> Any:
    """Erase the entity without waiting."""
    return shop.new_client().erase(ENTITY, **({"reason": "ticket 7", "in_use": (), "wait": NOW} | options))


def build(shop: SimpleNamespace, name: str = "both") -> Any:
    """Build a set that includes the entity's rows."""
    return shop.new_client().training_set(shop.asked((6, "1"), (6, SECRET)), [shop.STOCK], name=name)


def before(target: Any, name: str, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch, skip: int = 0) -> None:
    """Act once before a call, after a number of calls."""
    original, calls = getattr(target, name), []

    def first(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == skip + 1:
            act()
        return original(*arguments, **options)

    monkeypatch.setattr(target, name, first)


# the step of the build at which a whole erasure runs: next call, number of calls before it, and the outcome
STEPS = {
    "the intent, before any state is loaded": (sets, "build", 0, "clean"),
    "loading, before reading": (sets, "pinned_groups", 0, "refused"),
    "reading, before writing": (sets, "keep", 0, "refused"),
    "the first file": (OpenBuild, "put_once", 1, "refused"),
    "the last file": (OpenBuild, "check", 0, "refused"),
    "the look for a fence": (Manifests, "add_copy", 0, "kept"),
    "the note of its copy": (Manifests, "write", 0, "kept"),
    "the manifest": (Builds, "close", 0, "kept"),
}


@pytest.mark.parametrize("step", STEPS)
def test_an_erasure_after_each_step_of_a_build_leaves_nothing(
    shop: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It waits for the build, which is rejected or keeps files that the erasure removes; the next call completes it."""
    target, name, skip, outcome = STEPS[step]
    records = []
    with monkeypatch.context() as patched:
        # the erasure opens and closes its own intents
        before(target, name, lambda: patched.undo() or records.append(erase(shop)), patched, skip)
        if outcome == "kept":
            assert build(shop).rows.num_rows == 2
        else:
            with pytest.raises(ErasedDuringBuildError, match="build it again"):
                build(shop)
    assert [len(record.pending) for record in records] == [1]
    assert records[0].pending[0].startswith("build ")

    (done,) = shop.new_client().resume_erasures(wait=NOW)

    assert done.pending == ()
    assert found(shop.path) == []
    for each in shop.client.manifests.ids():
        assert each in done.used_by
        assert shop.client.rebuild(each).verdict is Verdict.IMPOSSIBLE
    assert shop.client.builds.unclosed() == ()
    shop.client.training_set(shop.asked((6, "1")), [shop.STOCK], name="after")


def test_who_begins_after_the_history_is_gone_reads_none_of_the_rows(
    shop: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Builds are listed after the history is gone, so a later one cannot read the rows, not even by their old snapshot."""
    had = shop.client.table("stock_v1").current_snapshot().snapshot_id
    built = []

    def late() -> None:
        monkeypatch.undo()
        with pytest.raises(TrainingSetError, match=f"has no snapshot {had}"):
            shop.new_client().training_set(shop.asked((6, "1")), [shop.STOCK], name="old", snapshots={"stock": had})
        built.append(shop.new_client().training_set(shop.asked((6, "1")), [shop.STOCK], name="late"))

    before(Builds, "unclosed", late, monkeypatch)
    done = erase(shop)

    assert done.pending == ()
    assert built[0].id not in done.used_by
    assert shop.client.rebuild(built[0].id).verdict is Verdict.IDENTICAL
    assert found(shop.path) == []


def test_builds_of_other_tables_go_on(shop: SimpleNamespace) -> None:
    """Builds with given entity rows wait, because these may belong to anyone."""
    with (
        shop.client.builds.begin(tables=["price_v1"], places=[], takes_rows=False) as other,
        shop.client.builds.begin(tables=["price_v1"], places=[], takes_rows=True) as given,
    ):
        record = erase(shop)
        assert [given.intent.id in line for line in record.pending] == [True]
        other.check()
        with pytest.raises(ErasedDuringBuildError):
            given.check()
    assert [each.pending for each in shop.client.resume_erasures(wait=NOW)] == [()]


# loads all modules once, then forks a process for each build, which stops at a step and reports it
_BUILDERS = """
import importlib, json, os, signal, sys
import duckdb
from mlops_runtime.features import build_intent, locked_files, point_in_time, training_set, training_set_manifest
from mlops_runtime.features.store_client import FeatureStoreClient
from tests.runtime.features.conftest import STOCK, asked

signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def stop_at(target, name, skip):
    original, calls = getattr(target, name), []
    def paused(*arguments, **options):
        calls.append(None)
        if len(calls) == skip + 1:
            print(os.getpid(), flush=True)
            signal.pause()
        return original(*arguments, **options)
    setattr(target, name, paused)

for line in sys.stdin:
    module, of, name, skip, folder, secret = json.loads(line)
    if os.fork() == 0:
        try:
            target = importlib.import_module(f"mlops_runtime.features.{module}")
            stop_at(getattr(target, of) if of else target, name, skip)
            FeatureStoreClient.local(folder).training_set(asked((6, "1"), (6, secret)), [STOCK], name="killed")
        finally:
            print("it did not stop", flush=True)
            os._exit(1)
"""
KILLED: dict[str, tuple[str, str | None, str, int]] = {
    "nothing": ("training_set", None, "build", 0),
    "reading": ("training_set", None, "keep", 0),
    "half of a file": ("locked_files", "os", "link", 2),
    "one file": ("build_intent", "OpenBuild", "put_once", 1),
    "all files": ("build_intent", "OpenBuild", "check", 0),
    "its mark": ("training_set_manifest", "Manifests", "add_copy", 0),
    "its copy": ("training_set_manifest", "Manifests", "write", 0),
    "its manifest": ("build_intent", "Builds", "close", 0),
}


@pytest.fixture(scope="module")
def builders() -> Iterator[subprocess.Popen[str]]:
    """Return the process that forks builds."""
    command = [sys.executable, "-c", _BUILDERS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        yield started
        assert started.stdin is not None
        started.stdin.close()


@pytest.mark.parametrize("step", KILLED)
def test_a_build_that_is_killed_is_waited_for_until_then(
    shop: SimpleNamespace, builders: subprocess.Popen[str], step: str
) -> None:
    """A paused process may write later, so the erasure stays pending; the lock shows that a dead one cannot."""
    assert builders.stdin is not None
    assert builders.stdout is not None
    builders.stdin.write(json.dumps([*KILLED[step], str(shop.path), SECRET]) + "\n")
    builders.stdin.flush()
    builder = int(builders.stdout.readline())
    try:
        assert len(erase(shop).pending) == 1
        assert len(shop.new_client().resume_erasures(wait=NOW)[0].pending) == 1
    finally:
        os.kill(builder, signal.SIGKILL)
    (done,) = shop.new_client().resume_erasures(wait=timedelta(minutes=1))
    assert done.pending == ()
    assert found(shop.path) == []
    assert list(shop.path.rglob("*.part")) == []
    assert shop.client.builds.unclosed() == ()


_JOINED_ELSEWHERE = """
import os, sys
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.training_set_manifest import Manifests
from tests.runtime.features.conftest import STOCK, asked

Manifests.add_copy = lambda *_: os._exit(9)
rows = asked((6, "1"), (6, "1")).append_column("rival_id", [["2", sys.argv[2]]])
join = GroupJoin(group=STOCK, name="rival", on={"store_id": "rival_id"})
FeatureStoreClient.local(sys.argv[1]).training_set(rows, [join], name="killed")
"""


def test_a_killed_build_has_the_entity_by_another_column(shop: SimpleNamespace) -> None:
    """The join column is known after the intent is gone; other entities' rows by that column stay."""
    command = [sys.executable, "-c", _JOINED_ELSEWHERE, str(shop.path), SECRET]
    assert subprocess.run(command, check=False).returncode == 9
    shop.new_client().maintain()
    assert shop.client.builds.unclosed() == ()
    held = set(found(shop.path))
    assert any("entities" in str(each) for each in held)
    assert any("sets" in str(each) for each in held)

    assert erase(shop).pending == ()

    assert found(shop.path) == []


def test_an_erasure_waits_for_a_build_that_ends(shop: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as long as its timeout allows."""
    begin = shop.client.builds.begin(tables=["stock_v1"], places=[], takes_rows=True)
    begin.__enter__()
    places = shop.client._places(timedelta(minutes=1), ())
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        begin.__exit__(None, None, None)

    monkeypatch.setattr(entity_erasure.time, "sleep", pause)
    record = entity_erasure.erase(places, ENTITY, reason="t", in_use=(), include_in_use=False)
    assert (len(waited), record.pending) == (1, ())


def test_two_erasures_at_once_leave_nothing_of_either(shop: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that loses a commit race while rewriting a file with both entities' rows leaves nothing of the other's."""
    other = "another-household"
    both = pa.concat_tables(
        [of(SECRET, shop.stock((8, 1, 8))), of(other, shop.stock((8, 2, 8))), shop.stock((8, 3, 8))]
    )
    shop.client.ingest(shop.STOCK, both)
    records = []

    def overtake() -> None:
        monkeypatch.undo()
        records.append(shop.new_client().erase({"store_id": other}, reason="t", in_use=(), wait=NOW))

    # files are written, the commit has not been tried
    before(Transaction, "commit_transaction", overtake, monkeypatch)
    first = erase(shop)

    assert first.pending == ()
    assert len(records[0].pending) == 1
    assert [each.pending for each in shop.new_client().resume_erasures(wait=NOW)] == [()]
    assert found(shop.path) == []
    assert [p for p in shop.path.rglob("*") if p.is_file() and other.encode() in p.read_bytes()] == []
    left = {each for p in shop.path.rglob("*.parquet") for each in pa.parquet.read_table(p)["store_id"].to_pylist()}
    assert left == {"1"}


def test_a_compaction_that_is_overtaken_leaves_nothing(shop: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The erasure waits for it, because it holds the rows and writes them again."""
    records = []
    rewritten = table_compaction._rows

    def after_reading(*arguments: Any) -> pa.Table:
        rows = rewritten(*arguments)
        monkeypatch.undo()
        records.append(erase(shop))
        return rows

    monkeypatch.setattr(table_maintenance, "is_due", lambda _: False)
    for number in range(9):
        shop.client.ingest(shop.STOCK, of(SECRET, shop.stock((6 + number / 10, number, 7))))
    monkeypatch.undo()
    monkeypatch.setattr(table_compaction, "_rows", after_reading)
    shop.client.maintain()

    assert [len(record.pending) for record in records] == [1]
    assert [each.pending for each in shop.new_client().resume_erasures(wait=NOW)] == [()]
    assert found(shop.path) == []


def test_a_user_may_say_that_a_process_has_ended(shop: SimpleNamespace) -> None:
    """Applies to processes whose end is otherwise unknown; the build's full id is required."""
    begin = shop.client.builds.begin(
        tables=["stock_v1"], places=[], takes_rows=True, process=BuildProcess(kind="other", name="a notebook")
    )
    build = begin.__enter__()
    record = erase(shop)
    assert record.pending == (f"build {build.intent.id} by a notebook, since {build.intent.at}",)
    message = f"ended names 'another', which are not builds in .*; open builds: {build.intent.id} by a notebook; give full ids"
    with pytest.raises(ErasureError, match=message):
        shop.client.resume_erasures(wait=NOW, ended=["another", build.intent.id])
    with pytest.raises(ErasureError, match=message):
        shop.client.erase({"store_id": SECRET}, reason="T-9", in_use=[], wait=NOW, ended=["another"])
    assert shop.client.resume_erasures(wait=NOW)[0].pending == record.pending
    assert shop.client.resume_erasures(wait=NOW, ended=[build.intent.id])[0].pending == ()


def test_what_was_asked_goes_when_it_is_done(shop: SimpleNamespace) -> None:
    """The request is stored until then for resumption; the records never name the entity."""
    with shop.client.builds.begin(tables=["stock_v1"], places=[], takes_rows=True):
        erase(shop)
        (kept,) = Objects(shop.path / "training_sets").keys("erasing/")
        assert SECRET.encode() in (shop.path / "training_sets" / kept).read_bytes()
    shop.client.resume_erasures(wait=NOW)
    assert Objects(shop.path / "training_sets").keys("erasing/") == []
    assert all(SECRET.encode() not in p.read_bytes() for p in (shop.path / "manifests").rglob("*") if p.is_file())


def test_a_tag_that_a_build_gives_meanwhile_holds_nothing_up(
    shop: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tag is removed with its snapshot, although it was created after the erasure listed its targets."""
    had = shop.client.table("stock_v1").current_snapshot().snapshot_id
    before(entity_erasure, "expire", lambda: tag_snapshot(shop.client.table("stock_v1"), had, "ts-late"), monkeypatch)

    assert erase(shop).pending == ()
    assert found(shop.path) == []
