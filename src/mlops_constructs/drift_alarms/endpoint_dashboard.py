"""The dashboard of a monitored endpoint."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from constructs import Construct
from mlops_constructs.model_monitor.monitor_interface import IModelMonitor

WIDTH = 24
QUARTER = cdk.Duration.days(90)


def endpoint_row(monitor: IModelMonitor) -> list[cloudwatch.IWidget]:
    """Return a row with drift, quality and requests of one endpoint."""
    name, width = monitor.endpoint.endpoint_name, WIDTH // 3
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
    scope: Construct, id: str, *, monitor: IModelMonitor, alarms: Sequence[cloudwatch.IAlarm]
) -> cloudwatch.Dashboard:
    """Define the dashboard of one endpoint, with its alarms and their metrics."""
    width = WIDTH // 3
    dashboard = cloudwatch.Dashboard(scope, id, default_interval=QUARTER)
    dashboard.add_widgets(
        cloudwatch.AlarmStatusWidget(
            title=f"Alarms of {monitor.endpoint.endpoint_name}", alarms=list(alarms), width=WIDTH, height=3
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
        dashboard.add_widgets(cloudwatch.GraphWidget(title="PSI by feature", left=features, width=WIDTH))
    return dashboard
