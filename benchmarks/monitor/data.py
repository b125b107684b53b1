"""Rows for the speed benchmark: 20 numbers and 10 categories of 2 to 5,000 levels, 1 % nulls, without drift, as Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LEVELS = (2, 3, 5, 10, 20, 50, 100, 500, 1000, 5000)
NUMBERS = 20
NULLS = 0.01


def table(rows: int, seed: int) -> pa.Table:
    """Return rows with columns ``n0`` to ``n19`` and ``c0`` to ``c9``.

    Args:
        rows: Number of rows.
        seed: Seed of the random numbers.
    """
    random = np.random.default_rng(seed)
    columns = {}
    for i in range(NUMBERS):
        values = (
            lambda: random.lognormal(2.5, 0.8, rows),
            lambda: random.gamma(2.0, 3.0, rows),
            lambda: random.normal(0, 1, rows),
            lambda: np.where(random.random(rows) < 0.6, 0, random.exponential(5, rows)),
            lambda: random.poisson(4, rows).astype(float),
        )[i % 5]()
        columns[f"n{i}"] = pa.array(values, mask=random.random(rows) < NULLS)
    for i, levels in enumerate(LEVELS):
        shares = 1 / np.arange(1, levels + 1) ** 1.1
        codes = random.choice(levels, size=rows, p=shares / shares.sum())
        names = np.array([f"l{level}" for level in range(levels)])
        columns[f"c{i}"] = pa.array(names[codes], mask=random.random(rows) < NULLS)
    return pa.table(columns)


def make(rows: int, folder: Path) -> Path:
    """Write ``reference.parquet`` and ``current.parquet`` if missing, and return their folder.

    Args:
        rows: Rows of each.
        folder: Parent folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("reference", "current")):
        path = folder / f"{name}.parquet"
        if not path.exists():
            pq.write_table(table(rows, seed), path)
    return folder
