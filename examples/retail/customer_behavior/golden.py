"""Write golden.jsonl: requests from real fortnights that every model of customer behaviour must answer.

``python -m examples.retail.customer_behavior.golden``

An answer is a probability. Bounds come from earlier purchases, never from a model's predictions: a household that bought in a
category in every fortnight will probably do so again, and a household that never bought in a rare category probably will not.
"""

from pathlib import Path

from examples.retail.customer_behavior import data
from examples.retail.customer_behavior.features import DEMOGRAPHICS, INPUTS, KNOWN_BEFORE
from examples.retail.golden import Row, as_arrays, as_csv, columns_of, render, signature_of, within
from mlops_runtime.contracts.serving import GoldenRequest
from mlops_runtime.rollout.golden_set import boundary_requests

GOLDEN = Path(__file__).with_name("golden.jsonl")
FIRST_SET_FORTNIGHT = 27  # the last fortnight with known purchases before the unit goes live
COLUMNS = columns_of(INPUTS, KNOWN_BEFORE)
TYPICAL_FORTNIGHT, THANKSGIVING_FORTNIGHT = 31, 47


def golden_requests() -> list[GoldenRequest]:
    """Return the set, which is reproducible from the same data."""
    rows = sorted(_requests(TYPICAL_FORTNIGHT), key=_rate)
    median, never = rows[len(rows) // 2], [row for row in rows if row["days_since_purchase"] is None]
    late = _requests(THANKSGIVING_FORTNIGHT)[::75]
    no_demographics = {**median, **dict.fromkeys(DEMOGRAPHICS.feature_names)}
    return [
        within("regular buyers", rows[-8:], low=0.5, high=1),
        within("typical household", [median], low=0.02, high=0.98),
        within("never bought, and few do", never[:8], low=0, high=0.35),
        as_arrays("typical rows as arrays", rows[::200], low=0, high=1),
        as_csv("typical rows as CSV", rows[100::200], low=0, high=1),
        within("Thanksgiving fortnight", late, low=0, high=1),
        within("unseen category", [{**median, "category": "NEW IN THE STORE"}], low=0.02, high=0.98),
        within("nothing said of the household", [no_demographics], low=0.02, high=0.98),
        within("many rows", rows[::14], low=0, high=1),
        *boundary_requests(
            [
                row
                for fortnight in range(data.FIRST_FORTNIGHT, FIRST_SET_FORTNIGHT + 1, 2)
                for row in _requests(fortnight)
            ],
            signature_of(COLUMNS, KNOWN_BEFORE, "bought"),
            minimum=0,
            maximum=1,
        ),
    ]


def _requests(fortnight: int) -> list[dict[str, object]]:
    return [{name: row[name] for name in COLUMNS} for row in data.requests_for_fortnight(fortnight)]


def _rate(row: Row) -> float:
    return float(str(row["own_rate"]))


if __name__ == "__main__":
    GOLDEN.write_bytes(render(golden_requests()))
    print(f"{len(golden_requests())} requests in {GOLDEN.name}")
