"""Signature of a report with an AWS KMS key, and verification without an account: ECDSA on P-256 with SHA-256."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.verify import ReportSignature, SignedReport, Verdict, VerifyReport
from mlops_runtime.verify.account import TAG, Names
from mlops_runtime.verify.problems import VerifyError

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
# SubjectPublicKeyInfo of an uncompressed point on P-256
_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_Point = tuple[int, int] | None
_Jacobian = tuple[int, int, int]  # x / z^2, y / z^3
_INFINITY: _Jacobian = (1, 1, 0)

PENDING_DAYS = 7  # KMS's minimum: https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html


def verify_p256(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether a signature of a message was made by the holder of a key.

    Args:
        public_key: DER encoding (SubjectPublicKeyInfo), as returned by ``GetPublicKey`` of AWS KMS.
        signature: DER encoding, as returned by ``Sign``.
        message: The message, not its hash.
    """
    point, numbers = _read_key(public_key), _read_signature(signature)
    if point is None or numbers is None:
        return False
    r, s = numbers
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    inverse = pow(s, -1, _N)
    x, _, z = _sum_of_products(digest * inverse % _N, _G, r * inverse % _N, point)
    return z != 0 and x * pow(z * z, -1, _P) % _P % _N == r


def is_key(public_key: bytes) -> bool:
    """Return whether bytes are the DER encoding of a public key on P-256."""
    return _read_key(public_key) is not None


def _read_key(der: bytes) -> _Point:
    if len(der) != len(_PREFIX) + 65 or not der.startswith(_PREFIX) or der[len(_PREFIX)] != 4:
        return None
    body = der[len(_PREFIX) + 1 :]
    x, y = int.from_bytes(body[:32], "big"), int.from_bytes(body[32:], "big")
    is_on_curve = x < _P and y < _P and (y * y - (x * x * x - 3 * x + _B)) % _P == 0
    return (x, y) if is_on_curve else None


def _read_signature(der: bytes) -> tuple[int, int] | None:
    """Return the two numbers of a signature; None unless it has the canonical DER encoding."""
    if len(der) < 8 or der[0] != 0x30 or der[1] != len(der) - 2:
        return None
    first, rest = _read_integer(der[2:])
    second, end = _read_integer(rest)
    if first is None or second is None or end or not (0 < first < _N and 0 < second < _N):
        return None
    return first, second


def _read_integer(der: bytes) -> tuple[int | None, bytes]:
    if len(der) < 3 or der[0] != 0x02 or not 0 < der[1] <= len(der) - 2:
        return None, b""
    body = der[2 : 2 + der[1]]
    if body[0] & 0x80 or (len(body) > 1 and body[0] == 0 and not body[1] & 0x80):
        return None, b""
    return int.from_bytes(body, "big"), der[2 + der[1] :]


def _sum_of_products(one: int, first: tuple[int, int], other: int, second: tuple[int, int]) -> _Jacobian:
    """Return ``one * first + other * second`` in one pass over the bits, in Jacobian coordinates without divisions."""
    a, b = (*first, 1), (*second, 1)
    table = {1: a, 2: b, 3: _add(a, b)}
    found: _Jacobian = _INFINITY
    for bit in range(max(one.bit_length(), other.bit_length()) - 1, -1, -1):
        found = _double(found)
        which = (one >> bit & 1) | (other >> bit & 1) << 1
        if which:
            found = _add(found, table[which])
    return found


def _double(point: _Jacobian) -> _Jacobian:
    """See: https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian-3.html#doubling-dbl-2001-b."""
    x, y, z = point
    if z == 0 or y == 0:
        return _INFINITY
    square, cube = z * z % _P, y * y % _P
    product, alpha = x * cube % _P, 3 * (x - square) * (x + square) % _P
    new = (alpha * alpha - 8 * product) % _P
    return new, (alpha * (4 * product - new) - 8 * cube * cube) % _P, ((y + z) ** 2 - cube - square) % _P


def _add(one: _Jacobian, other: _Jacobian) -> _Jacobian:
    """See: https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian-3.html#addition-add-1998-cmo-2."""
    if one[2] == 0 or other[2] == 0:
        return one if other[2] == 0 else other
    (x1, y1, z1), (x2, y2, z2) = one, other
    square1, square2 = z1 * z1 % _P, z2 * z2 % _P
    left, right = x1 * square2 % _P, x2 * square1 % _P
    up, down = y1 * square2 * z2 % _P, y2 * square1 * z1 % _P
    if left == right:
        return _double(one) if up == down else _INFINITY
    wide, high = (right - left) % _P, (down - up) % _P
    wide2 = wide * wide % _P
    wide3, middle = wide * wide2 % _P, left * wide2 % _P
    x = (high * high - wide3 - 2 * middle) % _P
    return x, (high * (middle - x) - up * wide3) % _P, wide * z1 * z2 % _P


def sign(kms: "KMSClient", names: Names, report: VerifyReport, *, made: Callable[[str], None]) -> SignedReport:
    """Create a key, sign the report with it, and schedule the key's deletion.

    Args:
        kms: Client.
        names: Names in the account; the key is found by their tag.
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
    """A report with a valid signature."""

    report: VerifyReport
    report_sha256: str  # SHA-256 of its canonical JSON
    key_sha256: str  # SHA-256 of the public key, which the run printed

    def seen(self) -> list[dict[str, object]]:
        """Return the entries for the ledger: for each claim that passed or failed, date, region, and the report's hash."""
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

    Raises:
        VerifyError: If it is not a signed report, or was changed after it was signed.
    """
    try:
        signed = from_json(SignedReport, text)
        # the signature covers the stored document, not its parsed form
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
        report=signed.report, report_sha256=hashlib.sha256(body).hexdigest(), key_sha256=fingerprint(signed.signature)
    )


def fingerprint(signature: ReportSignature) -> str:
    """Return the SHA-256 of the public key of a signature."""
    return hashlib.sha256(base64.b64decode(signature.public_key)).hexdigest()
