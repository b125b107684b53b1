"""A Grafana dashboard of the metrics of `prometheus_text`: six panels, with data source and endpoints as variables.

See: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from typing import Any

from mlops_runtime.monitor.prometheus_text import FEATURES, PSI, QUALITY, ROWS, STATE, WINDOW_END

# schema of Grafana 10.4; later versions migrate it
_SCHEMA = 39
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_CHOSEN = '{endpoint=~"$endpoint"}'


def dashboard() -> dict[str, Any]:
    """Return the dashboard as a JSON model, for Grafana's import and provisioning.

    Example:
        >>> [panel["title"] for panel in dashboard()["panels"]][:2]
        ['State of each monitor', 'Hours since the newest window ended']
    """
    panels = [
        _panel("State of each monitor", f"{STATE}{_CHOSEN} == 1", "{{endpoint}} {{monitor}} {{state}}", kind="stat"),
        _panel("Hours since the newest window ended", f"(time() - {WINDOW_END}{_CHOSEN}) / 3600", "{{endpoint}}"),
        _panel("Features by verdict", f"{FEATURES}{_CHOSEN}", "{{endpoint}} {{verdict}}"),
        _panel("PSI of the features that moved most", f"{PSI}{_CHOSEN}", "{{endpoint}} {{feature}}"),
        _panel("Quality", f"{QUALITY}{_CHOSEN}", "{{endpoint}} {{metric}} {{kind}}"),
        _panel("Rows of the window", f"{ROWS}{_CHOSEN}", "{{endpoint}}"),
    ]
    for place, panel in enumerate(panels):
        panel["id"] = place + 1
        panel["gridPos"] = {"h": 8, "w": 12, "x": 12 * (place % 2), "y": 8 * (place // 2)}
    return {
        "uid": "mlops-models",
        "title": "Models",
        "tags": ["mlops"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "time": {"from": "now-14d", "to": "now"},
        "refresh": "5m",
        "templating": {"list": [_data_source(), _endpoints()]},
        "panels": panels,
    }


def _panel(title: str, expression: str, legend: str, *, kind: str = "timeseries") -> dict[str, Any]:
    target: dict[str, Any] = {"refId": "A", "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
    panel = {"type": kind, "title": title, "datasource": _SOURCE, "targets": [target]}
    if kind != "stat":
        return panel
    target["instant"] = True
    return {**panel, "options": {"textMode": "name", "reduceOptions": {"calcs": ["lastNotNull"]}}}


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _endpoints() -> dict[str, Any]:
    return {
        "name": "endpoint",
        "label": "Endpoint",
        "type": "query",
        "datasource": _SOURCE,
        "query": f"label_values({ROWS}, endpoint)",
        "refresh": 2,  # when the time range changes
        "multi": True,
        "includeAll": True,
    }
