"""State that an environment reports to its source, from the endpoint's row and its newest audit records. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, Outcome
from mlops_runtime.contracts.served_model import ServedState, ServedVersion
from mlops_runtime.promotion.environment_link import LinkedEnvironment
from mlops_runtime.registry.model_package import version_of
from mlops_runtime.rollout.audit_chain import last_record
from mlops_runtime.rollout.deploy_plan import live_pointer

LOOK_BACK = 20  # records that are searched for rollbacks; the source stores those of earlier reports
MOST_ROLLED_BACK = 10
_PACKAGE = ":model-package/"


def own_state(
    row: LockRow, records: Sequence[AuditRecord], *, bindings: Mapping[str, str], here: LinkedEnvironment
) -> ServedState | None:
    """Return an endpoint's state; None before its first record, or if its live model was not released by the source.

    Args:
        row: The endpoint's row.
        records: Its newest records, the newest last.
        bindings: Bindings of the source's releases, by the ARN of the local package.
        here: The endpoint's account and Region.
    """
    last, live = last_record(row), live_pointer(row)
    if last is None:
        return None
    serves = None if live is None else _serving(live, bindings)
    if live is not None and serves is None:
        return None
    back = [
        ServedVersion(model_sha256=model, binding=bindings[package], version=version_of(package), at=at)
        for package, model, at in rolled_back(records)
        if package in bindings
    ]
    return ServedState(
        name="",
        account=here.account,
        region=here.region,
        hops=1,
        at=last.at,
        sequence=last.sequence,
        serves=serves,
        rolled_back=tuple(reversed(back))[:MOST_ROLLED_BACK],
    )


def relayed(kept: ServedState) -> ServedState | None:
    """Return the state of a target that a source in the middle of a chain reports to its own source.

    Bindings are replaced by those of the releases that it took itself; None if the live model was made here, so that its source
    does not know it.
    """
    versions = [_translated(each) for each in kept.rolled_back]
    serves = None if kept.serves is None else _translated(kept.serves)
    if kept.serves is not None and serves is None:
        return None
    known = tuple(each for each in versions if each is not None)
    return replace(kept, hops=kept.hops + 1, serves=serves, rolled_back=known, via=None, requested=None)


def rolled_back(records: Sequence[AuditRecord]) -> Iterator[tuple[str, str, str]]:
    """Yield package, model and time of each version that was rolled back, oldest first.

    These are candidates whose rollout was rolled back, and versions that were replaced by an earlier version: a requested rollback
    is recorded as a promotion of the previous version.

    Args:
        records: Records of one endpoint, the newest last.
    """
    models = {each.candidate_package: each.model_sha256 for each in records if each.model_sha256 is not None}
    served: list[str] = []
    for record in records:
        package = record.serving_package
        left = None
        if record.outcome is Outcome.ROLLED_BACK and record.candidate_package != package:
            left = record.candidate_package
        elif package in served[:-1]:
            left = served[-1]
            del served[served.index(package) + 1 :]
        if left is not None and (model := models.get(left)) is not None:
            yield left, model, record.at
        if package is not None and package not in served:
            served.append(package)


def _serving(live: LivePointer, bindings: Mapping[str, str]) -> ServedVersion | None:
    binding = bindings.get(live.model_package_arn)
    if binding is None:
        return None
    version = version_of(live.model_package_arn)
    return ServedVersion(model_sha256=live.model_sha256, binding=binding, version=version, at=live.since)


def _translated(version: ServedVersion) -> ServedVersion | None:
    if version.origin is None:
        return None
    return replace(version, binding=version.origin, origin=None, released_as=None)
