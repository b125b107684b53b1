"""Audit records with their authors, and their verification."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.console import audit_pages

Ask = Callable[..., tuple[int, dict[str, Any]]]


def test_records_are_shown_and_verified(ask: Ask, unit: DeployedUnit) -> None:
    """The newest first, each with its hash; the chain is held against the unit's key."""
    unit.serve(1)
    unit.serve(2)

    status, found = ask("GET", f"/audit/{unit.endpoint}")
    _, first = ask("GET", f"/audit/{unit.endpoint}/records/1")
    _, checked = ask("GET", f"/audit/{unit.endpoint}/verification")
    missing, problem = ask("GET", f"/audit/{unit.endpoint}/records/3")

    assert (status, found["sequence"], found["missing"]) == (200, 2, None)
    assert [(each["record"]["sequence"], each["who"]) for each in found["records"]] == [(2, "ann"), (1, "ann")]
    assert found["head"] == found["records"][0]["sha256"]
    assert first["record"] == found["records"][1]
    assert (checked["is_whole"], checked["records"], checked["findings"]) == (True, 2, [])
    assert (missing, "has no record 3" in problem["detail"]) == (404, True)


def test_a_record_that_was_changed_is_found(ask: Ask, unit: DeployedUnit) -> None:
    """It is not shown, nor is what lies before it."""
    unit.serve(1)
    unit.serve(2)
    key = next(key for key in unit.objects() if "/00000001-" in key)
    unit.s3.put_object(Bucket=unit.bucket, Key=key, Body=b"{}")

    _, found = ask("GET", f"/audit/{unit.endpoint}")
    _, checked = ask("GET", f"/audit/{unit.endpoint}/verification")

    assert ([each["record"]["sequence"] for each in found["records"]], found["missing"]) == ([2], 1)
    assert checked["is_whole"] is False
    assert any(key in finding for finding in checked["findings"])


def test_a_long_log_is_checked_in_parts(ask: Ask, unit: DeployedUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer names what the next is verified against; a part with another hash is broken, and half a place refused."""
    monkeypatch.setattr(audit_pages, "_PART", 2)
    for version in (1, 2, 3):
        unit.serve(version)
    where = f"/audit/{unit.endpoint}/verification"

    _, newest = ask("GET", where)
    rest = newest["rest"]
    _, oldest = ask("GET", f"{where}?until={rest['sequence']}-{rest['sha256']}")
    _, foreign = ask("GET", f"{where}?until={rest['sequence']}-{'0' * 64}")
    half, problem = ask("GET", f"{where}?until={rest['sequence']}")

    parts = [(each["first"], each["records"], each["total"], each["is_whole"]) for each in (newest, oldest)]
    assert (parts, oldest["rest"]) == ([(2, 2, 3, True), (1, 2, 3, True)], None)
    assert foreign["is_whole"] is False
    assert (half, "until" in problem["detail"]) == (422, True)
