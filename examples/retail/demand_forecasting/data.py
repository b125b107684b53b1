"""Real grocery transactions of 2017 (completejourney) as weekly demand, its history, and the plan of each week.

A series is a product category of one of six food departments in a store, with at least 400 units in the year.
"""

from functools import cache

import pyarrow as pa

from examples.retail.demand_forecasting.features import DEMAND_HISTORY, INPUTS, WEEK_PLAN, WEEKLY_DEMAND
from examples.retail.transactions import connect, define_weeks, week_end, week_start
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient

DEPARTMENTS = ("GROCERY", "PRODUCE", "MEAT", "MEAT-PCKGD", "DELI", "PASTRY")
MINIMUM_UNITS = 400  # a year
FIRST_WEEK, LAST_WEEK = 9, 53  # eight weeks of history come before the first


def rows(group: FeatureGroup, first: int, last: int) -> pa.Table:
    """Return a group's rows of the weeks ``first`` to ``last``, with event and created time.

    Args:
        group: One of the three groups.
        first: First week. Weeks before 9 have no full history and no rows.
        last: Last week, at most 53.
    """
    offset = {WEEKLY_DEMAND.name: 0, DEMAND_HISTORY.name: -1, WEEK_PLAN.name: -2}[group.name]
    table = _week_table().filter(
        (pa.compute.field("week") >= max(first, FIRST_WEEK)) & (pa.compute.field("week") <= min(last, LAST_WEEK))
    )
    weeks = table["week"].to_pylist()
    times = pa.array([week_end(week + offset) for week in weeks], pa.timestamp("us", "UTC"))
    table = table.append_column("event_time", times).append_column("created_time", times)
    requested = pa.array([week_start(week) for week in weeks], pa.timestamp("us", "UTC"))
    table = table.append_column("prediction_time", requested)
    return table.select([c.name for c in group.columns if c.name != "ingest_id"])


def ingest_weeks(client: FeatureStoreClient, first: int, last: int) -> int:
    """Ingest the data that becomes known with the weeks ``first`` to ``last``; return the number of rows.

    When the books of a week are closed, its demand, the history for the next week and the plan of the week after that are known.
    The first ingest includes the history and the plans up to then.
    """
    from_the_start = first <= FIRST_WEEK
    batches = (
        (WEEKLY_DEMAND, first, last),
        (DEMAND_HISTORY, FIRST_WEEK if from_the_start else first + 1, last + 1),
        (WEEK_PLAN, FIRST_WEEK if from_the_start else first + 2, last + 2),
    )
    count = 0
    for group, start, end in batches:
        batch = rows(group, start, end)
        if batch.num_rows:
            key = f"{group.table_name}/{start}-{end}"
            count += client.ingest(group, batch, idempotency_key=key).rows
    return count


def requests_for_week(week: int) -> list[dict[str, object]]:
    """Return the model's inputs at ``week_start(week)``, one row per series."""
    rows_of_week: list[dict[str, object]] = series_of(week).select(list(INPUTS)).to_pylist()
    return rows_of_week


def labels_for_week(week: int) -> list[float]:
    """Return the units sold in the week, in the order of ``requests_for_week``."""
    return [float(value) for value in series_of(week)["units"].to_pylist()]


def naive_error(week: int) -> float:
    """Return the WAPE of the mean of the eight weeks before: the best of the naive forecasts."""
    table = series_of(week)
    pairs = list(zip(table["units_mean_8"].to_pylist(), table["units"].to_pylist(), strict=True))
    return float(sum(abs(forecast - units) for forecast, units in pairs) / sum(units for _, units in pairs))


def series_of(week: int) -> pa.Table:
    """Return all columns of a week, one row per series.

    Raises:
        ValueError: If the week has no full history or is not in the data.
    """
    if not FIRST_WEEK <= week <= LAST_WEEK:
        raise ValueError(f"week must be from {FIRST_WEEK} to {LAST_WEEK}, got {week}")
    return _week_table().filter(pa.compute.field("week") == week)


@cache
def _week_table() -> pa.Table:
    """Return one row per series and week: units, history up to the week before, plan of the week."""
    with connect() as connection:
        connection.execute(_CHOSEN, [list(DEPARTMENTS)])
        define_weeks(connection, minimum_units=MINIMUM_UNITS)
        return connection.sql(_WEEKS).to_arrow_table()


_CHOSEN = """
create table chosen as
    select product_id, product_category as category
    from products where list_contains(?, department) and product_category is not null
"""

_WEEKS = """
with history as (
    select *,
        lag(units, 1) over series as units_lag_1, lag(units, 2) over series as units_lag_2,
        lag(units, 3) over series as units_lag_3, lag(units, 4) over series as units_lag_4,
        avg(units) over last_4 as units_mean_4, avg(units) over last_8 as units_mean_8,
        last_value(price ignore nulls) over before as last_price, last_value(discount ignore nulls) over before as last_discount
    from weekly
    window series as (partition by store_id, category order by week),
        last_4 as (partition by store_id, category order by week rows between 4 preceding and 1 preceding),
        last_8 as (partition by store_id, category order by week rows between 8 preceding and 1 preceding),
        before as (partition by store_id, category order by week rows between unbounded preceding and 1 preceding)
)
select store_id::varchar as store_id, category, week, units, units_lag_1, units_lag_2, units_lag_3, units_lag_4,
    units_mean_4, units_mean_8, round(last_price, 4) as last_price, round(last_discount, 4) as last_discount,
    ((day(date '2016-12-26' + 7 * (week - 1)) - 1) // 7 + 1)::int as week_of_month,
    round(planned_price, 4) as planned_price, round(planned_discount, 4) as planned_discount,
    round(coalesce(display_share, 0), 4) as display_share, round(coalesce(mailer_share, 0), 4) as mailer_share
from history left join price_list using (category, week) left join promoted using (store_id, category, week)
where week >= 9
order by week, history.store_id, category
"""
