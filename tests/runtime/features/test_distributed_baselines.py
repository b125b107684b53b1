"""Naive predictions computed by Spark's tasks are bit-identical to those computed in memory, row by row."""

import random
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.runtime import spark as local_spark

from mlops_runtime.features.distributed_baselines import DistributedBaselines, _whole_keys
from mlops_runtime.features.distributed_build import Files
from mlops_runtime.features.training_set_files import SPLIT, SPLITS
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.training_data.baseline_names import method_of
from mlops_runtime.training_data.naive_baselines import with_baselines

START = datetime(2017, 3, 10, tzinfo=UTC)  # New York's clocks change in the night to the 12th
NAN, INF = float("nan"), float("inf")
KEYS = ("shop", "sku", "day", "at")
COUNT = 240


def rows(chance: random.Random) -> pa.Table:
    """Return rows of both splits with all kinds of keys, also null, and labels whose sums depend on their order."""
    hours = [chance.randrange(96) for _ in range(COUNT)]
    return pa.table(
        {
            "shop": [chance.choice(["a", "ä", "B", "", None]) for _ in range(COUNT)],
            "sku": pa.array([chance.choice([None, -3, 0, 1 << 40]) for _ in range(COUNT)], pa.int64()),
            "day": [date(2017, 3, 10) + timedelta(days=hour // 24) for hour in hours],
            "at": pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", "UTC")),
            "units": [chance.choice([0.1, 0.2, 1e16, -1e16, 5e-324, -0.0, 0.0, chance.random()]) for _ in range(COUNT)],
            "odd": [chance.choice([1.0, NAN, INF, -INF, -2.5]) for _ in range(COUNT)],
            "won": [chance.choice([True, False, False]) for _ in range(COUNT)],
            "count": pa.array([chance.randrange(-4, 5) for _ in range(COUNT)], pa.int32()),
            "shelf": [chance.choice(["top", "low", "ä"]) for _ in range(COUNT)],
            SPLIT: [SPLITS[0]] * 180 + [SPLITS[1]] * 60,
        }
    )


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """Return the session, rows, and their files with several row groups."""
    session = local_spark.shared(tmp_path_factory.mktemp("spark"))
    whole, folder, uris = rows(random.Random(5)), tmp_path_factory.mktemp("rows"), []
    for number, (start, size) in enumerate([(0, 100), (100, 1), (101, 139)]):
        path = folder / f"{number}.parquet"
        pq.write_table(whole.slice(start, size), path, row_group_size=90)
        uris.append(path.as_uri())
    return session, whole, tuple(uris)


def made_by(staged, label: str) -> DistributedBaselines:
    """Return the predictor of a label."""
    session, _, uris = staged
    return DistributedBaselines(session, uris=uris, files=Files(properties={}), label=label, timestamp="at")


@pytest.mark.spark
@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("units", ["naive_mean", "naive_median", "naive_median_by_shop", "naive_last_by_sku"]),
        ("odd", ["naive_mean_by_at", "naive_last_by_at"]),
        ("won", ["naive_mean_by_day"]),
        ("shelf", ["naive_usual_by_shop"]),
    ],
)
def test_tasks_have_the_bits_of_memory(staged, label, names):
    """Covers null keys, non-finite labels, ties at halves, and sums that depend on their order."""
    _, whole, uris = staged
    beside = made_by(staged, label).write({name: method_of(name) for name in names})
    files = [pq.read_table(uri.removeprefix("file://")) for uri in beside]
    assert [file.num_rows for file in files] == [pq.read_metadata(uri.removeprefix("file://")).num_rows for uri in uris]
    parts = (whole.filter(pc.equal(whole[SPLIT], name)) for name in SPLITS)
    expected = pa.concat_tables(with_baselines(*parts, names, label=label, timestamp="at")).select(names)
    found = pa.concat_tables(files)
    assert found.schema.equals(expected.schema)
    for name in names:
        assert [repr(each) for each in found[name].to_pylist()] == [repr(each) for each in expected[name].to_pylist()]


@pytest.mark.spark
def test_keys_that_are_not_whole_are_refused(staged):
    """Rejects all incomplete keys together."""
    made = {name: method_of(name) for name in ("naive_mean_by_odd", "naive_last_by_units", "naive_mean_by_sku")}
    with pytest.raises(
        TrainingSetError, match=r"naive_mean_by_odd uses the key odd, which is double; .*naive_last_by_units"
    ):
        made_by(staged, "units").write(made)


@pytest.mark.spark
def test_rows_that_are_missing_in_the_end_are_named(staged, monkeypatch):
    """Rejects fewer predictions than rows, after Spark lost a row."""
    baselines = made_by(staged, "units")
    whole = baselines._rows
    monkeypatch.setattr(baselines, "_rows", lambda keys: whole(keys).where("row_id != 7"))
    with pytest.raises(TrainingSetError, match="naive predictions of 239 rows, expected 240"):
        baselines.write({"naive_mean": ("mean", None)})


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_key_is_whole(size, monkeypatch):
    """Nulls come first, and a key may span several batches."""
    monkeypatch.setattr("mlops_runtime.features.distributed_baselines._ROWS_A_BATCH", 4)
    keys = [None] * 9 + ["a"] * 2 + ["b"] * 30 + ["c", "d", "e", "f"]
    table = pa.table({"key": keys, "n": range(len(keys))})
    found = list(_whole_keys(table.to_batches(max_chunksize=size)))
    assert pa.concat_tables(found).equals(table)
    each = [set(part["key"].to_pylist()) for part in found]
    assert sum(map(len, each)) == len(set(keys))
