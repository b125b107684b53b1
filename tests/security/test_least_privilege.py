"""Each permission of a unit's roles and resource policies is needed: calls are replayed with parts removed.

`recorded_calls.json` is written by ``python -m tests.security.record FOLDER``, the loop of demand forecasting, and
``python -m tests.security.needs sagemaker FOLDER``, `recorded_calls_on_eks.json` likewise with the target ``eks``, and
`recorded_calls_of_front_door.json` with ``front_door``: an API, its jobs and a console, limited to their roles.
`named_calls.yaml`, `services.py` and `deliveries.py` add unrecorded calls. If a test here fails after a policy change,
record again, name the call with its source, or remove the statement.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ministack.core import iam_evaluator
from tests.security import front_door
from tests.security.deliveries import Deliveries
from tests.security.needs import FOLDER, NAMED, Need, callers, named, recorded, resource
from tests.security.policies import Place, Policies, listed
from tests.security.replay import ALLOW, Replay
from tests.security.resource_policies import ADMINISTRATOR
from tests.security.services import Services
from tests.security.units import ACCOUNT, TARGETS, template

from mlops_local.iam import role_sessions
from mlops_runtime.console.route import Role
from mlops_runtime.console.route_table import ROUTES
from mlops_runtime.layers.layer_wheels import build_layers

ROOT = Path(__file__).resolve().parents[2]
_FORBIDDEN: list[dict[str, Any]] = yaml.safe_load((FOLDER / "forbidden_calls.yaml").read_text())
_AT_THE_FRONT_DOOR: list[dict[str, Any]] = yaml.safe_load((FOLDER / "forbidden_at_the_front_door.yaml").read_text())
FORBIDDEN = [
    *((target, call) for target in TARGETS for call in _FORBIDDEN if target in call.get("targets", TARGETS)),
    *(("front_door", call) for call in _AT_THE_FRONT_DOOR),
]
KEPT: list[dict[str, Any]] = yaml.safe_load((FOLDER / "kept_rights.yaml").read_text())
ENTRIES: list[dict[str, Any]] = yaml.safe_load(NAMED.read_text())["calls"]
OTHER = {
    "demand-forecast": "rival-forecast",
    "demand_features": "rival_features",
    "shown-forecast": "rival-forecast",
    "shown-nightly": "rival-nightly",
    "DemandForecastingUnitBus8D998D2D": "RivalUnitBus8D998D2D",
    "cluster/retail": "cluster/rival",
    "access-entry/retail": "access-entry/rival",
}
OTHER_ACCOUNT = "111122223333"
# forbidden calls on a resource, whoever is admitted: action, context
BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("s3:GetObject", {"aws:SecureTransport": "false"}),
    ("s3:GetObject", {"s3:TlsVersion": 1.1}),
    ("s3:PutObject", {"s3:TlsVersion": 1.3}),
    ("sqs:ReceiveMessage", {"aws:SecureTransport": "false"}),
    ("sns:Publish", {"aws:SecureTransport": "false"}),
    ("kms:Sign", {"kms:SigningAlgorithm": "ECDSA_SHA_256"}),
]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit's policies, and the calls that they must allow."""

    target: str
    replay: Replay
    needs: list[Need]
    resources: dict[str, Any]
    asked: str

    def statements(self) -> list[tuple[Place, Any]]:
        """Return the Allow statements of the roles of interest."""
        allowed = self.replay.policies.statements("Allow")
        return [(place, statement) for place, statement in allowed if self.is_asked(place)]

    def is_asked(self, place: Place) -> bool:
        """Return whether a role of interest has a policy."""
        return any(re.search(self.asked, role) for role in self.replay.policies.holders(place.policy))

    def is_composed(self, place: Place) -> bool:
        """Return whether grants of several constructs overlap in a policy, as in those of people."""
        holders = self.replay.policies.holders(place.policy)
        return self.target == "front_door" and all(re.search(front_door.COMPOSED, role) for role in holders)

    def resource_statements(self) -> list[tuple[Place, Any]]:
        """Return the Allow statements of resources, and trusts of the roles of interest."""
        allowed, roles = self.replay.resources.statements("Allow"), self.replay.policies.roles
        return [(p, s) for p, s in allowed if p.policy not in roles or re.search(self.asked, p.policy)]


