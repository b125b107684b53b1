"""Real grocery transactions of 2017 (completejourney) as units by store, product group and week, with prices and promotions.

A product group is a product type of the grocery department with high sales (2,000 units in the year) and changing prices (an
overall discount of a tenth of the shelf price). A series is a product group in a store that sells at least 250 units of it in the
year. Prices are those of the price list of all stores, not the prices paid in one store.
"""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from examples.retail.dynamic_pricing.features import (
    GROUP_SALES,
    INPUTS,
    PRICE_HISTORY,
    PRICE_PLAN,
    PROMOTION_PLAN,
    SALES_HISTORY,
)
from examples.retail.transactions import connect, define_weeks, week_end, week_start
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient

DEPARTMENT = "GROCERY"
MINIMUM_UNITS = 250  # a year, in a store
MINIMUM_GROUP_UNITS = 2000  # a year, in all stores
MINIMUM_DISCOUNT = 0.1  # of the shelf price, over the year
FIRST_WEEK, LAST_WEEK = 10, 53  # eight weeks of prices come before the first, and week 1 has no list


def rows(group: FeatureGroup, first: int, last: int) -> pa.Table:
    """Return a group's rows of the weeks ``first`` to ``last``, with event and created time.

    Args:
        group: One of the five groups.
        first: First week. Weeks before 10 have no full history and no rows.
        last: Last week, at most 53.
    """
    table = _week_table().filter(
        (pc.field("week") >= max(first, FIRST_WEEK)) & (pc.field("week") <= min(last, LAST_WEEK))
    )
    weeks = table["week"].to_pylist()
    offset = 0 if group is GROUP_SALES else -1
    times = pa.array([week_end(week + offset) for week in weeks], pa.timestamp("us", "UTC"))
    table = table.append_column("event_time", times).append_column("created_time", times)
    requested = pa.array([week_start(week) for week in weeks], pa.timestamp("us", "UTC"))
    table = table.append_column("prediction_time", requested)
    names = [column.name for column in group.columns if column.name != "ingest_id"]
    return table.group_by(names, use_threads=False).aggregate([]).select(names)


def ingest_weeks(client: FeatureStoreClient, first: int, last: int) -> int:
    """Ingest the data that becomes known with the weeks ``first`` to ``last``; return the number of rows.

    When the books of a week are closed, its sales and the history and plan of the next week are known. The first ingest includes
    the history and plans up to then.
    """
    ahead = FIRST_WEEK if first <= FIRST_WEEK else first + 1
    batches = [
        (GROUP_SALES, first, last),
        *((group, ahead, last + 1) for group in (SALES_HISTORY, PRICE_HISTORY, PRICE_PLAN, PROMOTION_PLAN)),
    ]
    count = 0
    for group, start, end in batches:
        batch = rows(group, start, end)
        if batch.num_rows:
            count += client.ingest(group, batch, idempotency_key=f"{group.table_name}/{start}-{end}").rows
    return count


def requests_for_week(week: int) -> list[dict[str, object]]:
    """Return the model's inputs at ``week_start(week)`` with the planned prices, one row per series."""
    requests: list[dict[str, object]] = series_of(week).select(list(INPUTS)).to_pylist()
    return requests


def labels_for_week(week: int) -> list[float]:
    """Return the units sold in the week, in the order of ``requests_for_week``."""
    return [float(value) for value in series_of(week)["units"].to_pylist()]


def series_of(week: int) -> pa.Table:
    """Return all columns of a week, one row per series.

    Raises:
        ValueError: If the week has no full history or is not in the data.
    """
    if not FIRST_WEEK <= week <= LAST_WEEK:
        raise ValueError(f"week must be from {FIRST_WEEK} to {LAST_WEEK}, got {week}")
    return _week_table().filter(pc.field("week") == week)


@cache
def _week_table() -> pa.Table:
    """Return one row per series and week: units, history up to the week before, plan of the week."""
    with connect() as connection:
        connection.execute(
            _CHOSEN, {"department": DEPARTMENT, "units": MINIMUM_GROUP_UNITS, "discount": MINIMUM_DISCOUNT}
        )
        define_weeks(connection, minimum_units=MINIMUM_UNITS)
        return connection.sql(_WEEKS).to_arrow_table()


_CHOSEN = """
create table chosen as
    select product_id, product_type as category
    from products where department = $department and product_type in (
        select product_type from transactions join products using (product_id)
        where department = $department and quantity > 0 group by product_type
        having sum(quantity) >= $units and sum(cents(retail_disc)) >= $discount * sum(cents(sales_value + retail_disc))
    )
"""

_WEEKS = """
with history as (
    select *, lag(units, 1) over series as units_lag_1,
        avg(units) over last_4 as units_mean_4, avg(units) over last_8 as units_mean_8
    from weekly
    window series as (partition by store_id, category order by week),
        last_4 as (partition by store_id, category order by week rows between 4 preceding and 1 preceding),
        last_8 as (partition by store_id, category order by week rows between 8 preceding and 1 preceding)
),
prices as (
    select category, week, planned_price, planned_discount, lag(planned_price, 1) over series as last_price,
        avg(planned_price) over last_8 as usual_price, avg(planned_discount) over last_8 as usual_discount
    from price_list
    window series as (partition by category order by week),
        last_8 as (partition by category order by week rows between 8 preceding and 1 preceding)
)
select store_id::varchar as store_id, category as product_group, week, units, units_lag_1, units_mean_4, units_mean_8,
    round(usual_price, 4) as usual_price, round(usual_discount, 4) as usual_discount,
    round(last_price / usual_price, 4) as last_price_ratio, round(planned_price, 4) as planned_price,
    round(planned_discount, 4) as planned_discount, (planned_discount >= usual_discount + 0.03)::int as on_promotion,
    round(coalesce(display_share, 0), 4) as display_share, round(coalesce(mailer_share, 0), 4) as mailer_share
from history left join prices using (category, week) left join promoted using (store_id, category, week)
where week >= 10
order by week, history.store_id, category
"""
