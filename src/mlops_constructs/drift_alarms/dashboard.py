"""Dashboards: one for each monitored endpoint, and one for a unit with all of its endpoints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from constructs import Construct
from mlops_constructs._validation import raise_if_any
from mlops_constructs.drift_alarms._price import DASHBOARD
from mlops_constructs.model_monitor import ModelMonitor
from mlops_constructs.model_monitor._unit import check_monitor_unit

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit
    from mlops_constructs.drift_alarms.drift_alarms import DriftAlarms

_WIDTH = 24
_QUARTER = cdk.Duration.days(90)


class UnitDashboard(Construct):
    """Define a dashboard of all monitored endpoints of a unit. Stateless.

    At its top stands the state of each endpoint, below it a row of drift, quality and calls for each.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        alarms: The alarms of its endpoints, in the order of the rows.

    Raises:
        ValidationError: If there is no endpoint to show, one twice, or one of another unit.

    Example:
        >>> UnitDashboard(self, "Board", business_unit=unit, alarms=[alarms])
    """

    def __init__(
        self, scope: Construct, id: str, *, business_unit: "BusinessUnit", alarms: "Sequence[DriftAlarms]"
    ) -> None:
        super().__init__(scope, id)
        names = [each.monitor.endpoint.endpoint_name for each in alarms]
        raise_if_any(
            self,
            "InvalidUnitDashboard",
            [
                None if names else "alarms must not be empty; give the DriftAlarms of each endpoint",
                None
                if len(set(names)) == len(names)
                else f"alarms must be of one endpoint each, got {', '.join(names)}",
                *(check_monitor_unit("alarms", each.monitor, business_unit) for each in alarms),
            ],
        )
        dashboard = cloudwatch.Dashboard(self, "Resource", default_interval=_QUARTER)
        dashboard.add_widgets(
            cloudwatch.AlarmStatusWidget(
                title=f"Endpoints of {business_unit.name}",
                alarms=[each.endpoint_alarm for each in alarms],
                width=_WIDTH,
                height=3,
            )
        )
        for each in alarms:
            dashboard.add_widgets(*endpoint_row(each.monitor))
        cdk.Annotations.of(self).add_info(
            f"the dashboard of unit '{business_unit.name}' costs {DASHBOARD:.2f} USD a month at the list price of us-east-1; the "
            "first three of an account are free"
        )
        business_unit.tag(self)


def endpoint_row(monitor: ModelMonitor) -> list[cloudwatch.IWidget]:
    """Return a row of drift, quality and calls of one endpoint."""
    name, width = monitor.endpoint.endpoint_name, _WIDTH // 3
    return [
        cloudwatch.GraphWidget(
            title=f"{name}: drift",
            left=[monitor.metric_features_drifted(), monitor.metric_features_suspect()],
            right=[monitor.metric_max_psi()],
            width=width,
        ),
        cloudwatch.GraphWidget(
            title=f"{name}: quality",
            left=[monitor.metric_wape_ratio()],
            right=[monitor.metric_label_coverage()],
            width=width,
        ),
        cloudwatch.GraphWidget(title=f"{name}: calls", left=[monitor.endpoint.metric_invocations()], width=width),
    ]


def define_endpoint_dashboard(
    scope: Construct, id: str, *, monitor: ModelMonitor, alarms: Sequence[cloudwatch.IAlarm]
) -> cloudwatch.Dashboard:
    """Define the dashboard of one endpoint: its alarms, and what they watch.

    Args:
        scope: Parent.
        id: Construct id.
        monitor: The monitor.
        alarms: Its alarms.
    """
    width = _WIDTH // 3
    dashboard = cloudwatch.Dashboard(scope, id, default_interval=_QUARTER)
    dashboard.add_widgets(
        cloudwatch.AlarmStatusWidget(
            title=f"Alarms of {monitor.endpoint.endpoint_name}", alarms=list(alarms), width=_WIDTH, height=3
        )
    )
    dashboard.add_widgets(*endpoint_row(monitor))
    dashboard.add_widgets(
        cloudwatch.GraphWidget(
            title="Bias and explainability",
            left=[monitor.metric_bias_violations()],
            right=[monitor.metric_ndcg()],
            width=width,
        ),
        cloudwatch.GraphWidget(
            title="Latency over that of the weeks before", left=[monitor.metric_latency_ratio()], width=width
        ),
        cloudwatch.GraphWidget(
            title="Silence",
            left=[monitor.metric_capture_lag_hours(), monitor.metric_label_lag_hours()],
            right=[monitor.metric_heartbeat(), monitor.metric_baseline_age_days()],
            width=width,
        ),
    )
    if monitor.spec.alarm_features:
        features = [monitor.metric_psi(name) for name in monitor.spec.alarm_features]
        dashboard.add_widgets(cloudwatch.GraphWidget(title="PSI by feature", left=features, width=_WIDTH))
    return dashboard
