"""Attacks on a deployed target with IAM enforced in both accounts: none is promoted, and each is rejected by name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.examples.test_two_accounts import BUILD
from tests.promotion_attacks.attacks import ATTACKS, Attack

from mlops_runtime.contracts.rollout import Outcome

if TYPE_CHECKING:
    from tests.promotion_attacks.besieged import Besieged

pytestmark = pytest.mark.cloud


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.group}: {attack.name}")
def test_it_promotes_nothing_and_is_named(siege: Besieged, attack: Attack) -> None:
    """Nothing of a rejected offer is registered or stored; a pending one is not approved."""
    packages, kept = siege.packages(), siege.kept()
    offered = attack.act(siege)
    if attack.state is None:
        assert siege.offers.read(offered.sha256) is None
    else:
        offer = siege.decided(offered)
        assert (offer.state, attack.words in offer.reason) == (attack.state, True), offer
    if attack.state != "REGISTERED":
        assert (siege.packages(), siege.kept()) == (packages, kept)
    added = siege.packages().items() - packages.items()
    assert [status for _, status in added] == ["PendingManualApproval"] * len(added)


def test_the_cases_are_many_and_each_has_a_name() -> None:
    """At least sixty cases, with every group."""
    names = [f"{attack.group}: {attack.name}" for attack in ATTACKS]

    assert len(set(names)) == len(names) >= 60
    assert min(Counter(attack.group for attack in ATTACKS).values()) >= 6


def test_nothing_but_the_honest_release_serves(siege: Besieged) -> None:
    """After all attacks one package is approved and serves, and the chain of promotions is valid and has each rejection."""
    records, problems = siege.chain()
    approved = [arn for arn, status in siege.packages().items() if status == "Approved"]
    live = siege.loop.live()

    assert problems == []
    assert live is not None
    assert approved == [live.model_package_arn]
    assert siege.loop.invoke([{"x": 2.0}], "ask")[0].predictions[0] == pytest.approx(6.0)
    refused = {each.reason for each in records if each.outcome is Outcome.REFUSED}
    assert {each.reason for each in siege.offers.offers() if each.state == "REFUSED"} <= refused
    assert {each.requested_by for each in records} == {f"build, {BUILD.account} {BUILD.region}"}
