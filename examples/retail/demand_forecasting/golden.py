"""Write golden.jsonl: requests from real weeks that every demand model must answer.

``python -m examples.retail.demand_forecasting.golden``

Bounds are wide, because next year's model may differ from this one, and come from earlier sales of the series, never from a model's
predictions. For promotions they are narrower: a deep promotion sells no less than the weeks before it, and the same row without
promotion not much more. The gate measures the size of the effect in a segment of its own.

The set also contains requests at the bounds of the unit's first training set (`boundary_requests`): the minimum and maximum of each
input, each category in a row that sold well, within five times its sales, an unknown category, and each allowed null.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from examples.retail.demand_forecasting import data
from examples.retail.demand_forecasting.features import DEMAND_HISTORY, INPUTS, WEEK_PLAN
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.rollout.golden_set import boundary_requests

GOLDEN = Path(__file__).with_name("golden.jsonl")
FIRST_SET_WEEK = 30  # the last week before the unit goes live
TYPICAL_WEEK, PROMOTION_WEEK, THANKSGIVING_WEEK = 31, 37, 48  # most of the store is in the mailer of week 37
PROMOTED, SMALL_STORE = "FLUID MILK PRODUCTS", 10.0
_FACTOR = 3.0  # a forecast is within a factor of three of the earlier sales of the series
# predictions of models with different seeds differ by up to a tenth on such rows
_WITH_PROMOTION, _WITHOUT_PROMOTION = 1.0, 1.25
_CEILING = 150.0  # no store sold as much of a category in any week
_PLAN = ("planned_discount", "display_share", "mailer_share")
Row = dict[str, object]


def golden_requests() -> list[GoldenRequest]:
    """Return the set, which is reproducible from the same data."""
    week = sorted(data.requests_for_week(TYPICAL_WEEK), key=_sold)
    median = week[len(week) // 2]
    return [
        _near("small series", week[len(week) // 10]),
        _near("median series", median),
        _near("large series", week[9 * len(week) // 10]),
        _near("largest series", week[-1]),
        _within("typical rows as arrays", [list(row.values()) for row in week[::74]], week[::74]),
        _csv("typical rows as CSV", week[37::74]),
        *_promotions(),
        _within("Thanksgiving week", (late := data.requests_for_week(THANKSGIVING_WEEK)[::25]), late),
        _near("unseen category", {**median, "category": "NEW IN THE STORE"}),
        _near("no prices", {**median, **dict.fromkeys(("last_price", "last_discount", "planned_price", _PLAN[0]))}),
        _within("nothing sold last week", (idle := [row for row in week if row["units_lag_1"] == 0][:12]), idle),
        _within("new series", (new := [r for r in data.requests_for_week(9) if _sold(r) == 0][:4]), new, ceiling=20.0),
        _within("many rows", week[::3], week[::3]),
        *boundary_requests(_first_set(), signature(), minimum=0, maximum=_CEILING, expected=_sold),
    ]


def signature() -> ModelSignature:
    """Return the input columns of every demand model, nullable as the unit's features declare."""
    nullable = {feature.name: feature.nullable for group in (DEMAND_HISTORY, WEEK_PLAN) for feature in group.features}
    columns = (
        SignatureColumn(name=name, type="number", nullable=nullable[name])
        if name in nullable
        else SignatureColumn(name=name, type="category", nullable=False)
        for name in INPUTS
    )
    return ModelSignature(inputs=tuple(columns), output="units")


def render(requests: Sequence[GoldenRequest]) -> bytes:
    """Return the file's bytes."""
    return b"".join(json.dumps(to_dict(request), ensure_ascii=False).encode() + b"\n" for request in requests)


def _first_set() -> list[Row]:
    weeks = range(data.FIRST_WEEK, FIRST_SET_WEEK + 1)
    return [row for week in weeks for row in data.requests_for_week(week)]


def _promotions() -> list[GoldenRequest]:
    """Return the three most promoted rows of small stores, each as planned and without its promotion."""
    rows = [
        row
        for row in data.requests_for_week(PROMOTION_WEEK)
        if row["category"] == PROMOTED and 5 <= _sold(row) <= SMALL_STORE
    ]
    chosen = sorted(rows, key=lambda row: -sum(float(str(row[name])) for name in _PLAN))[:3]
    requests = []
    for number, row in enumerate(chosen, 1):
        body = _json([row])
        lifted, most = (round(factor * _sold(row), 3) for factor in (_WITH_PROMOTION, _WITHOUT_PROMOTION))
        requests.append(
            GoldenRequest(name=f"promotion {number}", body=body, rows=1, minimum=lifted, maximum=_high([row]))
        )
        plain = _json([{**row, **dict.fromkeys(_PLAN, 0.0), "planned_price": row["last_price"]}])
        requests.append(GoldenRequest(name=f"without promotion {number}", body=plain, rows=1, minimum=0, maximum=most))
    return requests


def _near(name: str, row: Row) -> GoldenRequest:
    low, high = round(_sold(row) / _FACTOR, 3), round(_sold(row) * _FACTOR, 3)
    return GoldenRequest(name=name, body=_json([row]), rows=1, minimum=low, maximum=high)


def _within(name: str, instances: Sequence[object], rows: Sequence[Row], ceiling: float | None = None) -> GoldenRequest:
    high = _high(rows) if ceiling is None else ceiling
    return GoldenRequest(name=name, body=_json(instances), rows=len(rows), minimum=0, maximum=high)


def _csv(name: str, rows: Sequence[Row]) -> GoldenRequest:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row[column] for column in INPUTS] for row in rows)
    return GoldenRequest(
        name=name, body=text.getvalue(), rows=len(rows), content_type="text/csv", minimum=0, maximum=_high(rows)
    )


def _high(rows: Sequence[Row]) -> float:
    return min(_CEILING, round(_FACTOR * max(map(_sold, rows)), 3))


def _sold(row: Row) -> float:
    return float(str(row["units_mean_8"]))


def _json(instances: Sequence[object]) -> str:
    return json.dumps({"instances": instances}, ensure_ascii=False)


if __name__ == "__main__":
    GOLDEN.write_bytes(render(golden_requests()))
    print(f"{len(golden_requests())} requests in {GOLDEN.name}")
