"""Requests of the cloud to itself."""

from mlops_local.gateway.own_front import path_on_the_wire


def test_a_path_is_encoded_as_signatures_want_it() -> None:
    """Once, with slashes unchanged."""
    assert path_on_the_wire("/a b/ü~%2F+") == "/a%20b/%C3%BC~%252F%2B"
