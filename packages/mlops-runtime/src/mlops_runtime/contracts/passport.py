"""Facts about a model at its promotion, in one self-contained document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PassportGate:
    """Decision of the gate on the model: verdict and reason, and the hash of the evaluation."""

    verdict: str
    reason: str
    uri: str
    evaluation_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passport:
    """Written by the recorder at each promotion, beside the audit record of ``sequence``.

    ``image``, ``artifact_sha256``, ``model_sha256`` and ``environment`` define the package's container, ``container_sha256`` is
    the hash of all of it. ``approver`` is the approver that SageMaker reports. ``golden_sha256`` is the hash of the golden
    requests that this container has passed, ``training_execution`` the execution that trained and registered it. ``code`` is
    the URI, by hash, of the training code that SageMaker reports for the job. ``signing_key`` is the key that signed the
    archive after a gate passed it, ``machine_sha256`` the hash of the Deploy machine's definition
    (``rollout.definition_hash``). ``flavor`` and ``trust`` are the loader of a model that is not ONNX and what loading it may
    do. Other missing values are null; ``not_recorded`` gives the reason by field name.
    """

    endpoint: str
    sequence: int
    at: str
    execution: str
    requested_by: str
    package: str | None = None
    container_sha256: str | None = None
    image: str | None = None
    artifact_sha256: str | None = None
    model_sha256: str | None = None
    environment: Mapping[str, str] | None = None
    baseline_sha256: str | None = None
    training_set_id: str | None = None
    training_execution: str | None = None
    code: str | None = None
    signing_key: str | None = None
    evaluation_uri: str | None = None
    gate: PassportGate | None = None
    approver: str | None = None
    approval: str | None = None
    golden_sha256: str | None = None
    spec_sha256: str | None = None
    machine_sha256: str | None = None
    flavor: str | None = None
    trust: str | None = None
    not_recorded: Mapping[str, str] = field(default_factory=dict)
    format: Literal["mlops.passport/1"] = "mlops.passport/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPassport:
    """A passport and the signature of its hash (DER, base64) by the key that signs audit records."""

    passport: Passport
    key: str
    signature: str
    format: Literal["mlops.signed-passport/1"] = "mlops.signed-passport/1"


def passport_key(endpoint: str, sequence: int, digest: str) -> str:
    """Return ``passports/<endpoint>/<sequence, eight digits>-<first 16 of the passport's hash>.json``."""
    return f"passports/{endpoint}/{sequence:08d}-{digest[:16]}.json"
