"""Write golden.jsonl: requests from real weeks that every pricing model must answer.

``python -m examples.retail.dynamic_pricing.golden``

Bounds come from earlier sales of the series, never from a model's predictions. For prices they are narrower: the deepest discount
of the week sells at least half as much as the weeks before it, and no series sells many times as much.
"""

from pathlib import Path

from examples.retail.dynamic_pricing import data
from examples.retail.dynamic_pricing.features import INPUTS, KNOWN_BEFORE
from examples.retail.golden import Row, as_arrays, as_csv, columns_of, render, signature_of, within
from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.rollout.golden_set import boundary_requests

GOLDEN = Path(__file__).with_name("golden.jsonl")
FIRST_SET_WEEK = 30  # the last week before the unit goes live
TYPICAL_WEEK, THANKSGIVING_WEEK = 31, 48
COLUMNS = columns_of(INPUTS, KNOWN_BEFORE)
_NEAR, _MOST = (
    2.5,
    4.0,
)  # an answer is within a factor of 2.5 of earlier sales, the largest of many below four times
_CEILING = 400.0  # no store sold as much of a product group in any week


def golden_requests() -> list[GoldenRequest]:
    """Return the set, which is reproducible from the same data."""
    week = sorted(_requests(TYPICAL_WEEK), key=_sold)
    median, deepest = week[len(week) // 2], max(week, key=lambda row: (float(str(row["planned_discount"])), _sold(row)))
    late = _requests(THANKSGIVING_WEEK)[::8]
    idle = [row for row in week if row["units_lag_1"] == 0][:12]
    return [
        _near("small series", week[len(week) // 10]),
        _near("median series", median),
        _near("large series", week[9 * len(week) // 10]),
        _near("largest series", week[-1]),
        within("deepest discount", [deepest], low=_sold(deepest) / 2, high=_high([deepest])),
        as_arrays("typical rows as arrays", week[::40], low=0, high=_high(week[::40])),
        as_csv("typical rows as CSV", week[20::40], low=0, high=_high(week[20::40])),
        within("Thanksgiving week", late, low=0, high=_high(late)),
        _near("unseen product group", {**median, "product_group": "NEW IN THE STORE"}),
        within("nothing sold last week", idle, low=0, high=_high(idle)),
        within("many rows", week[::2], low=0, high=_high(week)),
        *boundary_requests(
            [row for number in range(data.FIRST_WEEK, FIRST_SET_WEEK + 1) for row in _requests(number)],
            signature_of(COLUMNS, KNOWN_BEFORE, "units"),
            minimum=0,
            maximum=_CEILING,
        ),
    ]


def _requests(week: int) -> list[dict[str, object]]:
    return [{name: row[name] for name in COLUMNS} for row in data.requests_for_week(week)]


def _near(name: str, row: Row) -> GoldenRequest:
    return within(name, [row], low=_sold(row) / _NEAR, high=_sold(row) * _NEAR)


def _high(rows: list[dict[str, object]]) -> float:
    return min(_CEILING, _MOST * max(map(_sold, rows)))


def _sold(row: Row) -> float:
    return float(str(row["units_mean_8"]))


if __name__ == "__main__":
    GOLDEN.write_bytes(render(golden_requests()))
    print(f"{len(golden_requests())} requests in {GOLDEN.name}")
