"""Erasures on S3, Glue and DynamoDB of the embedded cloud: concurrent, with builds, and with killed writers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any

import pytest
from pyiceberg.io.pyarrow import PyArrowFile
from tests.campaign.erasures import search
from tests.campaign.erasures.stores import ENTITIES, ONLINE, OTHER, SECRET, CloudStore
from tests.runtime.features.conftest import STOCK, asked

from mlops_local.cloud import Cloud
from mlops_runtime.contracts.features import Erasure
from mlops_runtime.features import entity_erasure
from mlops_runtime.features.build_intent import ErasedDuringBuildError
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.store_client import FeatureStoreClient

NOW = timedelta(0)


@pytest.fixture(scope="module")
def _filled(cloud: Cloud) -> CloudStore:
    return CloudStore.filled(cloud)


@pytest.fixture
def store(_filled: CloudStore) -> CloudStore:
    """Return a store with rows of two entities and of others, in a versioned bucket."""
    _filled.put_back()
    return _filled


def erase(store: CloudStore, entity: str = SECRET) -> Erasure:
    """Erase an entity without waiting."""
    return store.client().erase({"store_id": entity}, reason="T-1", in_use=(), wait=NOW)


def client_with(store: CloudStore, **options: Any) -> FeatureStoreClient:
    """Return another client of a store."""
    return FeatureStoreClient.glue(
        database="erasures",
        environment=store.cloud.environment(),
        manifests=store.manifests,
        training_sets=store.sets,
        s3=store.s3,
        **options,
    )


def once_open(act: Callable[[], object], is_it: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Act once when a file has been opened and not yet read."""
    opened, first = PyArrowFile.open, Lock()  # pyiceberg opens manifests in several threads

    def then(self: PyArrowFile, seekable: bool = True) -> object:
        stream = opened(self, seekable)
        if is_it(self.location) and first.acquire(blocking=False):
            act()
        return stream

    monkeypatch.setattr(PyArrowFile, "open", then)


@pytest.mark.parametrize("step", ["held", "rewrite"])
def test_a_manifest_that_another_erasure_removes_while_it_is_read_is_read_again(
    store: CloudStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Applies to the search for the entity, and to the listing of removals after the rewrite."""
    original, others = getattr(entity_erasure, step), []

    def meeting(table: object, *arguments: object) -> object:
        def other() -> None:
            others.append(erase(store, OTHER))

        def is_manifest(location: str) -> bool:
            return "stock_v1" in location and location.endswith("-m0.avro")

        monkeypatch.setattr(entity_erasure, step, original)
        once_open(other, is_manifest, monkeypatch)
        return original(table, *arguments)

    monkeypatch.setattr(entity_erasure, step, meeting)
    done = erase(store)

    assert done.pending == ()
    # an erasure waits for the rewrite of another
    assert len(others) == 1
    assert [each.pending for each in store.client().resume_erasures(wait=NOW)] == ([()] if others[0].pending else [])
    assert search.in_bucket(store.s3, "erasures", ENTITIES) == []


def test_a_data_file_that_goes_while_a_build_reads_it_is_said(
    store: CloudStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder: the build is rejected by name and keeps nothing; a second build succeeds."""
    records = []

    def is_rows(location: str) -> bool:
        return "stock_v1" in location and location.endswith(".parquet")

    once_open(lambda: records.append(erase(store)), is_rows, monkeypatch)
    with pytest.raises(ErasedDuringBuildError, match="build it again"):
        store.client().training_set(asked((6, "1")), [STOCK], name="beside")

    assert [len(record.pending) for record in records] == [1]
    assert [each.pending for each in store.client().resume_erasures(wait=NOW)] == [()]
    assert search.in_bucket(store.s3, "erasures", [SECRET]) == []
    assert store.client().training_set(asked((6, "1")), [STOCK], name="beside").rows.num_rows == 1


def test_one_call_is_the_whole_erasure(store: CloudStore) -> None:
    """A client with the online store erases there too, and the result lists removals by table."""
    client = store.client()
    client.publish_online(ONLINE)
    keys = [f'stock_v1/["{each}"]' for each in (SECRET, OTHER)]
    assert store.online(keys) == keys

    done = erase(store)

    assert (done.pending, done.online) == ((), {"stock_v1": 1})
    assert client.manifests.erased(done.id) == done
    assert store.online(keys) == keys[1:]


def test_an_online_store_that_does_not_answer_keeps_an_erasure_pending(store: CloudStore) -> None:
    """Everything else is removed, and the next call completes it."""
    client = store.client()
    client.publish_online(ONLINE)
    lost = client_with(store, online=OnlineStore(store.cloud.client("dynamodb"), table="erasures-absent"))

    (line,) = lost.erase({"store_id": SECRET}, reason="T-1", in_use=(), wait=NOW).pending

    assert line.startswith("online store: PutItem of table erasures-absent failed")
    assert [each.pending for each in client.resume_erasures(wait=NOW)] == [()]
    assert store.online([f'stock_v1/["{SECRET}"]']) == []
    assert search.in_bucket(store.s3, "erasures", [SECRET]) == []


_WRITER = """
import os
import signal
import sys
from functools import partial
from pyiceberg.catalog.glue import GlueCatalog
from mlops_runtime.features import batch_ingest
from mlops_runtime.features.store_client import FeatureStoreClient
from tests.campaign.erasures.stores import SECRET
from tests.runtime.features.conftest import STOCK, day, stock

write = batch_ingest.data_files

def paused(*arguments, **options):
    print("here", flush=True)
    sys.stdin.readline()
    return write(*arguments, **options)

batch_ingest.data_files = paused
GlueCatalog.commit_table = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
rows = stock((9, 1, 9), (9.5, 2, 9.5)).set_column(0, "store_id", [[SECRET, "1"]])
FeatureStoreClient.glue(database="erasures", now=partial(day, 20)).ingest(STOCK, rows)
"""


def maintain_later(store: CloudStore) -> None:
    """Run maintenance when the newest file is older than a day."""
    pages = store.s3.get_paginator("list_objects_v2").paginate(Bucket="erasures")
    newest = max(each["LastModified"] for page in pages for each in page["Contents"])
    client_with(store, now=partial(datetime.__add__, newest, timedelta(hours=25))).maintain()


@pytest.mark.parametrize("then", [erase, maintain_later])
def test_a_writer_that_writes_when_all_is_erased_and_is_killed(
    store: CloudStore, then: Callable[[CloudStore], object]
) -> None:
    """S3 cannot prevent it, and the written entity is unknown: a repeated erasure, or maintenance a day later, removes the file."""
    environment = os.environ | store.cloud.environment()
    command = [sys.executable, "-c", _WRITER]
    writer = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "here\n"
    assert erase(store).pending == ()
    assert search.in_bucket(store.s3, "erasures", [SECRET]) == []
    writer.communicate("write\n")
    assert writer.returncode == -signal.SIGKILL
    assert {key.rpartition(".")[2] for key in search.in_bucket(store.s3, "erasures", [SECRET])} == {"parquet", "avro"}

    then(store)

    assert search.in_bucket(store.s3, "erasures", [SECRET]) == []
    assert set(store.client().table("stock_v1").scan().to_arrow()["store_id"].to_pylist()) == {"1", OTHER}
