"""Environments of a project: the accounts and Regions of its promotion chain, in order, with manual or automatic approval."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.promotion.environment_link import LinkedEnvironment

# allowed by Environment of mlops_constructs, stricter than GitLab: https://docs.gitlab.com/ci/yaml/#environmentname
_NAME = r"[a-z][a-z0-9-]{0,18}[a-z0-9]"
# prefixes of GitLab's own variables: https://docs.gitlab.com/ci/variables/predefined_variables/
_RESERVED = ("ci", "gitlab")
_FORM = "NAME=ACCOUNT/REGION or NAME=ACCOUNT/REGION/manual, such as staging=222222222222/eu-west-1"
_MANUAL, _AUTOMATIC = "manual", "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectEnvironment:
    """One environment of a project's pipeline."""

    name: str  # its name in GitLab, in stacks and variables
    account: str  # number of the account
    region: str
    # whether a person starts its deployment and approves each model; models of the first environment are always
    # approved by a person. Otherwise the pipeline deploys after a successful plan, and the source's approval is adopted
    is_manual: bool = False

    @property
    def constant(self) -> str:
        """Its name in Python, and the prefix of its GitLab variables."""
        return self.name.replace("-", "_").upper()

    @property
    def suffix(self) -> str:
        """Suffix of its stacks' names."""
        return "".join(part.title() for part in self.name.split("-"))

    def problems(self) -> Iterator[str]:
        """Yield the problems of the environment, each with what is allowed."""
        if not re.fullmatch(_NAME, self.name):
            yield (
                "the name of an environment must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter and not "
                f"ending with a hyphen, such as 'staging', got {self.name!r}"
            )
        elif self.name.partition("-")[0] in _RESERVED:
            yield (
                f"the environment {self.name!r} would need variables that start with {self.constant}_, which GitLab reserves; "
                "choose another name"
            )
        if not re.fullmatch(r"[0-9]{12}", self.account):
            yield f"the account of environment {self.name!r} must be 12 digits, got {self.account!r}"
        if self.region not in _regions():
            yield (
                f"the Region of environment {self.name!r} must be an AWS Region, such as 'eu-west-1', got {self.region!r}; for a "
                "newer Region, update botocore"
            )


def read_environments(given: Sequence[str]) -> tuple[tuple[ProjectEnvironment, ...], list[str]]:
    """Parse environments from options; return them in order, and the problems of the options.

    By default, only the last environment is manual.

    Example:
        >>> found, problems = read_environments(["build=111111111111/eu-west-1", "production=333333333333/eu-west-1"])
        >>> [(each.name, each.is_manual) for each in found], problems
        ([('build', False), ('production', True)], [])
    """
    read = [read_environment(option, is_last=place == len(given)) for place, option in enumerate(given, start=1)]
    found = [each for each, _ in read if each is not None]
    problems = [problem for _, problems in read for problem in problems]
    if len(given) == 1:
        problems.append(
            f"--environment names only one environment, {given[0]!r}; models are promoted from one to another: name at least two, "
            "or none for a development and a production account that both train"
        )
    return tuple(found), problems + environment_problems(found)


def read_environment(option: str, *, is_last: bool) -> tuple[ProjectEnvironment | None, list[str]]:
    """Parse an environment; return it, or ``None``, and the option's problems. The last of a chain is manual by default."""
    name, _, rest = option.partition("=")
    parts = rest.split("/")
    default = _MANUAL if is_last else _AUTOMATIC
    account, region, approval = (*parts, *[""] * (2 - len(parts)), default)[:3]
    if not (name and account and region) or len(parts) > 3 or approval not in (_MANUAL, _AUTOMATIC):
        return None, [f"an environment must be {_FORM} (or /automatic), got {option!r}"]
    return ProjectEnvironment(name=name, account=account, region=region, is_manual=approval == _MANUAL), []


def environment_problems(environments: Sequence[ProjectEnvironment]) -> list[str]:
    """Return the problems of environments, individually and together."""
    problems = [problem for each in environments for problem in each.problems()]
    names = [each.name for each in environments]
    problems += [f"the environment {name!r} is named twice" for name in _twice(names)]
    for account, region in _twice([(each.account, each.region) for each in environments]):
        same = [each.name for each in environments if (each.account, each.region) == (account, region)]
        if len(set(same)) > 1:
            problems.append(f"{' and '.join(map(repr, same))} have the same account and Region, {account} {region}")
    for suffix in _twice([each.suffix for each in environments]):
        same = list(dict.fromkeys(each.name for each in environments if each.suffix == suffix))
        if len(same) > 1:
            problems.append(
                f"{' and '.join(map(repr, same))} both result in stack names that end with {suffix!r}; rename one"
            )
    partitions = {LinkedEnvironment(account=each.account, region=each.region).partition for each in environments}
    if len(partitions) > 1:
        problems.append(
            f"the Regions belong to different partitions, {', '.join(sorted(partitions))}, between which models cannot be promoted"
        )
    return problems


def rendered_environments(environments: Sequence[ProjectEnvironment]) -> list[dict[str, Any]]:
    """Return the template values of environments: each with its neighbours and its GitLab deployment tier."""
    after_first = [place for place, each in enumerate(environments) if place and each.is_manual]
    # production starts at the first manual environment after the training one
    produces = after_first[0] if after_first else len(environments) - 1
    return [
        {
            "name": each.name,
            "account": each.account,
            "region": each.region,
            "constant": each.constant,
            "suffix": each.suffix,
            "is_manual": each.is_manual,
            "tier": "production" if place >= produces else "staging" if place else "development",
            "source": environments[place - 1].constant if place else "",
            "target": environments[place + 1].constant if place + 1 < len(environments) else "",
            "before": environments[place - 1].name if place else "",
        }
        for place, each in enumerate(environments)
    ]


def _twice(values: Sequence[Any]) -> list[Any]:
    return [value for value in dict.fromkeys(values) if values.count(value) > 1]


def _regions() -> set[str]:
    """Return all Regions of all partitions that botocore knows."""
    import botocore.session

    session = botocore.session.get_session()
    return {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("sts", partition)
    }
