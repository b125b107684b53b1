"""Sign a report with a key that AWS KMS makes for it, and check one without an account."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.verify import ReportSignature, SignedReport, Verdict, VerifyReport
from mlops_runtime.verify.names import TAG, Names
from mlops_runtime.verify.p256 import verify as verify_p256
from mlops_runtime.verify.problems import VerifyError

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

PENDING_DAYS = (
    7  # the least that KMS allows: https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
)


def sign(kms: "KMSClient", names: Names, report: VerifyReport, *, made: Callable[[str], None]) -> SignedReport:
    """Make a key, sign the report with it, and schedule the key's deletion.

    Args:
        kms: Client.
        names: Names in the account; the key is found by their tag.
        report: The report.
        made: Called with the key's id as soon as it exists.
    """
    key = kms.create_key(
        Description="Signs one report of mlops verify",
        KeySpec="ECC_NIST_P256",
        KeyUsage="SIGN_VERIFY",
        Tags=[{"TagKey": TAG, "TagValue": names.unit}],
    )["KeyMetadata"]["KeyId"]
    made(key)
    try:
        digest = hashlib.sha256(canonical_json(report)).digest()
        public = kms.get_public_key(KeyId=key)["PublicKey"]
        value = kms.sign(KeyId=key, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    finally:
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=PENDING_DAYS)
    signature = ReportSignature(public_key=base64.b64encode(public).decode(), value=base64.b64encode(value).decode())
    return SignedReport(report=report, signature=signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A report whose signature is right.

    Args:
        report: The report.
        report_sha256: SHA-256 of its canonical JSON.
        key_sha256: SHA-256 of the public key, as the run printed it.
    """

    report: VerifyReport
    report_sha256: str
    key_sha256: str

    def seen(self) -> list[dict[str, Any]]:
        """Return what the ledger records: for each claim that passed or failed, where and when, and the report's hash."""
        return [
            {
                "id": result.claim,
                "seen": {
                    "date": self.report.ended[:10],
                    "region": self.report.region,
                    "report": self.report_sha256,
                    "result": result.verdict.value,
                },
            }
            for result in self.report.results
            if result.verdict is not Verdict.SKIPPED
        ]


def check(text: str | bytes) -> Checked:
    """Check a signed report without an account.

    Args:
        text: The file.

    Raises:
        VerifyError: If it is not a signed report, or was changed after it was signed.
    """
    try:
        signed = from_json(SignedReport, text)
        # what was signed is the document as it stands, not what this version reads of it
        document = json.loads(text)["report"]
        public = base64.b64decode(signed.signature.public_key, validate=True)
        value = base64.b64decode(signed.signature.value, validate=True)
    except (ContractError, binascii.Error) as error:
        raise VerifyError(
            f"not a signed report of mlops verify: {error}; attach the file as the run wrote it"
        ) from error
    body = canonical_json(document)
    if not verify_p256(public, value, body):
        raise VerifyError("the report was changed after it was signed, or the signature was; run mlops verify again")
    return Checked(
        report=signed.report,
        report_sha256=hashlib.sha256(body).hexdigest(),
        key_sha256=fingerprint(signed.signature),
    )


def fingerprint(signature: ReportSignature) -> str:
    """Return the SHA-256 of the public key of a signature.

    Args:
        signature: The signature.
    """
    return hashlib.sha256(base64.b64decode(signature.public_key)).hexdigest()
