"""Synthetic sales of a shop: ``python -m examples.container_model.sales FILE`` writes them to a Parquet file."""

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAYS, STORES = 120, 20


def sales(seed: int = 1) -> pa.Table:
    """Return a row for each store and day: price, promotion, units, and the units of the week before."""
    random = np.random.default_rng(seed)
    count = DAYS * STORES
    price, promoted = random.uniform(5, 15, count), (random.random(count) < 0.2).astype(float)
    return pa.table(
        {
            "day": [date(2025, 1, 1) + timedelta(days=i // STORES) for i in range(count)],
            "store": [f"store-{i % STORES}" for i in range(count)],
            "price": price,
            "promoted": promoted,
            "units": 2 * price + 10 * promoted + random.normal(0, 0.3, count),
            "last_week": 2 * price + random.normal(0, 9, count),
        }
    )


if __name__ == "__main__":
    pq.write_table(sales(), Path(sys.argv[1]))