def _unit(target: str) -> Unit:
    synthesized, requested = template(target), front_door.ASKED if target == "front_door" else ""
    policies = Policies(synthesized)
    calls = recorded(target)
    if target == "eks":  # the retraining guard is the same; only the endpoint's loop starts it by an alarm
        calls += [
            need for need in recorded() if need.role in policies.roles and need.role.startswith("RetrainingGuard")
        ]
    needs = [
        *calls,
        *named(policies, target),
        *Services(synthesized, policies).needs(),
        *Deliveries(policies, calls).needs(),
    ]
    resources = synthesized["Resources"]
    return Unit(target=target, replay=Replay(policies), needs=needs, resources=resources, asked=requested)


@pytest.fixture(scope="module")
def units() -> dict[str, Unit]:
    """The unit on each target."""
    list(build_layers(names=["monitor"]))
    role_sessions.install()  # as the embedded cloud does
    return {target: _unit(target) for target in TARGETS}


@pytest.fixture(scope="module", params=TARGETS)
def unit(units: dict[str, Unit], request: pytest.FixtureRequest) -> Unit:
    """The unit on one target."""
    return units[request.param]


def test_needs_are_allowed(unit: Unit) -> None:
    """Covers every recorded and every named call; every role makes some, or has no permission and is assumed by name."""
    denied = [need for need in unit.needs if unit.replay.decision(need) != ALLOW]
    assert denied == []
    idle = {role for role, held in unit.replay.policies.roles.items() if not held}
    assumed = {
        need.resource.rpartition("/")[2]
        for need in named(unit.replay.policies, unit.target)
        if need.action == "sts:AssumeRole"
    }
    assert idle <= assumed
    assert set(unit.replay.policies.roles) - idle <= {need.role for need in unit.needs}
    assert len(recorded(unit.target)) >= 400


def test_no_statement_can_be_dropped(unit: Unit) -> None:
    """Without any one statement of a role's policy some need is denied."""
    survivors = [
        f"{place}: {statement['Action']} on {statement['Resource']}"
        for place, statement in unit.statements()
        if not unit.is_composed(place) and not unit.replay.is_noticed(place, unit.replay.matched(place, unit.needs))
    ]
    assert survivors == []
    assert len(unit.statements()) >= (60 if unit.asked else 150)


def test_no_condition_can_be_dropped(unit: Unit) -> None:
    """Without any one condition key of a statement, a call is allowed that differs from a need in that key alone."""
    replay = unit.replay
    statements = [(place, s) for place, s in unit.statements() if s.get("Condition")]
    uncaught = {
        str(place): found for place, _ in statements if (found := list(replay.uncaught_conditions(place, unit.needs)))
    }
    assert uncaught == {}
    assert len(statements) >= (12 if unit.asked else 40)


def test_no_action_can_be_dropped(unit: Unit) -> None:
    """Without any one action of a statement some need is denied, or the action is kept for a reason."""
    replay = unit.replay
    statements = [*(each for each in unit.statements() if not unit.is_composed(each[0])), *unit.resource_statements()]
    unneeded = [
        f"{place} {action}"
        for place, statement in statements
        for action in replay.unneeded_actions(place, unit.needs)
        if not _is_kept_action(place, statement, action)
    ]
    assert unneeded == []
    assert sum(len(listed(statement["Action"])) for _, statement in statements) >= (200 if unit.asked else 450)


def test_people_use_each_action_that_they_have(units: dict[str, Unit]) -> None:
    """Checked per statement, since grants of several constructs overlap in roles composed by the account."""
    unit = units["front_door"]
    composed = [place for place, _ in unit.statements() if unit.is_composed(place)]
    unused = {str(place): found for place in composed if (found := list(unit.replay.unused_actions(place, unit.needs)))}
    assert unused == {}
    assert len(composed) >= 20


def _is_kept_action(place: Place, statement: dict[str, Any], action: str) -> bool:
    return any(re.fullmatch(pattern, action) for pattern in _kept(place, statement, "actions"))


def test_no_statement_of_a_resource_can_be_dropped(unit: Unit) -> None:
    """Without any one statement of a key, queue, topic, bucket, function or role trust some need is denied."""
    statements = unit.resource_statements()
    survivors = [
        f"{place}: {statement}"
        for place, statement in statements
        if not unit.replay.is_noticed(place, unit.replay.matched(place, unit.needs))
    ]
    assert survivors == []
    assert len(statements) >= (40 if unit.asked else 50)


