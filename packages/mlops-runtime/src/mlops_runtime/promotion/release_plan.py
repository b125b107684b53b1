"""Checks of a target on a release: its record by itself, against the source's registry, and against earlier releases.

Pure. All problems are reported together, and any problem refuses the whole release.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict, ModelPackageSpec
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.release import ReleasedObject, ReleaseRecord
from mlops_runtime.promotion.environment_link import LinkedEnvironment, release_key
from mlops_runtime.registry.model_package import (
    ABSENT,
    PackageError,
    container_sha256,
    package_container,
    package_metadata,
    read_package,
    registered_metadata,
)
from mlops_runtime.registry.package_approval import bound_by, trust_problems

MAXIMUM_RECORD = 65_536  # bytes; a record names a package and at most four objects
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html: one call copies 5 GB at most
MAXIMUM_OBJECT = 5 * 1024**3
CLOCKS = timedelta(minutes=5)  # tolerated lead of the source's clock
COPIES = {"artifact": "model.tar.gz", "evaluation": "evaluation.json", "baseline": "baseline.json", "gate": "gate.json"}

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME = re.compile(r"[!-~]{1,2048}")
_FOLDERS = "models|evaluations|gates|releases"
# the platform's keys, which need no encoding in the source of a copy
_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>[\w./=-]{1,900})", re.ASCII)
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.(?P<suffix>amazonaws\.com(?:\.cn)?)/"
    r"(?P<repository>[a-z0-9][a-z0-9._/-]{1,255})@(?P<digest>sha256:[0-9a-f]{64})",
    re.ASCII,
)
_SHOWN = 200


class ReleaseRefusedError(ValueError):
    """A release is refused; the message lists every problem.

    Attributes:
        problems: Each problem.
        may_pass: Whether the same release may be taken later, once a cause outside of it is fixed.
    """

    def __init__(self, problems: Sequence[str], *, may_pass: bool = False) -> None:
        self.problems, self.may_pass = tuple(problems), may_pass
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The environment that takes releases of one model."""

    unit: str  # name of the unit, the same on both sides
    group: str  # the package group, the same on both sides
    here: LinkedEnvironment  # account and Region of the target
    source: LinkedEnvironment  # account and Region of the source
    source_name: str  # display name of the source
    bucket: str  # artifacts bucket of the target
    signing_key: str  # ARN of the key that signs archives here
    trust: tuple[Trust, ...] | None = None  # allowed effects of loading a model here. Default: data and code
    shares_images: bool = False  # whether an image may be in the source's registry. Default: only in the target's own

    @property
    def is_source_readable(self) -> bool:
        """Whether the source's registry can be read, which is only possible in the same Region."""
        return self.here.region == self.source.region


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An object to copy: from the source to ``incoming``, and from there to ``key``, which derives from the content."""

    name: str
    source: str
    incoming: str
    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a registry of the target's Region; ``digest`` begins with ``sha256:``."""

    registry: str
    repository: str
    digest: str


def incoming_prefix(group: str, execution: str) -> str:
    """Return the prefix to which an execution copies objects before they are checked.

    Example:
        >>> incoming_prefix("demand-forecast", "arn:aws:states:eu-west-1:222222222222:execution:Promote:0a-1")
        'incoming/demand-forecast/0a-1/'
    """
    return f"incoming/{group}/{execution.rpartition(':')[2]}/"


