"""CloudWatch metric that counts the guard's decisions by pipeline and decision.

The function logs it in the embedded metric format, so the guard needs no permission for it. Decisions that never occur are free.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from datetime import datetime

from mlops_runtime.contracts.monitor import metric_namespace
from mlops_runtime.contracts.retraining import Decision, GuardDecision

METRIC = "RetrainingDecisions"
COUNTED = tuple(each for each in Decision if each is not Decision.RELEASED)  # RELEASED follows an end, not a request


def decision_dimensions(pipeline: str, decision: str) -> dict[str, str]:
    """Return the dimensions of the metric of one decision."""
    return {"Pipeline": pipeline, "Decision": str(decision)}


def decision_line(decision: GuardDecision, *, unit: str, pipeline: str) -> str | None:
    """Return the log line that counts a decision; None for a decision that is not counted.

    Example:
        >>> made = GuardDecision(decision=Decision.BUSY, event_id="e", at="2017-08-08T00:00:00Z", reason="another runs")
        >>> line = json.loads(decision_line(made, unit="demand", pipeline="demand-forecast"))
        >>> line["Decision"], line["RetrainingDecisions"], line["_aws"]["CloudWatchMetrics"][0]["Namespace"]
        ('BUSY', 1, 'MLOps/demand')
    """
    if decision.decision not in COUNTED:
        return None
    dimensions = decision_dimensions(pipeline, decision.decision)
    directive = {
        "Namespace": metric_namespace(unit),
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": METRIC, "Unit": "Count"}],
    }
    at = int(datetime.fromisoformat(decision.at).timestamp() * 1000)
    return json.dumps({"_aws": {"Timestamp": at, "CloudWatchMetrics": [directive]}, **dimensions, METRIC: 1})
