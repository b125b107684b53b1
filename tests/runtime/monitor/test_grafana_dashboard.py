"""The Grafana dashboard: valid by Grafana's types, with existing metrics only."""

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
    """Yield the fields that Grafana's types lack or change."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from lost(value, known[name], f"{path}/{name}") if name in known else [f"{path}/{name}"]
    elif isinstance(given, list):
        for place, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from lost(one, other, f"{path}/{place}")
    elif given != known:
        yield f"{path}: {known!r}"


def read(given: dict[str, Any]) -> Any:
    """Return a dashboard as Grafana's types serialise it."""
    return json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(given)))))


def test_grafana_knows_every_field() -> None:
    """Covers the dashboard, variables, panels with options and Prometheus queries."""
    assert list(lost(dashboard(), read(dashboard()))) == []


@pytest.mark.parametrize(
    "place", [(), ("panels", 0), ("panels", 0, "options"), ("panels", 1, "targets", 0), ("templating", "list", 1)]
)
def test_a_field_that_grafana_does_not_know_is_found(place: tuple[str | int, ...]) -> None:
    """Shows that the previous test can fail."""
    made = part = dashboard()
    for step in place:
        part = part[step]  # type: ignore[index]
    part["exprr"] = "x"
    assert [path.rpartition("/")[2] for path in lost(made, read(made))] == ["exprr"]


def test_it_asks_for_what_is_written() -> None:
    """Six panels use only metrics of the exporter, for the selected endpoints."""
    made = dashboard()
    queries = [target["expr"] for panel in made["panels"] for target in panel["targets"]]
    asked = set(re.findall(r"mlops_\w+", json.dumps(made)))
    assert (len(queries), made["schemaVersion"]) == (6, 39)
    assert asked <= FAMILIES.keys()
    assert all('endpoint=~"$endpoint"' in query for query in queries)
    assert {variable["name"] for variable in made["templating"]["list"]} == {"datasource", "endpoint"}


def test_panels_do_not_overlap() -> None:
    """Two panels fit a row."""
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard()["panels"]]
    assert len(set(places)) == 6
    assert {panel["id"] for panel in dashboard()["panels"]} == set(range(1, 7))
