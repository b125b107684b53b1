"""The locations that an erasure covers, from the client's knowledge of its store."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from mlops_runtime.contracts.features import BuildProcess
from mlops_runtime.features.erasure_places import Places
from mlops_runtime.features.online_store import OnlineStore
from mlops_runtime.features.table_catalog import Tables
from mlops_runtime.features.training_set_manifest import Objects


def of(shop: SimpleNamespace, **known: object) -> Places:
    """Return the locations of an erasure of the shop."""
    given = {"online": lambda: None, "has_ended": None, "ended": ()} | known
    return Places(
        Tables.local(shop.path, "features", None),
        manifests=shop.client.manifests,
        sets=Objects(shop.path / "training_sets"),
        builds=shop.client.builds,
        s3=None,
        now=lambda: shop.day(20),
        wait=timedelta(0),
        **given,
    )


def test_a_client_without_an_online_store_forgets_nothing_there(filled: SimpleNamespace) -> None:
    """An online store made meanwhile is used, and types of keys are those of the tables."""
    made: list[OnlineStore] = []
    places = of(filled, online=lambda: made[0] if made else None)
    assert places.forget({"store_id": "1"}, {}) == {}

    filled.set_day(10)
    made.append(OnlineStore.local(filled.path / "online.db"))
    made[0].refresh(filled.STOCK, filled.client, now=filled.day(10))
    assert places.forget({"store_id": "1"}, {}) == {"stock_v1": 1}


def test_a_build_has_ended_where_its_user_or_its_service_says_so(filled: SimpleNamespace) -> None:
    """Otherwise the build is still running."""
    job = BuildProcess(kind="processing-job", name="job")
    with filled.client.builds.begin(tables=["stock_v1"], places=[], takes_rows=False, process=job) as build:
        assert not of(filled).ended(build.intent)
        assert of(filled, ended=[build.intent.id]).ended(build.intent)
        assert of(filled, has_ended=lambda process: process.name == "job").ended(build.intent)


def test_a_folder_has_neither_uploads_nor_versions(filled: SimpleNamespace) -> None:
    """Only S3 has both; a folder's files are removed by their URIs."""
    places = of(filled)
    (table,) = (each for each in places.tables if each.name()[-1] == "stock_v1")
    assert (places.uploads(table, filled.day(20)), places.deleted(table)) == ([], [])
    file = filled.path / "tables" / "loose"
    file.write_bytes(b"")
    places.remove(file.as_uri())
    assert not Path(file).exists()
