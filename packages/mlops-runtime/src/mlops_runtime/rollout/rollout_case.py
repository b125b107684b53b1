"""An accepted deploy request: the version to deploy, the versions kept as rollback targets, and the resulting live pointer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlops_runtime.contracts import content_hash, to_dict
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LivePointer, ServingSpec
from mlops_runtime.registry.model_package import RegisteredPackage
from mlops_runtime.rollout.deploy_plan import Facts, live_pointer, package_pointer
from mlops_runtime.rollout.execution_names import version_name
from mlops_runtime.rollout.rehearsed_answers import answers_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """The config that a rollback returns to, the older kept configs, and the configs to delete after success."""

    previous: str | None = None
    kept: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


def succession(facts: Facts, package: str, *, is_rollback: bool, keep: int) -> Succession:
    """Return the kept and expired versions after the deployment of a package.

    A version of the same model is replaced, not kept. A rollback does not keep versions that are newer than its target, so that a
    second rollback cannot return to the version that the first one left.
    """
    line = _line(facts)
    packages = {config: package_of(facts, config) for config in line}
    if is_rollback:
        at = [config for config in line if packages[config] == package]
        rest = line[line.index(at[-1]) + 1 :] if at else []
    else:
        rest = [config for config in line if packages[config] not in (package, None)]
    stays = rest[:keep]
    ours = re.compile(re.escape(facts.row.endpoint) + "-[0-9a-f]{8}")  # resources made by hand are left alone
    return Succession(
        previous=stays[0] if stays else None,
        kept=tuple(stays[1:]),
        expired=tuple(config for config in line if config not in stays and ours.fullmatch(config)),
    )


def way_back(facts: Facts) -> str | None:
    """Return the package that a rollback without a target deploys: that of the newest kept version that still exists."""
    live = live_pointer(facts.row)
    kept: Sequence[str] = () if live is None else [c for c in (live.previous, *(live.kept or ())) if c is not None]
    return next((package for config in kept if (package := package_of(facts, config)) is not None), None)


def _line(facts: Facts) -> list[str]:
    """Return the live version, the recorded one if it differs, and the kept ones, newest first."""
    serving, live = facts.serving, live_pointer(facts.row)
    if serving is None:
        return []
    recorded = [] if live is None else [live.config, live.previous, *(live.kept or ())]
    return list(dict.fromkeys([serving.config, *(config for config in recorded if config is not None)]))


def package_of(facts: Facts, config: str | None) -> str | None:
    """Return the package of a config; None if it no longer exists."""
    serving = facts.serving
    if serving is not None and serving.config == config:
        return None if serving.version is None else serving.version.package
    version = None if config is None else facts.versions.get(config)
    return None if version is None else version.package


def serves_since(facts: Facts) -> str | None:
    """Return when the live version went live (ISO 8601); None if it is not the recorded one."""
    live, serving = live_pointer(facts.row), facts.serving
    return live.since if live is not None and serving is not None and serving.config == live.config else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An accepted request with its facts, spec and package."""

    request: DeployRequest
    facts: Facts
    spec: ServingSpec
    package: RegisteredPackage
    execution: str
    now: datetime

    @property
    def name(self) -> str:
        """Name of the config and the model to create."""
        return version_name(self.spec.endpoint, self.execution)

    @property
    def is_rollback(self) -> bool:
        """Whether the request is a rollback."""
        return self.request.reason is DeployReason.ROLLBACK

    @property
    def is_approval(self) -> bool:
        """Whether the request is an approval, so deploys a new model."""
        return self.request.reason is DeployReason.APPROVAL

    @property
    def follows(self) -> Succession:
        """Versions kept for rollbacks."""
        keep = 1 if self.spec.rollout.keep is None else self.spec.rollout.keep
        return succession(self.facts, self.package.arn, is_rollback=self.is_rollback, keep=keep)


def pointer(case: Case) -> LivePointer:
    """Return the live pointer after the deployment."""
    package, live, follows = case.package, live_pointer(case.facts.row), case.follows
    # another spec does not end the probation of a model
    probation = None if live is None or live.model_package_arn != package.arn else live.probation_until
    return package_pointer(
        package.spec,
        package.container_sha256,
        endpoint=case.spec.endpoint,
        config=case.name,
        model=case.name,
        spec_sha256=content_hash(case.facts.spec),
        spec_uri=str(case.facts.row.desired),
        execution=case.execution,
        since=str(to_dict(case.now)),
        previous=follows.previous,
        # its slot will contain another version
        previous_package=None if case.facts.slots is None else package_of(case.facts, follows.previous),
        kept=follows.kept or None,
        probation_until=probation,
        rehearsed=_rehearsed(case, live),
    )


def _rehearsed(case: Case, live: LivePointer | None) -> str | None:
    """Return the key of the rehearsal's answers: of this version, or of the previous one if it has the same container."""
    if case.spec.rollout.golden is not None and case.spec.asynchronous is None:
        return answers_key(case.spec.endpoint, case.name)
    is_same = live is not None and live.container_sha256 == case.package.container_sha256
    return live.rehearsed if live is not None and is_same else None
