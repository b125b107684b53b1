"""Release of a model package to other environments, with size and hash of every object (``mlops.release/1``)."""

from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts.model import ModelPackageSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """Input of the Release machine: the package, the requester, and the time of the request (ISO 8601, UTC)."""

    package_arn: str
    requested_by: str
    requested_at: str
    format: Literal["mlops.release-request/1"] = "mlops.release-request/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedObject:
    """An object of the source's artifacts bucket. ``size`` is in bytes, ``sha256`` in hexadecimal digits."""

    uri: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRecord:
    """Object ``releases/<group>/<binding>.json``: written once per release by the Release machine of ``account`` and ``region``.

    ``package`` is the released package as its registry describes it, with ``package_arn``; ``binding`` is its
    ``container_sha256``. ``approved_by`` and ``approval`` are the approver in the source environment and the text of the
    approval. ``audit_sequence`` and ``audit_hash`` identify the release's record in the source's chain (``audit_chain``).
    ``released_at`` is ISO 8601, UTC. ``origin`` is the binding of the release that the source itself imported, absent if it
    trained the model. ``gate`` is absent if the source has none.

    A source may run a later version than its targets, so readers ignore unknown fields, as in every contract. Unknown fields
    cannot change what is imported: the event's hash covers the record's bytes, the binding is computed from the fields that the
    reader knows, and no other field is copied or registered. A field that targets must obey requires a new ``format``, which
    older targets reject by name.
    """

    unit: str
    group: str
    account: str
    region: str
    binding: str
    package: ModelPackageSpec
    artifact: ReleasedObject
    evaluation: ReleasedObject
    baseline: ReleasedObject
    approved_by: str
    approval: str
    execution: str
    released_at: str
    audit_chain: str
    audit_sequence: int
    audit_hash: str
    gate: ReleasedObject | None = None
    origin: str | None = None
    format: Literal["mlops.release/1"] = "mlops.release/1"

    @property
    def objects(self) -> tuple[ReleasedObject, ...]:
        """Every object that a target copies."""
        found = (self.artifact, self.evaluation, self.baseline, self.gate)
        return tuple(each for each in found if each is not None)
