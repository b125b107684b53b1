"""Publication of ingested rows: all visible rows, also after a crash, and no row that an erasure removes meanwhile.

The publishing function publishes the table of an event, and rejects events without one.
"""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.feature_service import FeatureService, FeatureServiceError
from mlops_runtime.features.group_json import declaration_json
from mlops_runtime.features.online_items import ErasedMeanwhileError, OnlineStoreError
from mlops_runtime.features.online_publication import IngestEventError, OnlinePublisher, publish_new
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.source import MissingFileError
from mlops_runtime.features.store_client import FeatureStoreClient, FeatureStoreError
from mlops_runtime.features.table_catalog import Tables
from mlops_runtime.lambda_protocol import Message

START = datetime(2017, 1, 1, tzinfo=UTC)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand", nullable=True),),
    owner="demand",
    description="stock",
    lead=timedelta(days=9),
    online=True,
)


def day(number):
    """Return a time in days since the start."""
    return START + timedelta(days=number)


def stock(*given):
    """Return rows: (store, event in days, on hand)."""
    stores, events, values = zip(*given, strict=True)
    return pa.table(
        {"store_id": stores, "event_time": [day(e) for e in events], "on_hand": pa.array(values, pa.int64())}
    )


class Shop:
    """A store in a folder with a settable clock."""

    def __init__(self, path):
        self.at, self.path = day(5), path
        self.client = self.opened()

    def opened(self):
        """Return another client of the same folder."""
        return FeatureStoreClient.local(self.path, now=lambda: self.at)

    def on_hand(self, *stores):
        """Return the values of the online store."""
        return self.client.read_online([STOCK], pa.table({"store_id": stores})).rows["stock__on_hand"].to_pylist()

    def mark(self):
        """Return the sequence number up to which rows are published."""
        table = self.client.table("stock_v1")
        return self.client.online.published("stock_v1", str(table.metadata.table_uuid))

    def publish(self, **request):
        """Publish unpublished rows."""
        return publish_new(lambda: self.client.table("stock_v1"), STOCK, self.client.online, now=self.at, **request)


@pytest.fixture
def shop(tmp_path):
    """Return an empty store."""
    return Shop(tmp_path / "store")


def test_an_ingest_publishes_what_it_adds(shop):
    """The group's flag is enough; a group without it is not published."""
    shop.client.ingest(STOCK, stock(("a", 1, 10), ("b", 1, 20)))
    shop.client.ingest(STOCK, stock(("a", 2, 11)))
    assert shop.on_hand("b", "a", "c") == [20, 11, None]
    assert shop.mark() == shop.client.table("stock_v1").current_snapshot().sequence_number == 2
    quiet = FeatureGroup(**{f: getattr(STOCK, f) for f in STOCK.__slots__} | {"name": "quiet", "online": False})
    shop.client.ingest(quiet, stock(("a", 1, 1)))
    found = shop.client.read_online([quiet], pa.table({"store_id": ["a"]}))
    assert (found.rows["quiet__on_hand"].to_pylist(), found.missing) == ([None], {"quiet_v1": (0,)})


def test_corrections_and_backfills_are_published_too(shop):
    """The newest version counts; a row of the past does not replace a newer one."""
    shop.client.ingest(STOCK, stock(("a", 3, 10)))
    shop.client.backfill(STOCK, stock(("a", 1, 5)).append_column("created_time", [[day(1)]]))
    assert shop.on_hand("a") == [10]
    shop.at = day(6)
    shop.client.correct(STOCK, stock(("a", 3, 12)))
    assert shop.on_hand("a") == [12]


def crash(shop, monkeypatch):
    """Ingest a batch whose publisher dies after the commit."""

    def fail(*_, **__):
        raise OnlineStoreError("ended")

    with monkeypatch.context() as patch:
        patch.setattr(OnlineStore, "publish", fail)
        with pytest.raises(OnlineStoreError, match="ended"):
            shop.client.ingest(STOCK, stock(("a", 1, 10)))


def test_the_next_ingest_publishes_what_a_crash_left(shop, monkeypatch):
    """The mark did not move, so everything above it is read."""
    crash(shop, monkeypatch)
    assert (shop.mark(), shop.on_hand("a")) == (0, [None])
    shop.client.ingest(STOCK, stock(("b", 1, 20)))
    assert (shop.mark(), shop.on_hand("a", "b")) == (2, [10, 20])


