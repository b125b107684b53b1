"""Alarms on drift, on quality, and on silence; drift and quality ask for a retraining."""

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions

from constructs import Construct
from mlops_constructs._validation import check_range, raise_if_any
from mlops_constructs._warnings import NO_HEARTBEAT_ALARM, warn
from mlops_constructs.model_monitor import ModelMonitor
from mlops_constructs.retraining import RetrainingPipeline

if TYPE_CHECKING:
    from mlops_constructs.business_unit import BusinessUnit

# An alarm looks back seven days at most, and two runs must fit, or each late run would ring.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html (EvaluationPeriods)
_LONGEST_SCHEDULE = cdk.Duration.hours(84)


class DriftAlarms(Construct):
    """Define alarms on what a monitor finds. Stateless.

    ``features`` rings when a feature drifted, ``quality`` when the live loss is too far above the holdout's; both tell the unit's
    topic and ask for a retraining. Between two runs of the monitor they keep their state. ``heartbeat`` rings when the monitor
    itself is silent. A dashboard shows the three.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        monitor: The monitor.
        retraining: What the alarms ask for. Default: they only tell the topic.
        wape_ratio: Live WAPE over the holdout's, above which ``quality`` rings. Default: the monitor's ``maximum_wape_ratio``.

    Raises:
        ValidationError: If the ratio is not possible, or the pipeline has alarms already.

    Example:
        >>> alarms = DriftAlarms(self, "Alarms", business_unit=unit, monitor=monitor, retraining=retraining, wape_ratio=1.25)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: "BusinessUnit",
        monitor: ModelMonitor,
        retraining: RetrainingPipeline | None = None,
        wape_ratio: float | None = None,
    ) -> None:
        super().__init__(scope, id)
        limit = monitor.spec.maximum_wape_ratio if wape_ratio is None else wape_ratio
        raise_if_any(self, "InvalidDriftAlarms", [check_range("wape_ratio", limit, minimum=0.01, maximum=100)])
        self._unit, self._monitor = business_unit, monitor
        drift = {"features": self._define_features(), "quality": self._define_quality(limit)}
        if retraining is not None:
            retraining.add_alarms(drift)
        heartbeat = self._define_heartbeat()
        self._alarms = drift if heartbeat is None else {**drift, "heartbeat": heartbeat}
        self._define_dashboard()
        business_unit.tag(self)

    @property
    def alarms(self) -> dict[str, cloudwatch.IAlarm]:
        """The alarms by name: ``features``, ``quality`` and, where the schedule allows it, ``heartbeat``."""
        return dict(self._alarms)

    def _define_features(self) -> cloudwatch.Alarm:
        return self._define_alarm(
            "Features",
            self._monitor.metric_features_drifted(),
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            description="at least one feature of the calls no longer looks like the training data; read the newest report, and "
            "constraint_violations.json for the features",
        )

    def _define_quality(self, limit: float) -> cloudwatch.Alarm:
        return self._define_alarm(
            "Quality",
            self._monitor.metric_wape_ratio(),
            threshold=limit,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            description=f"the live WAPE is more than {limit} times that of the model's holdout; compare the report's quality with "
            "quality_baseline, and check that the labels are right",
        )

    def _define_heartbeat(self) -> cloudwatch.Alarm | None:
        hours = -(-int(self._monitor.schedule.to_seconds()) // 3600)
        if hours > _LONGEST_SCHEDULE.to_hours():
            warn(self, NO_HEARTBEAT_ALARM, schedule=self._monitor.schedule.to_human_string())
            return None
        return self._define_alarm(
            "Heartbeat",
            self._monitor.metric_heartbeat(),
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            description="the monitor gave no report for two of its runs; read the log of its function Decide and its dead letters",
            hours=2 * hours,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _define_alarm(
        self,
        id: str,
        metric: cloudwatch.Metric,
        *,
        threshold: float,
        comparison_operator: cloudwatch.ComparisonOperator,
        description: str,
        hours: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.IGNORE,
    ) -> cloudwatch.Alarm:
        alarm = metric.create_alarm(
            self,
            id,
            threshold=threshold,
            comparison_operator=comparison_operator,
            evaluation_periods=hours,
            # between two runs there are no data, and nothing has become better or worse
            treat_missing_data=missing,
            alarm_description=f"{self._monitor.endpoint.endpoint_name}: {description}",
        )
        alarm.add_alarm_action(actions.SnsAction(self._unit.topic))
        return alarm

    def _define_dashboard(self) -> None:
        monitor = self._monitor
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=cdk.Duration.days(90))
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="Drift", left=[monitor.metric_features_drifted()], right=[monitor.metric_max_psi()]
            ),
            cloudwatch.GraphWidget(title="Quality", left=[monitor.metric_wape_ratio()]),
            cloudwatch.GraphWidget(title="Calls", left=[monitor.endpoint.metric_invocations()]),
        )
