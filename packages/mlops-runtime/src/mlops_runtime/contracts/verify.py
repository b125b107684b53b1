"""The report of a verification: what a real account showed, claim by claim, with a signature."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Verdict(StrEnum):
    """What became of one assertion."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """One assertion: the id of its claim, and what was seen, without an account id."""

    claim: str
    verdict: Verdict
    evidence: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What one run of ``mlops verify`` saw.

    ``cloud`` is ``aws`` only where the calls went to a host of AWS. ``template_sha256`` is of the stack's template. The account is
    not named, not even by a hash: twelve digits are counted through in minutes.
    """

    run: str
    cloud: Literal["aws", "embedded"]
    region: str
    started: str
    ended: str
    version: str
    versions: dict[str, str]
    template_sha256: str
    image_digest: str
    estimate_usd: float
    spent_usd: float
    results: tuple[ClaimResult, ...]
    left: tuple[str, ...]
    format: Literal["mlops.verify-report/1"] = "mlops.verify-report/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSignature:
    """A signature over the canonical JSON of the report, by a key that AWS KMS made for the run.

    ``public_key`` is the DER form that ``GetPublicKey`` gives, ``value`` the DER form that ``Sign`` gives, both in Base64.
    """

    public_key: str
    value: str
    algorithm: Literal["ECDSA_SHA_256"] = "ECDSA_SHA_256"
    curve: Literal["ECC_NIST_P256"] = "ECC_NIST_P256"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedReport:
    """What is attached to an issue."""

    report: VerifyReport
    signature: ReportSignature
    format: Literal["mlops.signed-verify-report/1"] = "mlops.signed-verify-report/1"
