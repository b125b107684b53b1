"""A table of many small batches, compacted, expired, corrected and erased: every reader gets the same rows, every key is known."""

import os
import random
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.runtime import spark as local_spark
from tests.runtime.features.conftest import day, shop_at
from tests.runtime.spark import shown

from mlops_runtime.contracts.features import LEDGER
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.rebuild import Verdict

GROUP = FeatureGroup(
    name="visits",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("units", "double", "units", nullable=True),),
    owner="demand",
    description="visits",
)
DAYS, STORES, GONE = 122, 12, "7"


def visits(number: int) -> pa.Table:
    """Return a day's batch: some stores, with some rows weeks late, so that past months get rows."""
    chance = random.Random(number)
    late = 40 if number > 45 and number % 9 == 0 else 0
    stores = chance.sample(range(STORES), 5)
    return pa.table(
        {
            "store_id": [str(store) for store in stores],
            "event_time": [day(number - late + store / 100) for store in stores],
            "units": [chance.choice([None, float("nan"), -0.0, chance.random()]) for _ in stores],
        }
    )


def grow_older(ledger: Path) -> None:
    """Advance stored keys by a day."""
    for file in ledger.rglob("*.json"):
        then = file.stat().st_mtime - timedelta(days=1).total_seconds()
        os.utime(file, (then, then))


class History:
    """The events of the store in 122 days."""

    def __init__(self, place: Path) -> None:
        """Ingest a batch a day, and build sets, correct, maintain and erase in between."""
        self.shop = shop_at(place)
        self.given: list[tuple[str, object]] = []
        self.sets: list[str] = []
        self.verdicts: list[tuple[Verdict, bool]] = []
        client = self.shop.client
        for number in range(DAYS):
            self.shop.set_day(number + 1)
            client.ingest(GROUP, visits(number), idempotency_key=f"day {number}")
            self.given += zip(
                visits(number)["store_id"].to_pylist(), visits(number)["event_time"].to_pylist(), strict=True
            )
            grow_older(place / "tables" / LEDGER)
            if number % 20 == 10:
                built = client.training_set(
                    self.shop.asked((number, "1"), (number, "2")), [GROUP], name=f"day-{number}"
                )
                self.sets.append(built.id)
            if number % 30 == 20:
                restated = visits(number - 3).filter(pa.array([True, False, False, False, False]))
                client.correct(GROUP, restated.set_column(2, "units", pa.array([float(number)])))
                self.given.append((restated["store_id"][0].as_py(), restated["event_time"][0].as_py()))
            if number % 25 == 24:
                client.maintain()
                again = [client.rebuild(each) for each in self.sets]
                self.verdicts += [(each.verdict, each.same_bytes) for each in again]
        self.erasure = client.erase({"store_id": GONE}, reason="T-1", in_use=[])
        self.given = [(store, time) for store, time in self.given if store != GONE]


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Return the store at the end of its history."""
    return History(tmp_path_factory.mktemp("history"))


def test_every_row_that_was_given_is_there_once(history):
    """Except for the erased store; in few files and snapshots."""
    table = history.shop.client.table("visits_v1")
    found = table.scan().to_arrow()

    assert history.erasure.pending == ()
    assert sorted(zip(found["store_id"].to_pylist(), found["event_time"].to_pylist(), strict=True)) == sorted(
        history.given
    )
    assert len(table.metadata.snapshots) < 30
    assert len(list(table.scan().plan_files())) < 30


def test_sets_were_identical_all_along(history):
    """After each maintenance, byte for byte."""
    assert len(history.verdicts) > 10
    assert set(history.verdicts) == {(Verdict.IDENTICAL, True)}


@pytest.mark.spark
def test_spark_reads_the_same_rows(history, tmp_path_factory):
    """From appended, rewritten and filtered files."""
    spark = local_spark.shared(tmp_path_factory.mktemp("spark"))
    table = history.shop.client.table("visits_v1")
    shown(spark, table)
    theirs = spark.sql(
        "select store_id, unix_micros(event_time), unix_micros(created_time), ingest_id, units from lake.features.visits_v1"
    ).collect()
    ours = table.scan().to_arrow()
    ours = ours.cast(pa.schema([pa.field(f.name, pa.int64() if "time" in f.name else f.type) for f in ours.schema]))
    ours = ours.select(["store_id", "event_time", "created_time", "ingest_id", "units"])
    assert len(theirs) > 400
    # NaN equals nothing, and -0.0 is not 0.0
    assert sorted(map(repr, map(tuple, theirs))) == sorted(repr(tuple(row.values())) for row in ours.to_pylist())


def test_every_key_of_ninety_days_is_a_duplicate(history):
    """Also at 89 and 91 days; once its object is older than 97 days, a key is forgotten."""
    client = history.shop.client
    client.maintain()
    done = {
        DAYS - number: client.ingest(GROUP, visits(number), idempotency_key=f"day {number}") for number in range(DAYS)
    }
    duplicates = {age for age, each in done.items() if each.duplicate}
    assert duplicates >= set(range(1, 98))
    assert duplicates.isdisjoint({DAYS, DAYS - 1})
