"""Real grocery transactions of 2017 (completejourney) as purchases by household, category and fortnight, with what led up to them.

A fortnight is two weeks of the data, named by the first, an odd number. The data has every eighth household, in each fortnight
those that visited in the eight weeks before: households that left are excluded. A prediction uses only data of earlier weeks, or
data announced before: campaigns and their coupons.
"""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from examples.retail.customer_behavior.features import (
    CATEGORY_HISTORY,
    CATEGORY_PURCHASES,
    CATEGORY_TREND,
    DEMOGRAPHICS,
    HOUSEHOLD_HISTORY,
    INPUTS,
)
from examples.retail.transactions import connect, week_end, week_start
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.features.store_client import FeatureStoreClient

CATEGORIES = (
    "SOFT DRINKS",
    "CHEESE",
    "BAG SNACKS",
    "BEEF",
    "EGGS",
    "SOUP",
    "TROPICAL FRUIT",
    "COLD CEREAL",
    "FROZEN PIZZA",
    "LUNCHMEAT",
)
EVERY = 8  # one of so many households is included
FIRST_FORTNIGHT, LAST_FORTNIGHT = 9, 51  # eight weeks of history come before the first


def rows(group: FeatureGroup, first: int, last: int) -> pa.Table:
    """Return a group's rows of the fortnights ``first`` to ``last``, with event and created time.

    Args:
        group: One of the five groups. Demographics do not depend on the fortnight: all are returned.
        first: First fortnight. Those before 9 have no full history and no rows.
        last: Last fortnight, at most 51.
    """
    table = _fortnight_table().filter(
        (pc.field("fortnight") >= max(first, FIRST_FORTNIGHT)) & (pc.field("fortnight") <= min(last, LAST_FORTNIGHT))
    )
    if group is DEMOGRAPHICS:
        table = _fortnight_table()
        known = [week_end(1)] * table.num_rows
    else:
        offset = 1 if group is CATEGORY_PURCHASES else -1
        known = [week_end(fortnight + offset) for fortnight in table["fortnight"].to_pylist()]
    times = pa.array(known, pa.timestamp("us", "UTC"))
    table = table.append_column("event_time", times).append_column("created_time", times)
    requested = pa.array(
        [week_start(fortnight) for fortnight in table["fortnight"].to_pylist()], pa.timestamp("us", "UTC")
    )
    table = table.append_column("prediction_time", requested)
    names = [column.name for column in group.columns if column.name != "ingest_id"]
    return table.group_by(names, use_threads=False).aggregate([]).select(names)


def ingest_fortnights(client: FeatureStoreClient, first: int, last: int) -> int:
    """Ingest the data that becomes known with the fortnights ``first`` to ``last``; return the number of rows.

    When the books of a fortnight are closed, its purchases and the history for the next one are known. The first ingest includes
    the history up to then, and the demographics.
    """
    from_the_start = first <= FIRST_FORTNIGHT
    history = FIRST_FORTNIGHT if from_the_start else first + 2
    batches = [
        (CATEGORY_PURCHASES, first, last),
        *((group, history, last + 2) for group in (CATEGORY_HISTORY, HOUSEHOLD_HISTORY, CATEGORY_TREND)),
        *([(DEMOGRAPHICS, first, last)] if from_the_start else []),
    ]
    count = 0
    for group, start, end in batches:
        batch = rows(group, start, end)
        if batch.num_rows:
            count += client.ingest(group, batch, idempotency_key=f"{group.table_name}/{start}-{end}").rows
    return count


def requests_for_fortnight(fortnight: int) -> list[dict[str, object]]:
    """Return the model's inputs at ``week_start(fortnight)``, one row per household and category."""
    requests: list[dict[str, object]] = pairs_of(fortnight).select(list(INPUTS)).to_pylist()
    return requests


def labels_for_fortnight(fortnight: int) -> list[float]:
    """Return whether each bought, 1 or 0, in the order of ``requests_for_fortnight``."""
    return [float(value) for value in pairs_of(fortnight)["bought"].to_pylist()]


def pairs_of(fortnight: int) -> pa.Table:
    """Return all columns of a fortnight, one row per household and category.

    Raises:
        ValueError: If the fortnight has no full history, is not in the data, or does not start with the first week of one.
    """
    if not FIRST_FORTNIGHT <= fortnight <= LAST_FORTNIGHT or fortnight % 2 == 0:
        raise ValueError(f"fortnight must be an odd week from {FIRST_FORTNIGHT} to {LAST_FORTNIGHT}, got {fortnight}")
    return _fortnight_table().filter(pc.field("fortnight") == fortnight)


