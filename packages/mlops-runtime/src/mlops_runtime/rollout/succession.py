"""Which versions stay to go back to once a new one serves. A way back leads to another *model*."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_runtime.rollout.plan import Facts, live_pointer


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """The config that a rollback goes back to, those kept before it, and those that are deleted after success."""

    previous: str | None = None
    kept: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()


def succession(facts: Facts, package: str, *, is_rollback: bool, keep: int) -> Succession:
    """Return what follows when a package comes to serve.

    A version of the same model is replaced, not gone back to. A rollback goes back along the line: what it leaves, and whatever is
    newer than its target, is not kept, so that a second rollback cannot lead to what the first one fled from.

    Args:
        facts: What serves, and what is kept.
        package: ARN of the package that comes to serve.
        is_rollback: Whether it goes back.
        keep: Versions that stay.
    """
    line = _line(facts)
    packages = {config: package_of(facts, config) for config in line}
    if is_rollback:
        at = [config for config in line if packages[config] == package]
        rest = line[line.index(at[-1]) + 1 :] if at else []
    else:
        rest = [config for config in line if packages[config] not in (package, None)]
    stays = rest[:keep]
    ours = re.compile(re.escape(facts.row.endpoint) + "-[0-9a-f]{8}")  # what somebody made by hand is left alone
    return Succession(
        previous=stays[0] if stays else None,
        kept=tuple(stays[1:]),
        expired=tuple(config for config in line if config not in stays and ours.fullmatch(config)),
    )


def way_back(facts: Facts) -> str | None:
    """Return the package that a rollback without a target goes to: of the newest kept version that still exists."""
    live = live_pointer(facts.row)
    kept: Sequence[str] = () if live is None else [c for c in (live.previous, *(live.kept or ())) if c is not None]
    return next((package for config in kept if (package := package_of(facts, config)) is not None), None)


def _line(facts: Facts) -> list[str]:
    """Return what serves, what is recorded as live where that differs, and what is kept, newest first."""
    serving, live = facts.serving, live_pointer(facts.row)
    if serving is None:
        return []
    recorded = [] if live is None else [live.config, live.previous, *(live.kept or ())]
    return list(dict.fromkeys([serving.config, *(config for config in recorded if config is not None)]))


def package_of(facts: Facts, config: str | None) -> str | None:
    """Return the package of the version of a name, where that still exists."""
    serving = facts.serving
    if serving is not None and serving.config == config:
        return None if serving.version is None else serving.version.package
    version = None if config is None else facts.versions.get(config)
    return None if version is None else version.package
