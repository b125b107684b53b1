"""The CloudWatch dashboard of a unit, with all its monitored endpoints."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._validation import raise_if_any
from mlops_constructs.drift_alarms.drift_alarms import (
    DASHBOARD_USD,
    DASHBOARD_WIDTH,
    QUARTER,
    DriftAlarms,
    endpoint_row,
)
from mlops_constructs.unit_interface import IBusinessUnit


@checked("InvalidUnitDashboard")
class UnitDashboard(Construct):
    """A CloudWatch dashboard of all monitored endpoints of a unit. Stateless.

    It shows the alarm state of all endpoints at the top, then a row with drift, quality and requests of each.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: Unit that owns the endpoints.
        drift_alarms: The alarms of its endpoints, in the order of the rows.

    Raises:
        ValidationError: If there is no endpoint, an endpoint occurs twice, or one belongs to another unit.

    Example:
        >>> board = UnitDashboard(self, "Board", business_unit=unit, drift_alarms=[alarms])
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: IBusinessUnit, drift_alarms: Sequence[DriftAlarms]
    ) -> None:
        super().__init__(scope, id)
        names = [each.monitor.endpoint.endpoint_name for each in drift_alarms]
        raise_if_any(
            self,
            "InvalidUnitDashboard",
            [
                None if names else "alarms must not be empty; pass the DriftAlarms of each endpoint",
                None
                if len(set(names)) == len(names)
                else f"alarms must be of one endpoint each, got {', '.join(names)}",
                *(
                    f"alarms must be of unit {business_unit.name!r}, got {each.monitor.endpoint.endpoint_name!r} of unit "
                    f"{each.monitor.business_unit.name!r}; remove it, or add it to a dashboard of its own unit"
                    for each in drift_alarms
                    if each.monitor.business_unit.name != business_unit.name
                ),
            ],
        )
        dashboard = cloudwatch.Dashboard(self, "Resource", default_interval=QUARTER)
        dashboard.add_widgets(
            cloudwatch.AlarmStatusWidget(
                title=f"Endpoints of {business_unit.name}",
                alarms=[each.endpoint_alarm for each in drift_alarms],
                width=DASHBOARD_WIDTH,
                height=3,
            )
        )
        for each in drift_alarms:
            dashboard.add_widgets(*endpoint_row(each.monitor))
        cdk.Annotations.of(self).add_info(
            f"the dashboard of unit '{business_unit.name}' costs {DASHBOARD_USD:.2f} USD a month at the list price of us-east-1; "
            "the first three of an account are free"
        )
        business_unit.tag(self)