def test_the_same_batch_again_publishes_what_a_crash_left(shop, monkeypatch):
    """The batch is a duplicate, and published afterwards."""
    crash(shop, monkeypatch)
    assert shop.client.ingest(STOCK, stock(("a", 1, 10))).duplicate
    assert shop.on_hand("a") == [10]
    assert shop.client.publish_online(STOCK) == 0


def test_rows_that_are_not_visible_yet_hold_the_mark_back(shop):
    """They are published by the first publication after their time."""
    shop.client.ingest(STOCK, stock(("a", 1, 10)))
    shop.client.ingest(STOCK, stock(("b", 8, 20)))
    shop.client.ingest(STOCK, stock(("c", 2, 30)))
    assert (shop.mark(), shop.on_hand("a", "b", "c")) == (1, [10, None, 30])
    shop.at = day(8)
    done = shop.publish()
    assert (done.published.written, done.sequence, shop.on_hand("b")) == (1, 3, [20])


def test_many_rows_are_left_to_the_function(shop, monkeypatch):
    """None of them is published inline; compacted files count by their new rows."""
    for number in range(7):
        shop.client.ingest(STOCK, stock((f"s{number}", 1, number)))
    crash(shop, monkeypatch)
    assert shop.publish(most=0) is None
    assert shop.on_hand("a") == [None]
    assert shop.publish(most=1).published.written == 1
    assert shop.on_hand("a") == [10]


class Between(OnlineStore):
    """An online store that runs a callback once before a call."""

    def __init__(self, path, step, happens):
        self._rows, self._step, self._happens = OnlineStore.local(path)._rows, step, [happens]

    def _let(self, step):
        if step == self._step and self._happens:
            self._happens.pop()()

    def generation(self, table):
        """Run the callback before the generation is read."""
        self._let("generation")
        return super().generation(table)

    def published(self, table, uuid):
        """Run the callback before the mark is read."""
        self._let("published")
        return super().published(table, uuid)

    def publish(self, group, rows, **options):
        """Run the callback before rows are put."""
        self._let("publish")
        return super().publish(group, rows, **options)

    def mark_published(self, table, uuid, sequence, **options):
        """Run the callback before the mark is moved."""
        self._let("mark")
        return super().mark_published(table, uuid, sequence, **options)


def unpublished(shop, *rows):
    """Ingest rows without publishing them."""
    quiet = FeatureStoreClient.local(shop.path, now=lambda: shop.at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureStoreClient, "_publish", lambda *_: None)
        quiet.ingest(STOCK, stock(*rows))


def holding(shop):
    """Return the files of the online store that contain the planted entity."""
    return [path.name for path in shop.path.glob("online.db*") if b"PLANTED" in path.read_bytes()]


STEPS = ("generation", "published", "publish", "mark")


@pytest.mark.parametrize("step", STEPS)
def test_rows_that_an_erasure_takes_meanwhile_are_not_out(shop, step):
    """At any later step of the publication the store rejects them or they are erased; other rows are published."""
    unpublished(shop, ("a", 1, 10), ("PLANTED", 1, 30))
    unpublished(shop, ("PLANTED", 2, 31))
    other = shop.opened()
    online = Between(
        shop.path / "online.db", step, lambda: other.erase({"store_id": "PLANTED"}, reason="T-1", in_use=[])
    )
    done = publish_new(lambda: shop.client.table("stock_v1"), STOCK, online, now=shop.at)
    assert shop.on_hand("a", "PLANTED") == [10, None]
    assert done.sequence == shop.client.table("stock_v1").current_snapshot().sequence_number
    assert holding(shop) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_that_is_killed_leaves_nothing_of_an_erasure(shop, step):
    """Whether it is killed before its next step, or paused and puts its rows after the erasure."""
    unpublished(shop, ("a", 1, 10), ("PLANTED", 1, 30))
    other = shop.opened()

    def erase():
        other.erase({"store_id": "PLANTED"}, reason="T-1", in_use=[])
        raise KeyboardInterrupt

    online = Between(shop.path / "online.db", step, erase)
    with pytest.raises(KeyboardInterrupt):
        publish_new(lambda: shop.client.table("stock_v1"), STOCK, online, now=shop.at)
    assert holding(shop) == []
    assert shop.client.publish_online(STOCK) >= 0
    assert shop.on_hand("a", "PLANTED") == [10, None]


