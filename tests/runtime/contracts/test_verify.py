"""The report of a verification."""

from __future__ import annotations

import json

import pytest

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.verify import ClaimResult, ReportSignature, SignedReport, Verdict, VerifyReport

RESULT = ClaimResult(claim="canary-promotes", verdict=Verdict.PASSED, evidence="144 calls", seconds=1.5)
REPORT = VerifyReport(
    run="0a1b2c3d",
    cloud="aws",
    region="eu-west-1",
    started="2026-11-28T10:00:00+00:00",
    ended="2026-11-28T11:00:00+00:00",
    version="0.1.0",
    versions={"boto3": "1.43"},
    template_sha256="a" * 64,
    image_digest="",
    estimate_usd=1.0,
    spent_usd=0.5,
    results=(RESULT,),
    left=(),
)


def test_a_report_survives_json() -> None:
    """With its signature."""
    signed = SignedReport(report=REPORT, signature=ReportSignature(public_key="a2V5", value="c2ln"))

    assert from_json(SignedReport, canonical_json(signed)) == signed


@pytest.mark.parametrize(("name", "value"), [("cloud", "azure"), ("results", [{"claim": "a"}]), ("spent_usd", "much")])
def test_what_is_no_report_is_refused(name: str, value: object) -> None:
    """The error has the field."""
    document = json.loads(canonical_json(REPORT)) | {name: value}

    with pytest.raises(ContractError, match=name):
        from_json(VerifyReport, json.dumps(document))