def test_no_condition_of_a_resource_can_be_dropped(unit: Unit) -> None:
    """Without any one condition key a call is admitted that differs in that key alone, by an otherwise permitted caller."""
    replay = unit.replay
    statements = [(place, s) for place, s in unit.resource_statements() if s.get("Condition")]
    uncaught = [
        f"{place} {condition}"
        for place, statement in statements
        for condition in replay.uncaught_admissions(place, unit.needs)
        if condition not in _kept(place, statement, "conditions")
    ]
    assert uncaught == []
    assert len(statements) >= 20


def test_a_service_delivers_for_this_account_alone(unit: Unit) -> None:
    """Repeats each service's call for the same resource of another account; services that send no key cannot be checked.

    Load balancers write below their owner's account.
    """
    moved = {
        str(need): replace(need, context=elsewhere, resource=_path_moved(need.resource))
        for need in unit.needs
        if need.role.endswith(".amazonaws.com")
        and (elsewhere := {key: _moved(value) for key, value in need.context.items()}) != need.context
    }
    admitted = [need for need in moved.values() if unit.replay.decision(need) == ALLOW]
    assert [need for need in admitted if not _is_let_in_otherwise(unit, need)] == []
    assert len(moved) >= 50


def _moved(value: Any) -> Any:
    return value.replace(ACCOUNT, OTHER_ACCOUNT) if isinstance(value, str) else value


def _path_moved(resource: str) -> str:
    return _moved(resource) if resource.startswith("arn:aws:s3:::") else resource


def _is_let_in_otherwise(unit: Unit, need: Need) -> bool:
    """Return whether the same service needs the same call without sending a key: that statement admits all of them."""
    return any(
        (need.role, need.action, need.resource) == (other.role, other.action, other.resource) and not other.context
        for other in unit.needs
    )


def test_what_a_resource_denies_is_denied_to_everybody(unit: Unit) -> None:
    """Without a Deny a caller with all permissions may make a forbidden call; its conditions exclude needed calls."""
    replay = unit.replay
    statements = list(replay.resources.statements("Deny"))
    probes = [
        Need(role=ADMINISTRATOR, action=action, resource=resource, context=context)
        for resource in sorted({need.resource for need in unit.needs})
        for action, context in BROKEN
        if resource.split(":")[2:3] == [action.partition(":")[0]]
    ]
    unnoticed = [
        f"{place}: {statement}"
        for place, statement in statements
        if not any(
            replay.admitted(probe, granted=True) != ALLOW and replay.admitted(probe, place, granted=True) == ALLOW
            for probe in probes
            if replay.resources.policy_of(probe.resource) == place.policy
        )
    ]
    over_wide = {
        str(place): found for place, _ in statements if (found := list(replay.unneeded_exceptions(place, unit.needs)))
    }
    assert unnoticed == []
    assert over_wide == {}
    assert len(statements) >= 20


def test_an_endpoint_of_the_network_serves_this_account_alone(unit: Unit) -> None:
    """The policy of a VPC endpoint allows needs, and only its condition excludes other accounts."""
    found = 0
    for name, body in unit.resources.items():
        if body["Type"] != "AWS::EC2::VPCEndpoint" or "PolicyDocument" not in body["Properties"]:
            continue
        found += 1
        document = unit.replay.policies.resolved(body["Properties"]["PolicyDocument"])
        open_to_all = {"Statement": [{**s, "Condition": {}} for s in document["Statement"]]}
        decided = [
            iam_evaluator.evaluate_resource_policy(policy, _through_an_endpoint(account)).decision
            for policy in (document, open_to_all)
            for account in (ACCOUNT, OTHER_ACCOUNT)
        ]
        assert decided == [ALLOW, "ImplicitDeny", ALLOW, ALLOW], name
        assert len(document["Statement"]) == 1, name
    assert found >= 8


def _through_an_endpoint(account: str) -> iam_evaluator.EvalContext:
    return iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{account}:assumed-role/any/session",
        principal_type="AssumedRole",
        principal_account=account,
        action="any:Action",
        resource_arn="*",
        region="us-east-1",
        service_context={"aws:tagkeys": None},
    )


def _kept(place: Place, statement: dict[str, Any], what: str) -> list[str]:
    """Return the parts of a statement that are kept although nothing needs them."""
    return [name for entry in KEPT if _is_about(entry, place, statement) for name in entry.get(what, ())]


def _is_about(entry: dict[str, Any], place: Place, statement: dict[str, Any]) -> bool:
    return bool(re.search(entry["policy"], place.policy)) and entry.get("sid") == statement.get("Sid")