def test_who_is_refused_again_and_again_says_so(shop):
    """It gives up after several erasures; a later publication continues from there."""
    unpublished(shop, ("a", 1, 10))

    online = Between(shop.path / "online.db", "published", None)
    online._let = lambda step: online.end_generation(["stock_v1"]) if step == "published" else None
    with pytest.raises(ErasedMeanwhileError, match="stock_v1 was rewritten 8 times while its rows were published"):
        publish_new(lambda: shop.client.table("stock_v1"), STOCK, online, now=shop.at)
    assert shop.client.publish_online(STOCK) == 1


def test_a_missing_file_is_named(shop):
    """It is not mistaken for an erasure, which changes the table's state; rows are published once the file is restored."""
    shop.client.ingest(STOCK, stock(("a", 1, 10)))
    (file,) = shop.path.glob("tables/**/*.parquet")
    away = file.rename(shop.path / "away")
    (shop.path / "online.db").unlink()

    with pytest.raises(OnlineStoreError, match=f"{file.name} is missing.*publish them again") as raised:
        shop.opened().ingest(STOCK, stock(("b", 1, 20)))
    assert isinstance(raised.value.__cause__, MissingFileError)
    assert not isinstance(raised.value, ErasedMeanwhileError)

    away.rename(file)
    assert shop.opened().publish_online(STOCK) == 2


@pytest.mark.parametrize("step", STEPS)
def test_what_is_delivered_again_after_an_erasure_stays(shop, step):
    """Also if its event is older than the erased row's."""
    shop.client.ingest(STOCK, stock(("b", 1, 20)))
    other = shop.opened()

    def erase_and_deliver():
        other.erase({"store_id": "a"}, reason="T-1", in_use=[])
        other.ingest(STOCK, stock(("a", 1, 7)))

    unpublished(shop, ("a", 3, 10))
    online = Between(shop.path / "online.db", step, erase_and_deliver)
    publish_new(lambda: shop.client.table("stock_v1"), STOCK, online, now=shop.at)
    assert shop.on_hand("a", "b") == [7, 20]


def test_what_is_delivered_between_rewrite_and_forgetting_stays(shop, monkeypatch):
    """Its own publication found the newer erased row and marked it as published; the next one publishes it."""
    shop.client.ingest(STOCK, stock(("a", 3, 10), ("b", 3, 20)))
    deliver, forget = shop.opened(), OnlineStore.forget_entity

    def delivered(*arguments, **options):
        deliver.ingest(STOCK, stock(("a", 1, 7)))
        assert shop.on_hand("a") == [10]
        return forget(*arguments, **options)

    monkeypatch.setattr(OnlineStore, "forget_entity", delivered)
    shop.opened().erase({"store_id": "a"}, reason="T-1", in_use=[])
    monkeypatch.undo()
    assert shop.on_hand("a", "b") == [None, 20]
    assert shop.client.publish_online(STOCK) == 1
    assert shop.on_hand("a", "b") == [7, 20]


def test_what_is_out_since_the_rewrite_is_not_forgotten(shop, monkeypatch):
    """A repeated erasure, as after a crash, removes only the rows of the first."""
    shop.client.ingest(STOCK, stock(("b", 1, 20)))
    with shop.client.builds.begin(tables=["stock_v1"], places=[], takes_rows=True):
        assert shop.opened().erase({"store_id": "b"}, reason="T-1", in_use=[], wait=timedelta(0)).pending
    shop.client.ingest(STOCK, stock(("b", 1, 21)))
    assert [each.pending for each in shop.opened().resume_erasures()] == [()]
    assert shop.on_hand("b") == [21]


def test_an_ingest_meanwhile_is_not_said_to_be_out(shop, monkeypatch):
    """Its publisher may still die before publishing."""
    crash(shop, monkeypatch)
    other = shop.opened()

    def ingest():
        with monkeypatch.context() as patch:
            patch.setattr(FeatureStoreClient, "_publish", lambda *_: None)
            other.ingest(STOCK, stock(("b", 1, 20)))

    online = Between(shop.path / "online.db", "publish", ingest)
    done = publish_new(lambda: shop.client.table("stock_v1"), STOCK, online, now=shop.at)
    assert (done.sequence, shop.mark(), shop.on_hand("a", "b")) == (1, 1, [10, None])
    assert shop.client.publish_online(STOCK) == 1
    assert shop.on_hand("b") == [20]


def test_a_table_that_was_made_anew_begins_without_a_mark(shop):
    """Sequence numbers of the former table do not apply to the new one."""
    online = shop.client.online
    online.mark_published("stock_v1", "first", 7)
    online.mark_published("stock_v1", "first", 5)
    assert (online.published("stock_v1", "first"), online.published("stock_v1", "second")) == (7, 0)
    online.mark_published("stock_v1", "second", 2)
    assert (online.published("stock_v1", "first"), online.published("stock_v1", "second")) == (0, 2)


