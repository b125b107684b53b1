"""The dashboard of a monitored endpoint in a template."""

import json
from typing import Any


def test_it_shows_alarms_drift_quality_and_silence(demand: Any) -> None:
    """Alarms are at the top; every widget shows the endpoint."""
    (dashboard,) = demand.resources("AWS::CloudWatch::Dashboard").values()
    parts = dashboard["DashboardBody"]["Fn::Join"][1]
    body = json.loads("".join(part if isinstance(part, str) else "TOKEN" for part in parts))
    titles = [widget["properties"]["title"] for widget in body["widgets"]]

    assert body["widgets"][0]["type"] == "alarm"
    assert titles == [
        "Alarms of demand-forecast",
        "demand-forecast: drift",
        "demand-forecast: quality",
        "demand-forecast: calls",
        "Bias and explainability",
        "Latency over that of the weeks before",
        "Silence",
    ]