@cache
def _fortnight_table() -> pa.Table:
    """Return one row per household, category and fortnight: whether it bought, and the data known before."""
    with connect() as connection:
        connection.execute("create table categories as select unnest(?) as category", [list(CATEGORIES)])
        connection.execute("create table every as select ? as households", [EVERY])
        connection.execute(_PURCHASES)
        return connection.sql(_FORTNIGHTS).to_arrow_table()


_PURCHASES = """
create table fortnights as
    select fortnight, timestamp '2017-01-02 05:00' + interval 7 day * (fortnight - 2) as closed
    from (select unnest(range(9, 53, 2))::int as fortnight);
create table lines as
    select household_id, product_category as category, basket_id, week::int as week, transaction_timestamp as bought_at,
        cents(sales_value) as paid, cents(retail_disc + coupon_disc + coupon_match_disc) as saved, (coupon_disc > 0)::int as coupon
    from transactions join products using (product_id)
    where quantity > 0 and household_id % (select households from every) = 0;
create table visits as
    select household_id, fortnight, date_diff('day', max(bought_at), any_value(closed))::int as days_since_visit,
        count(distinct basket_id) filter (week >= fortnight - 4)::int as visits_4, count(distinct basket_id)::int as visits_8,
        sum(paid)::bigint / 100 as basket_spend_8, sum(saved) / nullif(sum(paid + saved), 0) as basket_discount_8,
        count(distinct basket_id) filter (coupon = 1)::int as basket_coupons_8
    from lines join fortnights on week between fortnight - 8 and fortnight - 1 group by all;
create table purchases as
    select household_id, category, fortnight, date_diff('day', max(bought_at), any_value(closed))::int as days_since_purchase,
        count(distinct basket_id) filter (week >= fortnight - 4)::int as purchases_4, count(distinct basket_id)::int as purchases_8,
        sum(paid)::bigint / 100 as spend_8, sum(saved) / nullif(sum(paid + saved), 0) as discount_8,
        count(distinct basket_id) filter (coupon = 1)::int as coupons_8, count(distinct (week - 1) // 2)::int as fortnights
    from lines join fortnights on week between fortnight - 8 and fortnight - 1
    where category in (select category from categories) group by all;
create table labels as
    select distinct household_id, category, fortnight, 1 as bought
    from lines join fortnights on week between fortnight and fortnight + 1;
create table running as
    select household_id, fortnight, campaign_id
    from campaigns join campaign_descriptions using (campaign_id) join fortnights on start_date <= closed and end_date >= closed
    where household_id % (select households from every) = 0;
create table offers as
    select household_id, fortnight, category, count(*)::int as coupons_on_offer
    from running join (
        select distinct campaign_id, product_category as category from coupons join products using (product_id)
        where product_category in (select category from categories)
    ) using (campaign_id) group by all;
create table targeted as
    select household_id, fortnight, count(*)::int as campaigns from running group by all;
"""

_FORTNIGHTS = """
with pairs as (
    select household_id, category, fortnight, visits.* exclude (household_id, fortnight),
        days_since_purchase, coalesce(purchases_4, 0) as purchases_4, coalesce(purchases_8, 0) as purchases_8,
        coalesce(spend_8, 0) as spend_8, coalesce(discount_8, 0) as discount_8, coalesce(coupons_8, 0) as coupons_8,
        coalesce(fortnights, 0) as fortnights, coalesce(bought, 0) as bought,
        coalesce(coupons_on_offer, 0) as coupons_on_offer, coalesce(campaigns, 0) as campaigns
    from visits cross join categories left join purchases using (household_id, category, fortnight)
        left join labels using (household_id, category, fortnight) left join offers using (household_id, category, fortnight)
        left join targeted using (household_id, fortnight)
),
rated as (
    select *, sum(fortnights) over (partition by category, fortnight) / 4 / count(*) over (partition by category, fortnight) as rate
    from pairs
)
select household_id::varchar as household_id, category, fortnight, bought::int as bought, days_since_purchase,
    purchases_4, purchases_8, spend_8, round(discount_8, 4) as discount_8, coupons_8, coupons_on_offer,
    round((fortnights + 2 * rate) / 6, 6) as own_rate, days_since_visit, visits_4, visits_8, basket_spend_8,
    round(coalesce(basket_discount_8, 0), 4) as basket_discount_8, basket_coupons_8, campaigns, round(rate, 6) as category_rate,
    age, income, household_size, kids_count
from rated left join demographics using (household_id)
order by fortnight, rated.household_id, category
"""
