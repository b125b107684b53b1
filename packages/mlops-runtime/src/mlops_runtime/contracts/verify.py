"""The signed report of a verification: the result of every claim against a real account."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Verdict(StrEnum):
    """Result of one assertion."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """One assertion: the id of its claim, and the observed evidence, without an account id."""

    claim: str
    verdict: Verdict
    evidence: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Results of one run of ``mlops verify``.

    ``cloud`` is ``aws`` only if the calls went to a host of AWS. ``template_sha256`` is the hash of the stack's template. The
    account is not included, not even as a hash: all hashes of twelve digits can be enumerated in minutes.
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
    """A signature over the canonical JSON of the report, by a KMS key that was created for the run.

    ``public_key`` and ``value`` are the DER forms that ``GetPublicKey`` and ``Sign`` return, in Base64.
    """

    public_key: str
    value: str
    algorithm: Literal["ECDSA_SHA_256"] = "ECDSA_SHA_256"
    curve: Literal["ECC_NIST_P256"] = "ECC_NIST_P256"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedReport:
    """The document to attach to an issue."""

    report: VerifyReport
    signature: ReportSignature
    format: Literal["mlops.signed-verify-report/1"] = "mlops.signed-verify-report/1"