def test_an_erasure_forgets_online_rows_of_a_folder(shop):
    """The client does it by itself; a folder without publications gets no file."""
    shop.client.ingest(STOCK, stock(("a", 1, 10), ("b", 1, 20)))
    shop.client.erase({"store_id": "a"}, reason="T-1", in_use=[])
    assert shop.on_hand("a", "b") == [None, 20]
    (shop.path / "online.db").unlink()
    shop.opened().erase({"store_id": "b"}, reason="T-2", in_use=[])
    assert not (shop.path / "online.db").exists()


def test_a_client_that_could_publish_nowhere_refuses(shop):
    """The error precedes any write and names the argument."""
    lost = FeatureStoreClient(Tables.local(shop.path, "features", None), now=lambda: shop.at)
    with pytest.raises(FeatureStoreError, match=r"'stock' is online, but this client has no online store .* pass"):
        lost.ingest(STOCK, stock(("a", 1, 10)))
    with pytest.raises(FeatureStoreError, match=r"online=OnlineStore\(boto3"):
        lost.read_online([STOCK], pa.table({"store_id": ["a"]}))
    reported = []
    FeatureStoreClient(Tables.local(shop.path, "features", None), now=lambda: shop.at, announce=reported.append).ingest(
        STOCK, stock(("a", 1, 10))
    )
    assert (len(reported), shop.on_hand("a")) == (1, [None])


def test_an_online_read_checks_its_service(shop):
    """Rejects a stored version with other features by name."""
    shop.client.ingest(STOCK, stock(("a", 1, 10)))
    service = FeatureService(name="shelves", features=(STOCK,))
    shop.client.services.put(service.spec)
    assert shop.client.read_online(service, pa.table({"store_id": ["a"]})).rows["stock__on_hand"].to_pylist() == [10]
    changed = FeatureGroup(**{f: getattr(STOCK, f) for f in STOCK.__slots__} | {"ttl": timedelta(days=1)})
    with pytest.raises(
        FeatureServiceError, match="'shelves' version 1 is stored with other features: group 'stock': time to"
    ):
        shop.client.read_online(FeatureService(name="shelves", features=(changed,)), pa.table({"store_id": ["a"]}))


DAY = datetime(2017, 1, 2, tzinfo=UTC)
COUNTED = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"),),
    owner="demand",
    description="stock",
    online=True,
)


def message(body):
    """Return a message of the day."""
    return Message(id="1", body=body if isinstance(body, str) else json.dumps(body), sent=DAY)


@pytest.fixture
def publisher(tmp_path):
    """Return the publisher of a store with one row that its client could not publish."""
    tables = Tables.local(tmp_path / "store", "features", None)
    writer = FeatureStoreClient(tables, now=lambda: DAY, announce=lambda _: None)
    writer.ingest(COUNTED, pa.table({"store_id": ["a"], "event_time": [DAY], "on_hand": [7]}))
    return OnlinePublisher([COUNTED], load=tables.load, online=OnlineStore.local(tmp_path / "online.db"))


def test_the_table_of_an_event_is_published(publisher):
    """A repeated event publishes nothing."""
    event = message({"detail": {"subject": "stock_v1", "attributes": {"rows": "1"}}})
    first, again = publisher.handle(event), publisher.handle(event)
    assert (first.published.written, first.sequence) == (1, 1)
    assert (again.published.written, again.sequence) == (0, 1)


@pytest.mark.parametrize("body", ["", "[]", {"detail": {}}, {"detail": {"subject": "sales_v1"}}])
def test_an_event_of_another_table_is_refused(publisher, body):
    """The error names the table, and the event reaches the dead-letter queue."""
    with pytest.raises(
        IngestEventError, match=r"the message does not name a table|table must be one of stock_v1, got 'sales_v1'"
    ):
        publisher.handle(message(body))


def test_it_reads_what_the_construct_says(tmp_path):
    """Reads the database, online table and declaration next to the handler without a call."""
    (tmp_path / "groups.json").write_text(declaration_json([COUNTED]))
    environment = {"DATABASE": "d", "ONLINE_TABLE": "t", "DECLARATION": "groups.json", "AWS_REGION": "us-east-1"}
    environment |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    made = OnlinePublisher.from_environment(environment, tmp_path, dynamodb=object())
    with pytest.raises(IngestEventError, match="stock_v1"):
        made.handle(message({"detail": {"subject": "x"}}))
