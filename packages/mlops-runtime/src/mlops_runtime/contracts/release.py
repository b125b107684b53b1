"""What one environment releases to others: a package with every object of it by size and hash (``mlops.release/1``)."""

from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts.model import ModelPackageSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """Input of the Release machine: which package, by what it was asked for, and when (ISO 8601, UTC)."""

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
    """Object ``releases/<group>/<binding>.json``: written once a release, by the Release machine of ``account`` and ``region``.

    ``package`` is the released package as its registry describes it, with ``package_arn``; ``binding`` its
    ``container_sha256``. ``approved_by`` and ``approval`` are who approved it there and in which words. ``audit_sequence`` and
    ``audit_hash`` name the record of the source's chain (``audit_chain``) that the release is in. ``released_at`` is ISO 8601, UTC.
    ``origin`` is the binding of the release that the source itself took, absent where it trained the model; ``gate`` is absent
    where the source has none.

    A source may be of a later version than its targets, so a field that a reader does not know is ignored, as in every contract. It
    cannot change what is taken: the event's hash is of the record's bytes, the binding is computed of what the reader knows, and
    no other field is copied or registered. A field that a target must obey makes a new ``format``, which is refused by name.
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
