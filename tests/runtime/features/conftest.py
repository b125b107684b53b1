"""A small store of daily sales: labels a day ahead and stock, with late and restated rows."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features import point_in_time
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient

STORE = Entity("store_id", "string", "store")
SALES = FeatureGroup(
    name="sales",
    entities=(STORE,),
    features=(
        Feature("asked_at", "timestamp", "time of the prediction"),
        Feature("units", "double", "units", nullable=True),
    ),
    owner="demand",
    description="units a day",
)
STOCK = FeatureGroup(
    name="stock",
    entities=(STORE,),
    features=(Feature("on_hand", "long", "units on hand", nullable=True),),
    ttl=timedelta(days=2),
    owner="demand",
    description="stock",
)
PLAN = TrainingSetPlan(
    name="daily",
    label_group="sales",
    timestamp="asked_at",
    label="units",
    features={"stock": ("on_hand",)},
    holdout_days=2,
)


def day(number: float) -> datetime:
    """Return a time in days since the start."""
    return datetime(2017, 1, 1, tzinfo=UTC) + timedelta(days=number)


def sales(*rows: tuple[int, float | None, float]) -> pa.Table:
    """Return sales of store 1: (day, units, created in days); day n is predicted at n and over at n + 1."""
    return pa.table(
        {
            "store_id": ["1"] * len(rows),
            "event_time": [day(n + 1) for n, _, _ in rows],
            "created_time": [day(c) for _, _, c in rows],
            "asked_at": [day(n) for n, _, _ in rows],
            "units": pa.array([u for _, u, _ in rows], pa.float64()),
        }
    )


def stock(*rows: tuple[float, int | None, float]) -> pa.Table:
    """Return stock of store 1: (event in days, on hand, created in days)."""
    return pa.table(
        {
            "store_id": ["1"] * len(rows),
            "event_time": [day(e) for e, _, _ in rows],
            "created_time": [day(c) for _, _, c in rows],
            "on_hand": pa.array([v for _, v, _ in rows], pa.int64()),
        }
    )


def asked(*rows: tuple[float, str]) -> pa.Table:
    """Return entity rows: (time in days, store)."""
    return pa.table({"store_id": [store for _, store in rows], "event_timestamp": [day(n) for n, _ in rows]})


def shop_at(path: Path) -> SimpleNamespace:
    """Return the groups, the plan, row factories, and a client whose settable clock starts at day 20."""
    clock = [day(20)]

    def set_day(number: float) -> None:
        clock[0] = day(number)

    def client(path: Path = path, **options: Any) -> FeatureStoreClient:
        return FeatureStoreClient.local(path, now=lambda: clock[0], **options)

    maker: Callable[..., FeatureStoreClient] = client
    return SimpleNamespace(
        SALES=SALES,
        STOCK=STOCK,
        PLAN=PLAN,
        day=day,
        sales=sales,
        stock=stock,
        asked=asked,
        path=path,
        client=maker(),
        new_client=maker,
        set_day=set_day,
    )


@pytest.fixture(scope="session", autouse=True)
def _one_database() -> Iterator[None]:
    """Run joins on connections to one database with separate tables: starting DuckDB takes most of a small join's time."""
    own, started = point_in_time._database, duckdb.connect()

    def connected() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(duckdb, "connect", started.cursor)
            return own()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_in_time, "_database", connected)
        yield
    started.close()


class Kept:
    """A store that is made once and restored for each test at the same path, because its files contain absolute paths."""

    def __init__(self, place: Path) -> None:
        """Start with an empty store."""
        self.store, self._copy = place / "store", place / "copy"
        self.store.mkdir()

    def keep(self) -> None:
        """Save the current state of the store."""
        shutil.copytree(self.store, self._copy)

    def back(self) -> SimpleNamespace:
        """Restore the store, and return a shop on it without state from earlier tests."""
        shutil.rmtree(self.store)
        shutil.copytree(self._copy, self.store)
        return shop_at(self.store)


@pytest.fixture
def shop(tmp_path: Path) -> SimpleNamespace:
    """Return a shop with an empty store; see `shop_at`."""
    return shop_at(tmp_path / "store")


def fill(shop: SimpleNamespace) -> None:
    """Ingest ten days of sales and stock."""
    shop.client.ingest(shop.SALES, shop.sales(*((n, float(n), n + 1) for n in range(10))))
    shop.client.ingest(shop.STOCK, shop.stock(*((n, n * 10, n) for n in range(10))))


@pytest.fixture(scope="session")
def _filled_once(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    kept = Kept(tmp_path_factory.mktemp("filled"))
    fill(shop_at(kept.store))
    kept.keep()
    return kept


@pytest.fixture
def filled(_filled_once: Kept) -> SimpleNamespace:
    """Return a shop with ten days of sales and stock."""
    return _filled_once.back()


@pytest.fixture(scope="module")
def _sets_once(tmp_path_factory):
    """Two training sets of the same rows, before and after a batch with a wrong value."""
    kept = Kept(tmp_path_factory.mktemp("sets"))
    filled = shop_at(kept.store)
    fill(filled)
    rows = filled.asked((3, "1"), (5, "1"), (5, "2"))
    before = filled.client.training_set(rows, {"stock": ["on_hand"]}, name="shelves")
    bad = filled.client.ingest(filled.STOCK, filled.stock((4.5, -99, 4.6)))
    filled.client.ingest(filled.STOCK, filled.stock((4.6, 46, 4.7)))
    after = filled.client.training_set(filled.asked((4.55, "1"), (9, "1")), {"stock": ["on_hand"]}, name="later")
    other = filled.client.training_set(rows, {"sales": ["units"]}, name="sales")
    kept.keep()
    return kept, (before, bad, after, other)


@pytest.fixture
def sets(_sets_once):
    """Return the restored store, both training sets, the batch, and a set with other columns."""
    kept, made = _sets_once
    return kept.back(), *made
