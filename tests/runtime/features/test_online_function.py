"""Events of the publishing function: it publishes their table and rejects events without one."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.group_json import declaration_json
from mlops_runtime.features.online_function import IngestEventError, OnlinePublisher
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.store_client import FeatureStoreClient
from mlops_runtime.features.table_catalog import Tables
from mlops_runtime.lambda_protocol import Message

DAY = datetime(2017, 1, 2, tzinfo=UTC)
STOCK = FeatureGroup(
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
    writer.ingest(STOCK, pa.table({"store_id": ["a"], "event_time": [DAY], "on_hand": [7]}))
    return OnlinePublisher([STOCK], load=tables.load, online=OnlineStore.local(tmp_path / "online.db"))


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
    (tmp_path / "groups.json").write_text(declaration_json([STOCK]))
    environment = {"DATABASE": "d", "ONLINE_TABLE": "t", "DECLARATION": "groups.json", "AWS_REGION": "us-east-1"}
    environment |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    made = OnlinePublisher.from_environment(environment, tmp_path, dynamodb=object())
    with pytest.raises(IngestEventError, match="stock_v1"):
        made.handle(message({"detail": {"subject": "x"}}))
