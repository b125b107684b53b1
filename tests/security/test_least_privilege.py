"""Each right of a unit's roles is needed: calls of a recorded loop are replayed against policies with parts taken away.

`recorded_calls.json` is written by ``python -m tests.security.record FOLDER``, the loop of demand forecasting, and
``python -m tests.security.needs FOLDER``; `named_calls.yaml` and `services.py` have what no loop shows. Where a policy changes
and a test here fails: record again, or name the call with its source, or take the statement away.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ministack.core import iam_evaluator
from tests.security.needs import FOLDER, NAMED, Need, named, recorded
from tests.security.policies import Place, Policies
from tests.security.replay import ALLOW, Replay
from tests.security.services import Services
from tests.security.units import template

from mlops_constructs._assets import build_layers

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN: list[dict[str, Any]] = yaml.safe_load((FOLDER / "forbidden_calls.yaml").read_text())
OTHER = {
    "demand-forecast": "rival-forecast",
    "demand_features": "rival_features",
    "DemandForecastingUnitBus8D998D2D": "RivalUnitBus8D998D2D",
}


@pytest.fixture(scope="module")
def synthesized() -> dict[str, Any]:
    """The template of the unit whose loop was recorded."""
    list(build_layers(names=["monitor"]))
    return template()


@pytest.fixture(scope="module")
def replay(synthesized: dict[str, Any]) -> Replay:
    """The evaluator over its policies."""
    return Replay(Policies(synthesized))


@pytest.fixture(scope="module")
def needs(synthesized: dict[str, Any], replay: Replay) -> list[Need]:
    """All calls that must be allowed."""
    return [*recorded(), *named(replay.policies), *Services(synthesized, replay.policies).needs()]


def test_needs_are_allowed(replay: Replay, needs: list[Need]) -> None:
    """Every recorded and every named call; every role makes some."""
    denied = [need for need in needs if replay.decision(need) != ALLOW]
    assert denied == []
    assert {need.role for need in needs} == set(replay.policies.roles)
    assert len(recorded()) >= 400


def test_no_statement_can_be_dropped(replay: Replay, needs: list[Need]) -> None:
    """Without any one statement of a role's policy, or of a bucket's that names a role, some need is denied."""
    statements = list(replay.policies.statements("Allow"))
    survivors = [
        f"{place}: {statement['Action']} on {statement['Resource']}"
        for place, statement in statements
        if not replay.is_noticed(place, replay.matched(place, needs))
    ]
    assert survivors == []
    assert len(statements) >= 150


def test_no_condition_can_be_dropped(replay: Replay, needs: list[Need]) -> None:
    """Without any one condition key of a statement, a call is allowed that differs from a need in that key alone."""
    statements = [(place, s) for place, s in replay.policies.statements("Allow") if s.get("Condition")]
    uncaught = {
        str(place): found for place, _ in statements if (found := list(replay.uncaught_conditions(place, needs)))
    }
    assert uncaught == {}
    assert len(statements) >= 40


def test_what_another_unit_has_is_denied(replay: Replay) -> None:
    """Each recorded call, made on the resource of the same kind of another unit."""
    names = {name: f"Rival{name}" for name in replay.policies.names()} | OTHER
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    moved = [
        replace(need, resource=pattern.sub(lambda found: names[found[0]], need.resource))
        for need in recorded()
        if pattern.search(need.resource)
    ]
    assert [need for need in moved if replay.decision(need) == ALLOW] == []
    assert len(moved) >= 300


@pytest.mark.parametrize("call", FORBIDDEN, ids=[f"{call['action']} {n}" for n, call in enumerate(FORBIDDEN)])
def test_what_no_role_may_do_is_denied(replay: Replay, call: dict[str, Any]) -> None:
    """To every role but those that the call names."""
    allowed = [
        role
        for role in replay.policies.roles
        if replay.decision(_asked(call, role)) == ALLOW and not re.search(call.get("but", "$^"), role)
    ]
    assert allowed == []
    if "but" in call:
        assert any(replay.decision(_asked(call, role)) == ALLOW for role in replay.policies.roles), (
            "nobody may: `but` goes"
        )


def _asked(call: dict[str, Any], role: str) -> Need:
    return Need(
        role=role,
        action=call["action"],
        resource=call["resource"].format(role=role),
        context=call.get("context", {}),
    )


def test_each_statement_of_the_boundary_limits(replay: Replay, needs: list[Need]) -> None:
    """Without an Allow some need is denied; without a Deny a role that was given everything may do what it must not."""
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
    """Calls that a boundary's denials are about: action, condition keys."""
    yield "s3:PutBucketPolicy", {}
    yield "kms:Sign", {}
    yield "sqs:SendMessage", {"aws:resourcetag/mlops:unit": "rival"}
    yield "sagemaker:UpdateModelPackage", {"sagemaker:ModelApprovalStatus": "Approved"}


def _is_let_through(replay: Replay, boundary: str, without: Place, probe: tuple[str, dict[str, Any]]) -> bool:
    """Whether a role with every right may make a call only once a statement of its boundary is gone."""
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
    role = next(iter(replay.policies.roles))
    limits = [replay.policies.parsed_boundary(role, each) for each in (None, without)]
    whole, cut = (iam_evaluator.evaluate(context, [everything], [limit]).decision for limit in limits)
    return whole != ALLOW and cut == ALLOW


def test_named_calls_are_not_stale(synthesized: dict[str, Any], replay: Replay, needs: list[Need]) -> None:
    """Each entry keeps some statement or condition alive, and its test is there."""
    entries = yaml.safe_load(NAMED.read_text())["calls"]
    places = [place for place, _ in replay.policies.statements("Allow")]
    stale = []
    for entry in entries:
        source = entry["source"]
        if not source.startswith("https://docs.aws.amazon.com/") and not _is_there(source):
            stale.append(f"no such test: {source}")
        rest = [need for need in needs if not _is_of(need, entry)]
        touched = [place for place in places if any(_is_of(need, entry) for need in replay.matched(place, needs))]
        if all(replay.is_noticed(place, replay.matched(place, rest)) for place in touched):
            stale.append(f"{entry['roles']} {entry['actions']}: every statement is noticed without it")
    assert stale == []


def _is_of(need: Need, entry: dict[str, Any]) -> bool:
    return (
        need.source == entry["source"]
        and need.action in entry["actions"]
        and need.resource == entry["resource"]
        and bool(re.search(entry["roles"], need.role))
    )


def _is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text()) if (ROOT / path).is_file() else ast.Module([], [])
    return name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
