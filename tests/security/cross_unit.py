"""Every role of a unit, every call that names a resource of the other unit, and the same call by an administrator."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.security import units
from tests.security.attack import DENIED, MADE, Attacker, is_unknown
from tests.security.calls import Call, Target, calls, data

from mlops_local.cloud import Cloud
from mlops_runtime.wildcards import matches

SEED = 12
_RIVALS = ("sts:AssumeRole",)  # allowed for no caller: it is valid if it works once the role trusts the caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A call of a role.

    Args:
        unit: Stack of the role.
        role: The role's logical id.
        call: The call, which names a resource of the other unit.
    """

    unit: str
    role: str
    call: Call


@dataclass(slots=True)
class Score:
    """Results of attempts on one kind of resource with one operation.

    Args:
        control: The administrator's result, if the call was made.
        answers: Number of roles by result.
        roles: The roles that were not denied.
    """

    control: str | None = None
    answers: Counter[str] = field(default_factory=Counter)
    roles: set[str] = field(default_factory=set)

    @property
    def is_valid(self) -> bool:
        """Whether the embedded cloud supports the operation and does not reject it for everyone."""
        return self.control is not None and self.control != DENIED and not is_unknown(self.control)

    @property
    def attempts(self) -> int:
        """Number of attempts."""
        return self.answers.total()

    @property
    def through(self) -> int:
        """Number of attempts that were not denied."""
        return self.attempts - self.answers[DENIED]


class Pair:
    """Two units, deployed."""

    def __init__(self, cloud: Cloud, assembly: Path, stacks: tuple[str, str]) -> None:
        self.stacks = stacks
        self.roles = {stack: units.roles(cloud, stack) for stack in stacks}
        self.targets = {stack: units.targets(cloud, assembly, stack) for stack in stacks}
        self.cloud, self._attacker = cloud, Attacker(cloud)
        self.administrator = self._attacker.make_administrator()

    def other(self, stack: str) -> str:
        """Return the other unit's stack."""
        return next(name for name in self.stacks if name != stack)

    def met(self, stack: str, targets: Iterable[Target]) -> list[Attempt]:
        """Return the attempts on targets that a role's own policies would allow by name without a boundary.

        Args:
            stack: Stack of the calling roles.
            targets: The named resources.
        """
        return [
            Attempt(unit=stack, role=role, call=call)
            for role, name in self.roles[stack].items()
            for allowed in [list(self._allowed(name))]
            for target in targets
            for call in calls(target)
            if any(matches(action, call.action) and matches(arn, call.arn) for action, arn in allowed)
        ]

    def _allowed(self, role: str) -> Iterator[tuple[str, str]]:
        """Yield each action that a role's policies allow, with each of its resource patterns."""
        iam = self.cloud.client("iam")
        for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            policy = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]
            version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
            for statement in version["PolicyVersion"]["Document"]["Statement"]:
                actions, arns = statement.get("Action", []), statement["Resource"]
                for action in [actions] if isinstance(actions, str) else actions:
                    for arn in [arns] if isinstance(arns, str) else arns:
                        if statement["Effect"] == "Allow" and arn != "*":
                            yield action, arn

    def attempts(self, stack: str) -> list[Attempt]:
        """Return every attempt of a unit's roles on the other's resources, in a seeded order."""
        found = [
            Attempt(unit=stack, role=role, call=call)
            for target in self.callable(self.other(stack))
            for call in calls(target)
            for role in self.roles[stack]
        ]
        return random.Random(SEED).sample(found, len(found))

    def sample(self, stack: str, each: int) -> list[Attempt]:
        """Return the given number of attempts for each operation on each kind of resource, each with another role."""
        met: Counter[tuple[str, str]] = Counter()
        chosen, requests = [], set()
        for attempt in self.attempts(stack):
            key = attempt.call.target.kind, attempt.call.key
            if met[key] < each and (key, attempt.role) not in requests:
                met[key] += 1
                requests.add((key, attempt.role))
                chosen.append(attempt)
        return chosen

    def make(self, attempts: Iterable[Attempt]) -> Iterator[tuple[Attempt, str]]:
        """Make attempts, role by role, and yield each result."""
        by_role: dict[tuple[str, str], list[Call]] = {}
        for attempt in attempts:
            by_role.setdefault((attempt.unit, attempt.role), []).append(attempt.call)
        for (stack, role), made in by_role.items():
            with self._attacker.acting(self.roles[stack][role]):
                for call in made:
                    answer = self._attacker.call(call.service, call.operation, call.arguments)
                    yield Attempt(unit=stack, role=role, call=call), answer

    def controls(self, stack: str, only: Collection[tuple[str, str]] | None = None) -> dict[tuple[str, str], str]:
        """Make each operation once on one resource of each kind of a unit as an administrator, and return the results.

        Deletions come last; the unit is incomplete afterwards.

        Args:
            stack: The unit's stack.
            only: Kinds with their operations. Default: all.
        """
        first: dict[str, Target] = {}
        for target in self.callable(stack):
            first.setdefault(target.kind, target)
        found = {}
        with self._attacker.acting(self.administrator):
            for call in sorted((c for target in first.values() for c in calls(target)), key=lambda c: c.order):
                if only is not None and (call.target.kind, call.key) not in only:
                    continue
                if call.key in _RIVALS:
                    found[call.target.kind, call.key] = self._assume(call)
                    continue
                answer = self._attacker.call(call.service, call.operation, call.arguments)
                found[call.target.kind, call.key] = answer
        return found

    def _assume(self, call: Call) -> str:
        with Attacker(self.cloud).acting(call.target.words["id"]):
            return MADE

    def callable(self, stack: str) -> list[Target]:
        """Return a unit's resources that calls can name."""
        return [target for target in self.targets[stack] if target.kind in data()["types"]]


def unknown_types(targets: Iterable[Target]) -> set[str]:
    """Return the types for which the table has neither calls nor a reason."""
    return {target.kind for target in targets} - set(data()["types"]) - set(data()["none"])


def is_open(score_key: tuple[str, str]) -> bool:
    """Return whether the table has a reason for allowing this call on another unit's resource."""
    return score_key[1] in data()["open"]