def read_release(content: bytes, *, uri: str, sha256: str, target: Target) -> ReleaseRecord:
    """Return the record of a release, after checking its content.

    Args:
        content: The record's copied bytes.
        uri: URI of the record in the source, from the event.
        sha256: Hash of the record, from the event.
        target: The target environment.

    Raises:
        ReleaseRefusedError: If the record has another hash, is malformed, or is of another unit, group or source.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ReleaseRefusedError([f"the record at {_shown(uri)} has SHA-256 {found}, expected {_shown(sha256)}"])
    try:
        record = from_json(ReleaseRecord, content)
    except ContractError as error:
        raise ReleaseRefusedError([f"{_shown(uri)} is not a release record: {error}"]) from error
    problems = [*_origin_problems(record, uri, target), *_object_problems(record, uri, target)]
    problems += [*_package_problems(record, target), *_image_problems(record, target)]
    problems += trust_problems(record.package.flavor, record.package.trust, allowed=target.trust)
    if problems:
        raise ReleaseRefusedError(problems)
    return record


def _origin_problems(record: ReleaseRecord, uri: str, target: Target) -> Iterator[str]:
    wanted = {
        "unit": target.unit,
        "group": target.group,
        "account": target.source.account,
        "region": target.source.region,
    }
    for name, value in wanted.items():
        if (found := getattr(record, name)) != value:
            yield f"{name} is {_shown(found)}, expected {value!r}"
    if not _SHA256.fullmatch(record.binding):
        yield f"binding must be 64 hexadecimal digits, got {_shown(record.binding)}"
    elif not uri.endswith("/" + release_key(group=target.group, binding=record.binding)):
        yield f"{_shown(uri)} is not the URI of the record of binding {record.binding}"
    for name in ("released_at", "approval", "audit_hash"):
        if not getattr(record, name):
            yield f"{name} is empty"
    for name in ("approved_by", "execution", "audit_chain"):  # people read them in messages and records
        if not _NAME.fullmatch(found := getattr(record, name)):
            yield f"{name} must be 1 to 2,048 characters of ASCII without spaces, got {_shown(found)}"
    if not _SHA256.fullmatch(record.audit_hash):
        yield f"audit_hash must be 64 hexadecimal digits, got {_shown(record.audit_hash)}"


def _object_problems(record: ReleaseRecord, uri: str, target: Target) -> Iterator[str]:
    bucket = uri.removeprefix("s3://").partition("/")[0]
    place = re.compile(rf"(?:{_FOLDERS})/{re.escape(target.unit)}-[\w.-]+/[\w./=-]+", re.ASCII)
    for name, each in _objects(record):
        found = _URI.fullmatch(each.uri)
        if found is None or found["bucket"] != bucket or ".." in each.uri or not place.fullmatch(found["key"]):
            yield (
                f"{name} must be in bucket {_shown(bucket)} below {_FOLDERS.replace('|', '/, ')}/ of unit {target.unit}, "
                f"got {_shown(each.uri)}"
            )
        if not _SHA256.fullmatch(each.sha256):
            yield f"{name}.sha256 must be 64 hexadecimal digits, got {_shown(each.sha256)}"
        if not 0 < each.size <= MAXIMUM_OBJECT:
            yield f"{name} has {each.size} bytes, but one copy must have 1 to {MAXIMUM_OBJECT} (5 GB); make it smaller"


def _package_problems(record: ReleaseRecord, target: Target) -> Iterator[str]:
    package = record.package
    pairs = {
        "group": (package.group, target.group),
        "artifact_uri": (package.artifact_uri, record.artifact.uri),
        "artifact_sha256": (package.artifact_sha256, record.artifact.sha256),
        "evaluation_uri": (package.evaluation_uri, record.evaluation.uri),
        "baseline_uri": (package.baseline_uri, record.baseline.uri),
        "baseline_sha256": (package.baseline_sha256, record.baseline.sha256),
    }
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            yield f"the package's {name} is {_shown(found)}, but the release has {_shown(wanted)}"
    packages = target.source.arn("sagemaker", f"model-package/{target.group}/")
    arn = package.package_arn or ""
    if not arn.startswith(packages) or not re.fullmatch(r"[1-9][0-9]{0,8}", arn.removeprefix(packages), re.ASCII):
        yield f"the package must be one of {packages}*, got {_shown(arn)}"
    if record.binding not in _possible_bindings(record):
        yield f"binding {_shown(record.binding)} is not that of the package in the record"


def _possible_bindings(record: ReleaseRecord) -> set[str]:
    """Return the valid bindings of the package: a pipeline's registration also covers its evaluation and absent fields."""
    container, present = package_container(record.package), package_metadata(record.package)
    bindings = set()
    for evaluated in ({}, {"evaluation_sha256": record.evaluation.sha256}):
        for absent in ({}, {} if "code" in present else {"code": ABSENT}):
            bindings.add(container_sha256(container, {**present, **evaluated, **absent}))
    return bindings


