"""The route table has everything that the document and the dispatch need."""

from mlops_runtime.console.route import Role
from mlops_runtime.console.route_table import ROUTES


def test_each_operation_and_address_is_there_once() -> None:
    """Clients that are generated name functions by them."""
    names = [route.operation for route in ROUTES]
    addresses = [(route.method, route.path) for route in ROUTES]

    assert len(set(names)) == len(names) > 15
    assert len(set(addresses)) == len(addresses)


def test_reads_are_the_readers_and_writes_are_not() -> None:
    """But the embedded clock, which nothing on AWS has."""
    assert {route.role for route in ROUTES if route.method == "GET"} == {Role.READER}
    assert [route.operation for route in ROUTES if route.method != "GET" and route.role is Role.READER] == ["moveClock"]
    assert all(route.takes is not None for route in ROUTES if route.method == "POST")
