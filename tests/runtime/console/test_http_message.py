"""HTTP responses and problems."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mlops_runtime.console.http_message import answer, refused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    now: datetime
    summary: str


PAGE = _Page(now=datetime(2017, 8, 10, tzinfo=UTC), summary="drift")


def test_the_time_alone_makes_no_other_answer() -> None:
    """What was seen is answered by 304, whatever else the caller has seen."""
    first = answer(200, PAGE)
    later = answer(
        200, _Page(now=PAGE.now + timedelta(hours=1), summary="drift"), seen=f'"other", {first.headers["ETag"]}'
    )
    other = answer(200, _Page(now=PAGE.now, summary="quality"), seen=first.headers["ETag"])

    assert (first.status, later.status, later.body, other.status) == (200, 304, b"", 200)
    assert json.loads(first.body) == {"now": "2017-08-10T00:00:00Z", "summary": "drift"}


def test_a_problem_names_its_kind() -> None:
    """And leaves out reasons where there is one alone."""
    found = refused(404, "not found", "no such unit")

    assert found.headers["Content-Type"] == "application/problem+json"
    assert json.loads(found.body) == {
        "type": "urn:mlops:problem:not-found",
        "title": "not found",
        "status": 404,
        "detail": "no such unit",
        "problems": [],
    }
