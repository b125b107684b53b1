"""Allowed callers of a server on a developer's machine."""

import pytest

from mlops_runtime.serving.callers import refusal

HOSTS = {"127.0.0.1:8080", "localhost:8080"}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"host": "127.0.0.1:8080"}, None),
        ({"host": "LOCALHOST:8080"}, None),
        ({"host": "localhost:8080", "origin": "http://localhost:8080", "sec-fetch-site": "same-origin"}, None),
        ({"host": "localhost:8080", "sec-fetch-site": "none"}, None),
        ({"host": "localhost:8080", "origin": "http://localhost:9090"}, "origin 'http://localhost:9090'"),
        ({"host": "localhost:8080", "origin": "null"}, "origin 'null'"),
        ({"host": "localhost:8080", "sec-fetch-site": "same-site"}, "another site (same-site)"),
        ({"host": "evil.example:8080"}, "use 127.0.0.1:8080 or localhost:8080"),
        ({"host": "127.0.0.1"}, "Host '127.0.0.1'"),
        ({}, "Host ''"),
    ],
)
def test_pages_and_foreign_names_are_refused(headers: dict[str, str], reason: str | None) -> None:
    """Programs send no ``Origin``; a page's own name is in ``Host``."""
    found = refusal([(name.encode(), value.encode()) for name, value in headers.items()], HOSTS)
    assert found is None if reason is None else found is not None and reason in found
