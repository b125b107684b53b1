"""Passport of a promotion and its model card: collected from record, package and gate, signed and verified."""

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.model import GateResult
from mlops_runtime.contracts.passport import Passport, PassportGate, SignedPassport, passport_key
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.registry.model_package import RegisteredPackage
from mlops_runtime.registry.package_registry import gate_uri
from mlops_runtime.rollout.seals import IsSigned, Sealer, readable_records

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST_BYTES = 1_000_000  # of a gate's result; a longer one is truncated, and so not valid JSON
_OF_THE_RECORD = ("container_sha256", "golden_sha256", "spec_sha256", "machine_sha256")
_OF_OTHERS_THAN_ONNX = ("flavor", "trust")
_NO_PACKAGE = "the live version has no package, or its package cannot be read"
_NO_GATE = "the package does not name its gate's result"
_WHY = {
    "code": "the package was registered without the address of its training code",
    "signing_key": "the package was registered without a signature: no gate passed its archive",
    "machine_sha256": "the execution did not pass the hash of its machine's definition",
    "container_sha256": "the deployment's plan did not contain the container's hash",
    "golden_sha256": "this container passed no golden requests",
    "approver": "SageMaker does not name the user who last changed the package",
    "approval": "the package has no approval description",
    "spec_sha256": "the deployment's plan did not contain the spec's hash",
}

_ROWS = (
    ("Package", "package"),
    ("Container", "container_sha256"),
    ("Image", "image"),
    ("Artefact (SHA-256)", "artifact_sha256"),
    ("Artefact signed with", "signing_key"),
    ("Model (SHA-256)", "model_sha256"),
    ("Baseline (SHA-256)", "baseline_sha256"),
)
_LOADED = (("Loaded by", "flavor"), ("Loading it may", "trust"))  # not shown for ONNX
_MADE = (
    ("Training set", "training_set_id"),
    ("Trained and registered by", "training_execution"),
    ("Code", "code"),
    ("Evaluation", "evaluation_uri"),
)
_RELEASED = (
    ("Approved by", "approver"),
    ("Approval", "approval"),
    ("Golden requests passed (SHA-256)", "golden_sha256"),
    ("Serving spec (SHA-256)", "spec_sha256"),
    ("Deploy machine (SHA-256)", "machine_sha256"),
)


class PassportError(ValueError):
    """A passport differs from the one that the recorder signed."""


def passport_of(
    record: AuditRecord,
    package: RegisteredPackage | None,
    description: Mapping[str, Any],
    gate: GateResult | str,
    *,
    machine_sha256: str | None,
) -> Passport:
    """Return the passport of a promotion.

    Args:
        record: The record of the promotion.
        package: The live package; None if it cannot be read.
        description: Response of DescribeModelPackage; empty without a package.
        gate: The gate's result, or why it is unknown.
        machine_sha256: Hash of the definition of the machine that promoted it; None if unknown.
    """
    spec = None if package is None else package.spec
    facts: dict[str, Any] = {
        "package": None if package is None else package.arn,
        "container_sha256": record.container_sha256,
        "image": spec and spec.image,
        "artifact_sha256": spec and spec.artifact_sha256,
        "model_sha256": spec and spec.model_sha256,
        "environment": spec and dict(spec.environment),
        "baseline_sha256": spec and spec.baseline_sha256,
        "training_set_id": spec and spec.training_set_id,
        "training_execution": spec and spec.execution,
        "code": spec and spec.code,
        "flavor": spec and spec.flavor,
        "trust": spec and spec.trust,
        "signing_key": spec and spec.signing_key,
        "evaluation_uri": spec and spec.evaluation_uri,
        "gate": None if spec is None or isinstance(gate, str) else _gate(gate, spec.evaluation_uri),
        "approver": None if package is None else package.approved_by,
        "approval": description.get("ApprovalDescription"),
        "golden_sha256": record.golden_sha256,
        "spec_sha256": record.spec_sha256,
        "machine_sha256": machine_sha256,
    }
    why = _WHY | {"gate": gate if isinstance(gate, str) else _NO_GATE}
    missing = {
        name: why.get(name, _NO_PACKAGE) if package is not None or name in _OF_THE_RECORD else _NO_PACKAGE
        for name, value in facts.items()
        if value is None and (package is None or name not in _OF_OTHERS_THAN_ONNX)
    }
    return Passport(
        endpoint=record.endpoint,
        sequence=record.sequence,
        at=record.at,
        execution=record.execution,
        requested_by=record.requested_by,
        not_recorded=missing,
        **facts,
    )


def sign_passport(passport: Passport, sealer: Sealer) -> SignedPassport:
    """Sign a passport's hash."""
    return SignedPassport(passport=passport, key=sealer.key, signature=sealer.sign(_statement(passport, sealer.key)))


