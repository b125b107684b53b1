"""A report as Prometheus text, read back by Prometheus' Python client, and its Grafana dashboard, valid by Grafana's types.

The dashboard has existing metrics only.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families
from tests.runtime.monitor import reports

from mlops_runtime.contracts.monitor import MetricValue, MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, FeatureDrift, Measured, MonitorReport, QualityResult
from mlops_runtime.monitor.prometheus_metrics import (
    FAMILIES,
    FEATURES,
    PSI,
    QUALITY,
    STATE,
    VALUE,
    WINDOW_END,
    grafana_dashboard,
    prometheus_text,
)
from mlops_runtime.monitor.spec import MonitorSpec

Labels = dict[str, str]
register_default_plugins()


def read(text: str) -> dict[str, list[tuple[Labels, float]]]:
    """Return the samples of each family without the endpoint's labels."""
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        for sample in family.samples:
            assert sample.timestamp is None  # a timestamp hours old would be stale at the scrape
            labels = {name: value for name, value in sample.labels.items() if name not in ("endpoint", "variant")}
            assert len(labels) == len(sample.labels) - 2
            found.setdefault(sample.name, []).append((labels, sample.value))
    return found


def report(*features: FeatureDrift, **fields: object) -> MonitorReport:
    """Return the report of a window."""
    made = MonitorReport(
        endpoint="demand-forecast",
        variant="AllTraffic",
        window_from="2017-08-07T06:00:00Z",
        window_until="2017-08-08T06:00:00Z",
        rows=5040,
        drift=DriftResult(state=MonitorState.VIOLATION, features=features),
        baseline_sha256=None,
        model_package_arn=None,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def feature(name: str, psi: float = 0.0, **fields: object) -> FeatureDrift:
    """Return a stable feature."""
    return replace(FeatureDrift(name=name, psi=psi, p_value=1.0, drifted=False), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(reports.SAMPLES))
def test_every_kind_of_report_is_read(name: str) -> None:
    """Silence, classes, bias and a changed baseline are readable; names are declared, series are unique."""
    one = reports.SAMPLES[name]().report
    found = read(prometheus_text(one))
    assert found.keys() <= FAMILIES.keys()
    assert found[WINDOW_END] == [({}, datetime.fromisoformat(one.window_until).timestamp())]
    for samples in found.values():
        keys = [tuple(sorted(labels.items())) for labels, _ in samples]
        assert len(keys) == len(set(keys))


def test_each_state_is_a_series() -> None:
    """The current state is 1 and all others 0, so that former states are not stale."""
    found = read(prometheus_text(report()))
    assert [labels["state"] for labels, value in found[STATE] if value == 1] == ["VIOLATION"]
    assert len(found[STATE]) == len(MonitorState)


def test_features_are_bounded() -> None:
    """The ten features with the largest PSI and those with alarms have series; untested ones have no PSI."""
    many = [feature(f"f{i:02}", psi=i / 100) for i in range(40)]
    one = report(*many, feature("odd", psi=9.0, untested="too few"), spec=MonitorSpec(alarm_features=("f00",)))
    names = {labels["feature"] for labels, _ in read(prometheus_text(one))[PSI]}
    assert names == {"f00", *(f"f{i}" for i in range(30, 40))}


def test_each_feature_has_one_verdict() -> None:
    """Also for drift of a single window, and for partly tested features."""
    found = read(
        prometheus_text(
            report(
                feature("a", drifted=True, persistent=True),
                feature("b", drifted=True, persistent=False),
                feature("c", in_part="few rows"),
                feature("d", untested="few rows"),
                feature("e"),
                feature("f"),
            )
        )
    )
    verdicts = {labels["verdict"]: value for labels, value in found[FEATURES]}
    assert verdicts == {"drifted": 1, "suspect": 1, "in_part": 1, "untested": 1, "steady": 2}


def test_names_that_callers_chose_break_no_line() -> None:
    """Quotes, backslashes, line endings, braces and lone surrogates are escaped."""
    names = ['a "quoted" name', "back\\slash", "two\nlines", 'x"} 1\nother{y="', "caf\u00e9", "\\n"]
    found = read(prometheus_text(report(*(feature(name, psi=1.0) for name in names))))
    assert [labels["feature"] for labels, _ in found[PSI]] == names
    assert read(prometheus_text(report(feature("\ud800", psi=1.0))))[PSI] == [({"feature": "?"}, 1.0)]


def test_quality_has_its_interval_and_other_values_their_names() -> None:
    """An unknown value has no sample, an infinite one has."""
    metric = Measured(name="wape", value=0.4, low=0.3, high=float("inf"), baseline=0.2)
    one = report(
        quality=QualityResult(state=MonitorState.OK, metrics=(metric,)),
        metrics=(MetricValue("latency", "LatencyRatio", 1.25), MetricValue("drift", "Psi", 0.5, "price")),
    )
    found = read(prometheus_text(one))
    assert {labels["kind"]: value for labels, value in found[QUALITY]} == {
        "measured": 0.4,
        "low": 0.3,
        "high": float("inf"),
        "holdout": 0.2,
    }
    assert found[VALUE] == [({"monitor": "latency", "name": "LatencyRatio"}, 1.25)]


def test_the_window_is_dated_in_utc() -> None:
    """Times are in seconds since 1970."""
    expected = datetime(2017, 8, 8, 6, tzinfo=UTC).timestamp()
    assert read(prometheus_text(report()))[WINDOW_END] == [({}, expected)]


def lost(given: Any, known: Any, path: str = "") -> Iterator[str]:
    """Yield the fields that Grafana's types lack or change."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from lost(value, known[name], f"{path}/{name}") if name in known else [f"{path}/{name}"]
    elif isinstance(given, list):
        for place, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from lost(one, other, f"{path}/{place}")
    elif given != known:
        yield f"{path}: {known!r}"


def read_dashboard(given: dict[str, Any]) -> Any:
    """Return a dashboard as Grafana's types serialise it."""
    return json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(given)))))


def test_grafana_knows_every_field() -> None:
    """Covers the dashboard, variables, panels with options and Prometheus queries."""
    assert list(lost(grafana_dashboard(), read_dashboard(grafana_dashboard()))) == []


@pytest.mark.parametrize(
    "place", [(), ("panels", 0), ("panels", 0, "options"), ("panels", 1, "targets", 0), ("templating", "list", 1)]
)
def test_a_field_that_grafana_does_not_know_is_found(place: tuple[str | int, ...]) -> None:
    """Shows that the previous test can fail."""
    made = part = grafana_dashboard()
    for step in place:
        part = part[step]  # type: ignore[index]
    part["exprr"] = "x"
    assert [path.rpartition("/")[2] for path in lost(made, read_dashboard(made))] == ["exprr"]


def test_it_asks_for_what_is_written() -> None:
    """Six panels use only metrics of the exporter, for the selected endpoints."""
    made = grafana_dashboard()
    queries = [target["expr"] for panel in made["panels"] for target in panel["targets"]]
    queried = set(re.findall(r"mlops_\w+", json.dumps(made)))
    assert (len(queries), made["schemaVersion"]) == (6, 39)
    assert queried <= FAMILIES.keys()
    assert all('endpoint=~"$endpoint"' in query for query in queries)
    assert {variable["name"] for variable in made["templating"]["list"]} == {"datasource", "endpoint"}


def test_panels_do_not_overlap() -> None:
    """Two panels fit a row."""
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in grafana_dashboard()["panels"]]
    assert len(set(places)) == 6
    assert {panel["id"] for panel in grafana_dashboard()["panels"]} == set(range(1, 7))
