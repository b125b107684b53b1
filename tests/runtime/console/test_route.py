"""Addresses that match a route."""

import pytest

from mlops_runtime.console.route import Route

ROUTE = Route(method="GET", path="/units/{unit}/endpoints/{endpoint}", operation="x", summary="", act=str)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/units/retail/endpoints/a/b",
        "/api/v1/units/retail/endpoints/",
        "/api/v1/units/retail/endpoints/..",
        "/api/v1/units/retail/endpoints/a%0Ab",
        "/api/v1/units/retail/endpoints/a-",
        "/api/v1/units/retail/endpoints/" + "a" * 65,
        "/api/v1/units/r%C3%A9tail/endpoints/a",
        "/api/v2/units/retail/endpoints/a",
    ],
)
def test_names_are_names(path: str) -> None:
    """Nothing else reaches an operation."""
    assert ROUTE.match(path) is None


def test_names_are_decoded() -> None:
    """Once."""
    assert ROUTE.match("/api/v1/units/re%74ail/endpoints/demand-forecast") == {
        "unit": "retail",
        "endpoint": "demand-forecast",
    }
    assert ROUTE.names == ("unit", "endpoint")
