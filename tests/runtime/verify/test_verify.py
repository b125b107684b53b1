"""Names, steps and problems of a verification, as data."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from mlops_local.aws_claims import read_claims
from mlops_runtime.verify.account import names
from mlops_runtime.verify.budget import hourly_prices
from mlops_runtime.verify.problems import LeftBehindError, is_cut_off
from mlops_runtime.verify.steps import INSTANCE, TEARDOWN, ahead, cost_meanwhile, estimate, steps

PRICES = hourly_prices("us-east-1")
# what the ledger does not hold: questions about the account, and about this command
OWN = {
    "region-has-the-endpoint-services",
    "quotas-leave-room",
    "iam-takes-the-policies",
    "step-functions-takes-the-definitions",
    "cloudformation-takes-the-template",
    "unit-deploys-without-a-model",
    "approved-model-serves",
    "canary-promotes",
    "unit-is-deleted-while-serving",
    "verify-leaves-nothing",
}


def test_names_differ_by_account_and_region_and_fit() -> None:
    """A unit's name has at most 20 characters, a bucket's 63."""
    found = [names(account, region) for account in ("1" * 12, "2" * 12) for region in ("us-east-1", "eu-west-1")]

    assert len({n.bucket for n in found}) == len({n.stack for n in found}) == 4
    assert all(len(n.unit) <= 20 and len(n.bucket) <= 63 for n in found)
    assert all("1" * 12 not in f"{n}" for n in found)
    assert found[0] == names("1" * 12, "us-east-1")


def test_every_assertion_is_of_the_ledger_or_of_the_account() -> None:
    """Each assertion occurs once."""
    claims = [claim for step in (*steps(interface_endpoints=8), TEARDOWN) for claim in step.claims]

    assert len(claims) == len(set(claims))
    assert set(claims) - {claim.id for claim in read_claims()} == OWN


def test_free_steps_make_nothing_that_is_paid_and_come_first() -> None:
    """Resources billed by the hour are created after all free steps."""
    found = steps(interface_endpoints=8)
    free = [step.is_free for step in found]

    assert free == sorted(free, reverse=True)
    assert all(not step.keeps and not step.meanwhile for step in found if step.is_free)


def test_the_estimate_counts_all_of_the_time() -> None:
    """Network and key count from the deployment on, instances from the first model on, a second fleet in each rollout."""
    paid = [step for step in steps(interface_endpoints=8) if not step.is_free]
    minutes = {step.name: step.minutes for step in (*paid, TEARDOWN)}
    total = sum(minutes.values()) / 60
    served = (total * 60 - sum(minutes[name] for name in ("deploy", "approver", "packages", "fill"))) / 60
    rollouts = (minutes["canary"] + minutes["rollback"] + minutes["requests"]) / 60
    network = 8 * 0.01 * -(-total // 1)

    expected = network + total / 730 + 2 * 0.115 * (served + rollouts)
    assert estimate(steps(interface_endpoints=8), PRICES) == pytest.approx(expected)
    assert estimate([step for step in steps(interface_endpoints=8) if step.is_free], PRICES) == 0


def test_what_is_ahead_of_a_step() -> None:
    """The costs include running resources, new resources, and those needed meanwhile."""
    canary = next(step for step in steps(interface_endpoints=8) if step.name == "canary")

    assert cost_meanwhile(canary, PRICES) == pytest.approx(2 * 0.115 * 35 / 60)
    assert ahead(canary, {INSTANCE: 2}, PRICES) == pytest.approx(4 * 0.115 * 35 / 60)


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "PutObject"), True),
        (ClientError({"Error": {"Code": "ExpiredTokenException"}}, "ListModels"), True),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject"), False),
        (NoCredentialsError(), True),
        (ValueError("ExpiredToken"), False),
    ],
)
def test_expired_credentials_are_known_by_their_code(error: Exception, is_so: bool) -> None:
    """Services have several codes for it."""
    assert is_cut_off(error) is is_so


def test_what_is_left_is_named_with_its_command() -> None:
    """The message lists all leftovers."""
    error = LeftBehindError("interrupted", ["stack a", "bucket b"], "mlops verify --clean --region us-east-1")

    assert str(error) == (
        "interrupted; left in the account: stack a, bucket b; remove it with: mlops verify --clean --region us-east-1"
    )