def _image_problems(record: ReleaseRecord, target: Target) -> Iterator[str]:
    found = _IMAGE.fullmatch(record.package.image)
    if found is None:
        yield f"the image must be one of ECR by digest, got {_shown(record.package.image)}"
    elif found["account"] != target.source.account:
        yield (
            f"the image {record.package.image} is of account {found['account']}, but must be in the source's own registry, "
            f"{target.source.account}, and in the target's registry with the same digest; push it there and train with it"
        )


def _objects(record: ReleaseRecord) -> Iterator[tuple[str, ReleasedObject]]:
    for name in COPIES:
        each = getattr(record, name)
        if each is not None:
            yield name, each


def own_image(record: ReleaseRecord, target: Target) -> Image:
    """Return the image that the target's own registry must have, with the source's repository name and digest."""
    return image_of(record, target, registry=target.here.account)


def image_of(record: ReleaseRecord, target: Target, *, registry: str) -> Image:
    """Return the image of a release in the registry in which it was found.

    Args:
        record: The release.
        target: The target environment.
        registry: Account of the registry: the target's own or, if images are shared, the source's.

    Raises:
        ReleaseRefusedError: If it is another registry.
    """
    allowed = [target.here.account, *([target.source.account] if target.shares_images else [])]
    if registry not in allowed:
        raise ReleaseRefusedError(
            [
                f"the image must be in the registry of {' or '.join(allowed)}, but was found in that of {_shown(registry)}"
            ]
        )
    found = _IMAGE.fullmatch(record.package.image)
    if found is None:
        raise ReleaseRefusedError([f"the image must be one of ECR by digest, got {_shown(record.package.image)}"])
    return Image(registry=registry, repository=found["repository"], digest=found["digest"])


def released_at(record: ReleaseRecord) -> datetime:
    """Return when a release was made, in UTC.

    Raises:
        ReleaseRefusedError: If its time is malformed.
    """
    try:
        at = datetime.fromisoformat(record.released_at)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # OverflowError: of year 1, east of Greenwich
        raise ReleaseRefusedError(
            [f"released_at must be a time in ISO 8601, got {_shown(record.released_at)}"]
        ) from error


def check_time(record: ReleaseRecord, *, newest: tuple[str, str] | None, sha256: str, now: datetime) -> None:
    """Refuse a release that is older than the newest taken one, or whose time is in the future.

    Args:
        record: The release.
        newest: Time and record hash of the newest taken release; None before the first.
        sha256: Hash of this record.
        now: Current time of the cloud.

    Raises:
        ReleaseRefusedError: If it is stale or replayed, or its time is in the future.
    """
    at = released_at(record)
    if at > now + CLOCKS:
        raise ReleaseRefusedError([f"it was released at {record.released_at}, which is in the future"])
    if newest is not None and newest[1] != sha256 and at <= datetime.fromisoformat(newest[0]):
        raise ReleaseRefusedError(
            [f"stale: it was released at {record.released_at}, and a release of {newest[0]} was taken since"]
        )


def check_source(record: ReleaseRecord, description: Mapping[str, Any]) -> None:
    """Check a release against the current description of its package in the source's registry.

    Args:
        record: The release.
        description: Response of DescribeModelPackage.

    Raises:
        ReleaseRefusedError: If the package is no longer approved, or differs from the release.
    """
    try:
        package = read_package(description)
    except PackageError as error:
        raise ReleaseRefusedError([f"the source's registry: {problem}" for problem in error.problems]) from error
    problems = []
    if package.arn != record.package.package_arn:
        problems.append(
            f"the source's registry returned {package.arn}, but the release is of {record.package.package_arn}"
        )
    if not package.is_approved:
        problems.append(f"{package.arn} is {package.approval} ({package.status}) in the source, no longer approved")
    if package.container_sha256 != record.binding:
        problems.append(
            f"{package.arn} is bound by {package.container_sha256} in the source, but the release has {record.binding}"
        )
    elif package.is_approved and bound_by(description) != record.binding:
        problems.append(f"the approval of {package.arn} in the source is for {bound_by(description)}")
    approvals = {
        "approved_by": (record.approved_by, package.approved_by),
        "approval": (record.approval, package.approval_description),
    }
    for name, (found, wanted) in approvals.items():
        if package.is_approved and wanted is not None and found != wanted:
            problems.append(f"{name} is {_shown(found)}, but the source's registry has {_shown(wanted)}")
    if replace(package.spec, package_arn=None) != replace(record.package, package_arn=None):
        problems.append(f"the record's description of {package.arn} differs from that of the source's registry")
    if problems:
        raise ReleaseRefusedError(problems)


