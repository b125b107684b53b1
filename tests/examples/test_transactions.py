"""The calendar of the retail data, and the tables derived from it."""

from datetime import UTC, datetime, timedelta

from examples.retail.transactions import connect, define_weeks, week_end, week_of, week_start


def test_weeks_close_on_mondays():
    """Week 1 ends at the first Monday midnight, six hours before the forecasts of week 2 are requested."""
    assert week_end(1) == datetime(2017, 1, 2, 5, tzinfo=UTC)
    assert week_start(2) == week_end(1) + timedelta(hours=6)
    assert [week_of(week_end(30) + delta) for delta in (-timedelta(seconds=1), timedelta(0))] == [29, 30]


def test_a_series_has_every_week_and_a_plan_of_the_weeks_before():
    """Weeks without sales are zeros; a week's list price weights products by earlier weeks, so the first week has none."""
    with connect() as connection:
        connection.execute(
            "create table chosen as select product_id, product_category as category from products"
            " where product_category = 'SOFT DRINKS'"
        )
        define_weeks(connection, minimum_units=400)
        counts = connection.sql("select store_id, count(*), sum(units) from weekly group by all").fetchall()
        listed = connection.sql("select min(week), max(week), min(planned_price) > 0 from price_list").fetchall()
        shares = connection.sql("select min(display_share) >= 0, max(mailer_share) <= 1 from promoted").fetchall()
    assert len(counts) > 10
    assert all(weeks == 53 and units >= 400 for _, weeks, units in counts)
    assert listed == [(2, 53, True)]
    assert shares == [(True, True)]
