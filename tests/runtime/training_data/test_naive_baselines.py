"""Naive predictions from a training split: mean by key, newest and most frequent label, never from the holdout."""

import statistics

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.training_data.naive_baselines import with_baselines

TRAIN = pa.table(
    {
        "store": pa.array(["b", "a", "a", "b", "a", None]).dictionary_encode(),
        "day": [1, 2, 1, 2, 2, 1],
        "units": [10, 4, 2, 20, 6, 30],
        "won": [True, False, False, True, True, False],
        "shelf": ["top", "low", "low", "top", "top", "low"],
    }
)
HELD = pa.table(
    {
        "store": pa.array(["a", "b", "c", None]).dictionary_encode(),
        "day": [3, 3, 3, 3],
        "units": [9, 9, 9, 9],
        "won": [True] * 4,
        "shelf": ["top"] * 4,
    }
)


def made(name: str, label: str) -> tuple[list[object], list[object]]:
    """Return a baseline's column of both splits."""
    train, held = with_baselines(TRAIN, HELD, [name], label=label, timestamp="day")
    return train[name].to_pylist(), held[name].to_pylist()


def test_the_mean_by_key() -> None:
    """A key without training rows gets the mean of all; null is a key too."""
    train, held = made("naive_mean_by_store", "units")
    assert train == [15, 4, 4, 15, 4, 30]
    assert held == [4, 15, 12, 30]


def test_the_median_by_key() -> None:
    """For an even number it is the mean of the two middle values; null is a key too."""
    train, held = made("naive_median_by_store", "units")
    assert train == [15, 4, 4, 15, 4, 30]
    assert held == [4, 15, 8, 30]
    assert made("naive_median", "units")[1] == [8] * 4


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(-1000, 1000)), min_size=1, max_size=60).filter(
        lambda rows: any(label is not None for _, label in rows)
    )
)
def test_medians_are_those_of_python(rows: list[tuple[str, int | None]]) -> None:
    """Rows without a label are ignored; a key without labels gets the median of all."""
    keys, labels = zip(*rows, strict=True)
    table = pa.table({"key": keys, "label": pa.array(labels, pa.int64()), "day": [0] * len(rows)})
    train, _ = with_baselines(table, table, ["naive_median_by_key"], label="label", timestamp="day")
    every = [label for label in labels if label is not None]
    for key, made_for in zip(keys, train["naive_median_by_key"].to_pylist(), strict=True):
        of_key = [label for other, label in rows if other == key and label is not None]
        assert made_for == statistics.median(of_key or every)


def test_the_newest_by_key_is_of_the_time_before() -> None:
    """Rows of one key and time do not use each other; later rows use their mean."""
    train, held = made("naive_last_by_store", "units")
    assert train == [12, 2, 12, 10, 2, 12]
    assert held[:3] == [5, 20, 12]


def test_a_rate_is_never_certain() -> None:
    """Store b has only ones; two rows with the overall rate are added."""
    _, held = made("naive_mean_by_store", "won")
    assert held == pytest.approx([(1 + 1) / 5, (2 + 1) / 4, 0.5, (0 + 1) / 3])


def test_the_usual_class() -> None:
    """Ties are resolved by name."""
    assert made("naive_usual", "shelf") == (["low"] * 6, ["low"] * 4)
    assert made("naive_usual_by_store", "shelf")[1] == ["low", "top", "low", "low"]


def test_a_column_of_that_name_is_replaced_and_others_stay() -> None:
    """A script cannot supply a weaker baseline of its own."""
    forged = TRAIN.append_column("naive_mean", pa.array([0.0] * 6)).append_column("guess", pa.array([1.0] * 6))
    held = HELD.append_column("naive_mean", pa.array([0.0] * 4)).append_column("guess", pa.array([1.0] * 4))
    train, held = with_baselines(forged, held, ["naive_mean", "guess"], label="units", timestamp="day")
    assert held["naive_mean"].to_pylist() == [12.0] * 4
    assert train["guess"].to_pylist() == [1.0] * 6


@pytest.mark.parametrize("name", ["naive_mean", "naive_mean_by_store", "naive_last_by_store"])
def test_the_bits_do_not_depend_on_chunks_and_threads(name) -> None:
    """A set that is built again, or from differently split files, has the same bytes."""
    chance = np.random.default_rng(3)
    rows = pa.table(
        {
            "store": chance.integers(0, 40, 100_000),
            "day": np.sort(chance.integers(0, 20, 100_000)),
            "units": chance.random(100_000),
        }
    )
    found = set()
    for size in (100_000, 30_001, 999):
        cut = pa.Table.from_batches(rows.to_batches(max_chunksize=size))
        train, held = with_baselines(cut, cut.slice(0, 500), [name], label="units", timestamp="day")
        found.add((train[name].combine_chunks().to_numpy().tobytes(), held[name].combine_chunks().to_numpy().tobytes()))
    assert len(found) == 1