def copies(record: ReleaseRecord, *, target: Target, execution: str) -> tuple[Copy, ...]:
    """Return the objects to copy, with their sources and keys.

    The archive's key has its own hash, so that two releases of one archive share it; evaluation and baseline have the binding of
    the release. The key of the gate's result derives from that of the evaluation.
    """
    prefix = incoming_prefix(target.group, execution)
    keys = {
        "artifact": f"models/{target.group}/{record.artifact.sha256}/{COPIES['artifact']}",
        "evaluation": f"evaluations/{target.group}/{record.binding}/{COPIES['evaluation']}",
        "baseline": f"evaluations/{target.group}/{record.binding}/{COPIES['baseline']}",
        "gate": f"gates/{target.group}/{record.binding}.json",
    }
    return tuple(
        Copy(
            name=name,
            source=each.uri.removeprefix("s3://"),
            incoming=prefix + COPIES[name],
            key=keys[name],
            sha256=each.sha256,
        )
        for name, each in _objects(record)
    )


def evidence_problems(record: ReleaseRecord, evaluation: bytes, gate: bytes | None) -> list[str]:
    """Return differences between a release and the content of its evaluation and gate's result, whose hashes match.

    Args:
        record: The release.
        evaluation: Content of the evaluation.
        gate: Content of the gate's result; None if the source has none.
    """
    try:
        measured = from_json(Evaluation, evaluation)
        decided = None if gate is None else from_json(GateResult, gate)
    except ContractError as error:
        return [f"evaluation or gate's result cannot be read: {error}"]
    package = record.package
    fields = ("artifact_sha256", "model_sha256", "training_set_id", "baseline_sha256", "flavor", "trust")
    problems = [
        f"the evaluation is of {name} {getattr(measured, name)}, but the release has {getattr(package, name)}"
        for name in fields
        if getattr(measured, name) != getattr(package, name)
    ]
    if decided is not None and decided.verdict is not GateVerdict.PASSED:
        problems.append(f"the gate's verdict is {decided.verdict.value}; only candidates that passed are released")
    if decided is not None and decided.evaluation_sha256 != record.evaluation.sha256:
        problems.append(f"the gate decided on an evaluation of SHA-256 {decided.evaluation_sha256}")
    return problems


def local_package(record: ReleaseRecord, *, target: Target, registry: str | None = None) -> ModelPackageSpec:
    """Return the package for the registration here: with local URIs, image and signing key, and with its source.

    Args:
        record: The release.
        target: The target environment.
        registry: Account of the registry in which the image was found. Default: the target's own.

    Raises:
        ReleaseRefusedError: If images of that registry may not be served here.
    """
    keys = {each.name: f"s3://{target.bucket}/{each.key}" for each in copies(record, target=target, execution="")}
    here = target.here
    image = image_of(record, target, registry=registry or here.account)
    suffix = "amazonaws.com.cn" if here.partition == "aws-cn" else "amazonaws.com"
    uri = f"{image.registry}.dkr.ecr.{here.region}.{suffix}/{image.repository}@{image.digest}"
    return replace(
        record.package,
        image=uri,
        artifact_uri=keys["artifact"],
        evaluation_uri=keys["evaluation"],
        baseline_uri=keys["baseline"],
        package_arn=None,
        signing_key=target.signing_key,
        source_binding=record.binding,
        source_package=record.package.package_arn,
        source_record=record.audit_hash,
        source_environment=target.source_name,
    )


def registration(
    record: ReleaseRecord, *, target: Target, registry: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return container and metadata for the registration here, with the binding of both; see ``local_package``."""
    spec = local_package(record, target=target, registry=registry)
    container = package_container(spec)
    metadata = {**package_metadata(spec), "evaluation_sha256": record.evaluation.sha256}
    return container, registered_metadata(container, metadata)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