def _hidden(unit: Unit, place: Place, entry: dict[str, Any]) -> Iterator[str]:
    """Yield the parts of an entry that excuse something in a statement."""
    if entry.get("conditions"):
        yield from set(entry["conditions"]) & set(unit.replay.uncaught_admissions(place, unit.needs))
    unneeded = list(unit.replay.unneeded_actions(place, unit.needs)) if entry.get("actions") else []
    yield from (kept for kept in entry.get("actions", ()) if any(re.fullmatch(kept, action) for action in unneeded))


def test_what_another_unit_has_is_denied(unit: Unit) -> None:
    """Repeats each recorded call on the other unit's resource of the same kind.

    Console users may list all units, alarms and endpoints of an account.
    """
    names = {name: f"Rival{name}" for name in unit.replay.policies.names()} | OTHER
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    moved = [
        replace(need, resource=pattern.sub(lambda found: names[found[0]], need.resource))
        for need in recorded(unit.target)
        if pattern.search(need.resource)
    ]
    allowed = [need for need in moved if unit.replay.decision(need) == ALLOW]
    people = [need for need in allowed if need.action in OPEN_TO_PEOPLE and need.role in PEOPLE.values()]
    assert [need for need in allowed if need not in people] == []
    assert len(moved) >= 300


@pytest.mark.parametrize(
    ("target", "call"), FORBIDDEN, ids=[f"{t} {c['action']} {n}" for n, (t, c) in enumerate(FORBIDDEN)]
)
def test_what_nobody_may_do_is_denied(units: dict[str, Unit], target: str, call: dict[str, Any]) -> None:
    """Denied to every role and service but those that the call names."""
    unit, but = units[target], call.get("but", "$^")
    callers = [call["caller"]] if "caller" in call else list(unit.replay.policies.roles)
    allowed = [caller for caller in callers if unit.replay.decision(_needed(unit, call, caller)) == ALLOW]
    assert [caller for caller in allowed if not re.search(but, caller)] == []
    assert allowed or "but" not in call, "nobody may: `but` goes"


# done by no user of a pool, or without a pipeline: `tests/runtime/console/test_unit_calls.py` moves the clock,
# `tests/examples/test_registration.py` requests a retraining in each role
NOT_RECORDED = {"moveClock", "retrain"}
WRITES = {route.operation: route.role for route in ROUTES if route.method == "POST"}
OPEN_TO_PEOPLE = ("cloudwatch:DescribeAlarms", "ssm:GetParameter")
PEOPLE = {Role.READER: "ReaderF7BF189D", Role.ON_CALL: "OnCall0B2745F4", Role.APPROVER: "RegistryApproverF561EC49"}


@pytest.mark.parametrize("operation", sorted(set(WRITES) - NOT_RECORDED))
def test_what_a_person_changes_is_their_roles_alone(units: dict[str, Unit], operation: str) -> None:
    """Every call of the operation is allowed in its role, and at least one denied in each other role of the stack."""
    replay, needs = units["front_door"].replay, [n for n in units["front_door"].needs if n.operation == operation]
    done = {
        role
        for role in replay.policies.roles
        if all(replay.decision(replace(need, role=role)) == ALLOW for need in needs)
    }
    assert {need.role for need in needs} == done == {PEOPLE[WRITES[operation]]}


def test_what_a_reader_reads_is_denied_to_who_does_not_read(units: dict[str, Unit]) -> None:
    """Approvers read packages only; programs, the API, its jobs and the page publisher read nothing of a console."""
    replay = units["front_door"].replay
    mine = [need for need in recorded("front_door") if need.role == PEOPLE[Role.READER]]
    reads = [need for need in mine if not need.action.startswith("kms:")]  # each role uses the key through services
    others = [
        r for r in replay.policies.roles if re.search(r"^(Registry|NightlyModels)Approver|^(Api|Console|Shop)", r)
    ]
    allowed = {
        (role, need.action) for role in others for need in reads if replay.decision(replace(need, role=role)) == ALLOW
    }
    assert {action for _, action in allowed} <= {
        "sagemaker:DescribeModelPackage",
        "sagemaker:DescribeModelPackageGroup",
        "sagemaker:ListModelPackages",
    }
    assert all("Approver" in role for role, _ in allowed), allowed
    assert len(reads) >= 35


def _needed(unit: Unit, call: dict[str, Any], caller: str) -> Need:
    return Need(
        role=caller,
        action=call["action"],
        resource=resource(call, "", unit.target).replace("{role}", caller),
        context=call.get("context", {}),
    )


