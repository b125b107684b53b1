"""Monthly price of metrics, alarms and dashboards, printed at synthesis."""

import aws_cdk as cdk

from constructs import IConstruct
from mlops_constructs._warnings import counted
from mlops_runtime.price import price_table

# without the free tier: the first 10,000 custom metrics, and standard-resolution alarms
_USD = price_table("us-east-1").usd
METRIC, ALARM = _USD["metric_month"], _USD["alarm_month"]
COMPOSITE, DASHBOARD = _USD["composite_alarm_month"], _USD["dashboard_month"]


def monthly_price(*, metrics: int = 0, alarms: int = 0, composites: int = 0, dashboards: int = 0) -> float:
    """Return the monthly price in USD at us-east-1's list prices; those of other Regions differ little.

    Args:
        metrics: Number of custom metrics: one for each name and set of dimensions.
        alarms: Number of alarms on one metric.
        composites: Number of composite alarms.
        dashboards: Number of dashboards; the first three of an account are free.

    Example:
        >>> monthly_price(metrics=20, alarms=10, composites=3, dashboards=1)
        11.5
    """
    return round(metrics * METRIC + alarms * ALARM + composites * COMPOSITE + dashboards * DASHBOARD, 2)


def print_price(scope: IConstruct, what: str, *, metrics: int, alarms: int, composites: int, dashboards: int) -> None:
    """Add a notice with the price of ``what`` to a construct."""
    price = monthly_price(metrics=metrics, alarms=alarms, composites=composites, dashboards=dashboards)
    cdk.Annotations.of(scope).add_info(
        f"{what} about {price:.2f} USD a month: {counted(metrics, 'metric')} at {METRIC:.2f}, {counted(alarms, 'alarm')} at "
        f"{ALARM:.2f}, {counted(composites, 'composite alarm')} at {COMPOSITE:.2f}, {counted(dashboards, 'dashboard')} at "
        f"{DASHBOARD:.2f}, at the list prices of us-east-1"
    )
