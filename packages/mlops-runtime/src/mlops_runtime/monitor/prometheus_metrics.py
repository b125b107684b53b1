"""A report as Prometheus metrics, and a Grafana dashboard of them with data source and endpoints as variables.

The text has format 0.0.4: one object an endpoint, for the textfile collector or any scraper.

Samples are of the newest window and have no timestamp: Prometheus drops samples older than five minutes, and a window is hours
old. ``mlops_monitor_window_end_timestamp_seconds`` is the end of the window; alert on its age to detect a stopped monitor. The
number of series is bounded: features are those of ``alarm_features`` and the ten with the largest PSI.

See: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format and
https://github.com/prometheus/node_exporter#textfile-collector
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import FeatureDrift, Measured, MonitorReport, is_confirmed, monitor_states
from mlops_runtime.monitor.monitors.drift.feature_words import has_psi

STATE = "mlops_monitor_state"
WINDOW_END = "mlops_monitor_window_end_timestamp_seconds"
ROWS = "mlops_monitor_rows"
FEATURES = "mlops_monitor_features"
PSI = "mlops_monitor_feature_psi"
QUALITY = "mlops_monitor_quality"
VALUE = "mlops_monitor_value"
# help text by metric name
FAMILIES: Mapping[str, str] = {
    STATE: "Whether a monitor is in a state: 1 for the one that it is in, 0 for the others.",
    WINDOW_END: "End of the newest window that has a report.",
    ROWS: "Rows of the window.",
    FEATURES: "Features of the window by verdict.",
    PSI: "PSI of a feature: those with their own alarm, and the ten largest.",
    QUALITY: "A metric of quality with labels: its value, its interval at 95 %, the holdout's and its limit.",
    VALUE: "Other metrics of a monitor, by their name in CloudWatch.",
}
_LARGEST = 10

Sample = tuple[Mapping[str, str], float]
# schema of Grafana 10.4; later versions migrate it
_SCHEMA = 39
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_CHOSEN = '{endpoint=~"$endpoint"}'


def prometheus_text(report: MonitorReport) -> str:
    r"""Return a report in Prometheus text format; families without samples are omitted.

    Args:
        report: The newest window's report.

    Example:
        >>> from mlops_runtime.contracts.monitor_report import DriftResult
        >>> report = MonitorReport(endpoint="demand", variant="AllTraffic", window_from="2017-08-07T00:00:00Z",
        ...     window_until="2017-08-08T00:00:00Z", rows=5040, drift=DriftResult(), baseline_sha256=None, model_package_arn=None)
        >>> prometheus_text(report).splitlines()[-1]
        'mlops_monitor_rows{endpoint="demand",variant="AllTraffic"} 5040'
    """
    own = {"endpoint": report.endpoint, "variant": report.variant}
    families: Mapping[str, Iterable[Sample]] = {
        STATE: _states(report),
        WINDOW_END: [({}, datetime.fromisoformat(report.window_until).timestamp())],
        ROWS: [({}, report.rows)],
        FEATURES: _verdicts(report),
        PSI: [({"feature": each.name}, each.psi) for each in _named(report)],
        QUALITY: _quality(report),
        VALUE: [({"monitor": v.monitor, "name": v.name}, v.value) for v in report.metrics if v.feature is None],
    }
    lines: list[str] = []
    for name, samples in families.items():
        written = [f"{name}{{{_labels({**own, **labels})}}} {_number(value)}" for labels, value in samples]
        if written:
            lines += [f"# HELP {name} {FAMILIES[name]}", f"# TYPE {name} gauge", *written]
    return "".join(f"{line}\n" for line in lines)


def _states(report: MonitorReport) -> Iterator[Sample]:
    for monitor, found in monitor_states(report).items():
        for state in MonitorState:
            yield {"monitor": monitor, "state": state.value}, float(state is found)


def _verdicts(report: MonitorReport) -> Iterator[Sample]:
    """Yield the number of features with each verdict; a feature has exactly one."""
    if not report.drift.features:
        return
    found = dict.fromkeys(("drifted", "suspect", "steady", "in_part", "untested"), 0)
    for feature in report.drift.features:
        found[_verdict(feature)] += 1
    for verdict, number in found.items():
        yield {"verdict": verdict}, number


def _verdict(feature: FeatureDrift) -> str:
    if is_confirmed(feature):
        return "drifted"
    if feature.drifted:
        return "suspect"
    if feature.untested is not None:
        return "untested"
    return "steady" if feature.in_part is None else "in_part"


def _named(report: MonitorReport) -> list[FeatureDrift]:
    known = [feature for feature in report.drift.features if has_psi(feature)]
    largest = sorted(known, key=lambda feature: (-feature.psi, feature.name))[:_LARGEST]
    names = {*report.spec.alarm_features, *(feature.name for feature in largest)}
    return [feature for feature in known if feature.name in names]


def _quality(report: MonitorReport) -> Iterator[Sample]:
    for metric in () if report.quality is None else report.quality.metrics:
        for kind, value in _kinds(metric).items():
            if value is not None:
                yield {"metric": metric.name, "kind": kind}, value


def _kinds(metric: Measured) -> dict[str, float | None]:
    return {
        "measured": metric.value,
        "low": metric.low,
        "high": metric.high,
        "holdout": metric.baseline,
        "limit": metric.limit,
    }


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    r"""Return a label value with special characters escaped and lone surrogates replaced.

    Example:
        >>> _escaped('a "b"\\\n')
        'a \\"b\\"\\\\\\n'
    """
    text = value.encode("utf-8", "replace").decode()
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """Return a number in the syntax of Go, which Prometheus parses.

    Example:
        >>> [_number(value) for value in (5040, 0.1, float("inf"), float("nan"))]
        ['5040', '0.1', '+Inf', 'NaN']
    """
    if value != value:  # noqa: PLR0124 - NaN
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1 << 53 else repr(float(value))


def grafana_dashboard() -> dict[str, Any]:
    """Return the dashboard as a JSON model, for Grafana's import and provisioning.

    Example:
        >>> [panel["title"] for panel in grafana_dashboard()["panels"]][:2]
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