def test_each_statement_of_the_boundary_limits(unit: Unit) -> None:
    """Without an Allow some need is denied; without a Deny a role with all permissions may make a forbidden call."""
    replay, needs = unit.replay, [need for need in unit.needs if need.role in unit.replay.policies.roles]
    (boundary,) = set(replay.policies.boundaries.values())
    unnoticed = []
    for index, statement in enumerate(replay.policies.documents[boundary]):
        place = Place(policy=boundary, index=index)
        if statement["Effect"] == "Allow":
            if statement["Sid"] != "ServiceLinkedRoles" and not replay.is_noticed(place, needs):
                unnoticed.append(statement["Sid"])
        elif not any(_is_let_through(replay, boundary, place, probe) for probe in _probes()):
            unnoticed.append(statement["Sid"])
    assert unnoticed == []


def _probes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the calls that a boundary's denials are about: action, condition keys."""
    yield "s3:PutBucketPolicy", {}
    yield "kms:Sign", {}
    yield "sqs:SendMessage", {"aws:resourcetag/mlops:unit": "rival"}
    yield "sagemaker:UpdateModelPackage", {"sagemaker:ModelApprovalStatus": "Approved"}


def _is_let_through(replay: Replay, boundary: str, without: Place, probe: tuple[str, dict[str, Any]]) -> bool:
    """Return whether a role with all permissions may make a call only without a statement of its boundary."""
    action, keys = probe
    context = iam_evaluator.EvalContext(
        principal_arn="arn:aws:sts::000000000000:assumed-role/any/replay",
        principal_type="AssumedRole",
        principal_account="000000000000",
        action=action,
        resource_arn="*",
        region="us-east-1",
        service_context={"aws:tagkeys": None, **{key.lower(): value for key, value in keys.items()}},
    )
    everything = iam_evaluator.parse_policy_document(
        {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    )
    role = next(iter(replay.policies.boundaries))
    limits = [replay.policies.limits(role, each) for each in (None, without)]
    whole, cut = (iam_evaluator.evaluate(context, [everything], *limit).decision for limit in limits)
    return whole != ALLOW and cut == ALLOW


def test_named_calls_are_not_stale(units: dict[str, Unit]) -> None:
    """Each entry keeps some statement or condition on some target, and its test exists."""
    stale = []
    for entry in ENTRIES:
        source = entry["source"]
        if not source.startswith("https://docs.aws.amazon.com/") and not _exists(source):
            stale.append(f"no such test: {source}")
        if not any(_is_alive(unit, entry) for unit in units.values()):
            stale.append(f"{entry}: every statement is noticed without it")
    assert stale == []


def _is_alive(unit: Unit, entry: dict[str, Any]) -> bool:
    own = {
        id(need)
        for need in unit.needs
        if (need.source, need.resource) == (entry["source"], resource(entry, need.role, unit.target))
        and need.action in entry["actions"]
        and need.role in callers(entry, unit.replay.policies)
    }
    mine = [need for need in unit.needs if id(need) in own]
    rest = [need for need in unit.needs if id(need) not in own]
    replay = unit.replay
    places = [
        place
        for statements in (replay.policies.statements("Allow"), replay.resources.statements("Allow"))
        for place, _ in statements
        if replay.matched(place, mine)
    ]
    return any(
        not replay.is_noticed(place, replay.matched(place, rest)) or _drops(replay, place, rest, entry)
        for place in places
    )


def _drops(replay: Replay, place: Place, rest: list[Need], entry: dict[str, Any]) -> bool:
    """Return whether an action of a named call could be dropped without it."""
    return bool(set(entry["actions"]) & set(replay.unneeded_actions(place, rest)))


def test_no_kept_right_is_stale(units: dict[str, Unit]) -> None:
    """Each entry excuses something that no call needs."""
    hidden = {
        (id(entry), kept)
        for unit in units.values()
        for place, statement in (
            *unit.replay.policies.statements("Allow"),
            *unit.replay.resources.statements("Allow"),
        )
        for entry in KEPT
        if _is_about(entry, place, statement)
        for kept in _hidden(unit, place, entry)
    }
    stale = [
        f"{entry['policy']} {kept}"
        for entry in KEPT
        for kept in (*entry.get("conditions", ()), *entry.get("actions", ()))
        if (id(entry), kept) not in hidden
    ]
    assert stale == []
    assert all(len(entry["reason"]) > 40 for entry in KEPT)


def _exists(test: str) -> bool:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).is_file() else ast.Module([], [])
    return name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