def read_passport(content: bytes | str, is_signed: IsSigned) -> Passport:
    """Verify and return a passport that the recorder signed.

    Raises:
        PassportError: If the content is not a signed passport, or was changed.
    """
    try:
        signed = from_json(SignedPassport, content)
        signature = base64.b64decode(signed.signature, validate=True)
    except (ContractError, binascii.Error) as error:
        raise PassportError(f"not a signed passport: {error}") from error
    if canonical_json(signed) != (content.encode() if isinstance(content, str) else content):
        raise PassportError("the file differs from what the recorder wrote")
    if not is_signed(_statement(signed.passport, signed.key), signature):
        raise PassportError("the passport is not signed with the unit's key")
    return signed.passport


def _statement(passport: Passport, key: str) -> bytes:
    return canonical_json({"format": passport.format, "key": key, "sha256": content_hash(passport)})


def broken_passports(objects: Mapping[str, bytes], passports: Mapping[str, bytes], *, is_signed: IsSigned) -> list[str]:
    """Return the problems of passports.

    A passport that no record names was left by an interrupted writer; only its signature is checked.

    Args:
        objects: Content of each audit object by key.
        passports: Content of each passport by key.
        is_signed: Returns whether the unit's key made the signature of a message.
    """
    named: dict[str, str] = {}
    for record, _ in readable_records(objects):
        if (digest := record.passport_sha256) is not None:
            named[passport_key(record.endpoint, record.sequence, digest)] = digest
    problems = [f"{key} is missing" for key in sorted(named.keys() - passports.keys())]
    for key, content in sorted(passports.items()):
        try:
            passport = read_passport(content, is_signed)
        except PassportError as error:
            problems.append(f"{key}: {error}")
            continue
        if named.get(key, content_hash(passport)) != content_hash(passport):
            problems.append(f"{key} is not the passport that its record names")
    return problems


def read_gate(s3: "S3Client", description: Mapping[str, Any]) -> GateResult | str:
    """Return the gate's result of a package, or why it is unknown; invalid content must not fail the record."""
    metadata: Mapping[str, str] = description.get("CustomerMetadataProperties", {})
    uri = gate_uri(metadata.get("evaluation_uri"))
    if uri is None:
        return _NO_GATE
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"].read(MOST_BYTES + 1)
        result = from_json(GateResult, body)
    except (BotoCoreError, ClientError, ContractError) as error:
        return f"{uri} cannot be read: {type(error).__name__}: {str(error)[:300]}"
    registered = metadata.get("evaluation_sha256", result.evaluation_sha256)
    if registered != result.evaluation_sha256:
        return f"{uri} names an evaluation with SHA-256 {result.evaluation_sha256}, but {registered} is registered"
    return result


def _gate(result: GateResult, evaluation_uri: str) -> PassportGate | None:
    uri = gate_uri(evaluation_uri)
    if uri is None:
        return None
    return PassportGate(
        verdict=result.verdict.value, reason=result.reason, uri=uri, evaluation_sha256=result.evaluation_sha256
    )


def model_card(passport: Passport) -> str:
    """Return the model card of a promotion."""
    gate = passport.gate
    lines = [
        f"# {_text(passport.endpoint)}: {_text((passport.package or 'a model without a package').rpartition('/')[2])}",
        "",
        f"Promoted {_text(passport.at)} by {_text(passport.execution)}, requested by {_text(passport.requested_by)}; "
        f"audit record {passport.sequence}.",
        "",
        *_section("What it is", _ROWS if passport.trust is None else (*_ROWS, *_LOADED), passport),
        *_section("How it was made", _MADE, passport),
        "## Gate",
        "",
        _missing("gate", passport)
        if gate is None
        else f"{_text(gate.verdict)}: {_text(gate.reason)} (evaluation {gate.evaluation_sha256}, {_text(gate.uri)})",
        "",
        *_section("How it was released", _RELEASED, passport),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _section(title: str, rows: tuple[tuple[str, str], ...], passport: Passport) -> list[str]:
    table = ["| | |", "|---|---|"]
    for head, name in rows:
        value = getattr(passport, name)
        table.append(f"| {head} | {_missing(name, passport) if value is None else _text(str(value))} |")
    return [f"## {title}", "", *table, ""]


def _missing(name: str, passport: Passport) -> str:
    return f"not recorded: {_text(passport.not_recorded.get(name, 'no reason was given'))}"


def _text(value: str) -> str:
    """Return a string with Markdown and HTML escaped."""
    flat = " ".join(value.split())
    for mark in ("\\", "|", "<", "[", "`", "*", "_", "#"):
        flat = flat.replace(mark, f"\\{mark}")
    return flat
