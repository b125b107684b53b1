"""The Grafana dashboard: by Grafana's own types, and of metrics that are written."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from mlops_runtime.monitor.grafana_dashboard import dashboard
from mlops_runtime.monitor.prometheus_text import FAMILIES

register_default_plugins()


def lost(given: Any, known: Any, path: str = "") -> Iterator[str]:
    """Yield what Grafana's types do not have, or have another value for."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from lost(value, known[name], f"{path}/{name}") if name in known else [f"{path}/{name}"]
    elif isinstance(given, list):
        for place, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from lost(one, other, f"{path}/{place}")
    elif given != known:
        yield f"{path}: {known!r}"


def read(given: dict[str, Any]) -> Any:
    """Return a dashboard as Grafana's types write what they read."""
    return json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(given)))))


def test_grafana_knows_every_field() -> None:
    """Of the dashboard, its variables, its panels with their options, and their queries of Prometheus."""
    assert list(lost(dashboard(), read(dashboard()))) == []


@pytest.mark.parametrize(
    "place", [(), ("panels", 0), ("panels", 0, "options"), ("panels", 1, "targets", 0), ("templating", "list", 1)]
)
def test_a_field_that_grafana_does_not_know_is_found(place: tuple[str | int, ...]) -> None:
    """Else the test above would say nothing."""
    made = part = dashboard()
    for step in place:
        part = part[step]  # type: ignore[index]
    part["exprr"] = "x"
    assert [path.rpartition("/")[2] for path in lost(made, read(made))] == ["exprr"]


def test_it_asks_for_what_is_written() -> None:
    """Six panels, none of a metric that the exporter does not write, all of the endpoints that are chosen."""
    made = dashboard()
    queries = [target["expr"] for panel in made["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"mlops_\w+", json.dumps(made)))
    assert (len(queries), made["schemaVersion"]) == (6, 39)
    assert asked <= FAMILIES.keys()
    assert all('endpoint=~"$endpoint"' in query for query in queries)
    assert {variable["name"] for variable in made["templating"]["list"]} == {"datasource", "endpoint"}


def test_panels_do_not_overlap() -> None:
    """Two a row."""
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard()["panels"]]
    assert len(set(places)) == 6
    assert {panel["id"] for panel in dashboard()["panels"]} == set(range(1, 7))
