"""Model cards: what a passport says, for people."""

from dataclasses import replace

from rollout_world import PACKAGE, record_of

from mlops_runtime.contracts.model import GateResult, GateVerdict
from mlops_runtime.registry.package import RegisteredPackage
from mlops_runtime.rollout.audit import GENESIS
from mlops_runtime.rollout.card import model_card
from mlops_runtime.rollout.passport import passport_of

GATE = GateResult(
    verdict=GateVerdict.PASSED,
    checks=(),
    evaluation_uri=PACKAGE.evaluation_uri,
    evaluation_sha256="9" * 64,
    reason="better",
)
REGISTERED = RegisteredPackage(
    spec=PACKAGE,
    arn="arn:model-package/demand-forecast/7",
    status="Completed",
    approval="Approved",
    approved_by="ann",
    container_sha256="c" * 64,
)


def test_a_card_names_every_fact_or_why_it_is_missing() -> None:
    """In the order in which a reviewer asks."""
    passport = passport_of(
        record_of(3, GENESIS), REGISTERED, {"ApprovalDescription": "good"}, GATE, machine_sha256="f" * 64
    )
    card = model_card(passport)
    assert card.splitlines()[0] == "# demand-forecast: 7"
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == ["## What it is", "## How it was made", "## Gate", "## How it was released"]
    for text in (
        PACKAGE.image,
        PACKAGE.model_sha256,
        PACKAGE.training_set_id,
        "PASSED: better",
        "| Approved by | ann |",
        f"| Deploy machine (SHA-256) | {'f' * 64} |",
    ):
        assert text in card
    assert "| Code | not recorded: the package was registered without the address of its training code" in card
    assert card.count("not recorded: ") == len(passport.not_recorded)


def test_what_people_wrote_is_text() -> None:
    """No table, link or HTML comes from an approval."""
    hostile = {"ApprovalDescription": "x | y\n# [a](http://b) <script>"}
    card = model_card(replace(passport_of(record_of(3, GENESIS), REGISTERED, hostile, GATE, machine_sha256=None)))
    assert "| Approval | x \\| y \\# \\[a](http://b) \\<script> |" in card
