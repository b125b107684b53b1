"""Passports: their content, signature and verification by the records that name them.

Model cards: the content of a passport for people.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.runtime.rollout.world import ENDPOINT, EXECUTION, NOW, PACKAGE, World, record_of
from tests.signing import KEY, SigningKms

from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.model import GateResult, GateVerdict
from mlops_runtime.contracts.passport import Passport, SignedPassport, passport_key
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.registry.model_package import RegisteredPackage
from mlops_runtime.rollout.audit_chain import GENESIS
from mlops_runtime.rollout.definition_hash import FIELD
from mlops_runtime.rollout.outcome_record import Claim, claim_from, record
from mlops_runtime.rollout.passport import PassportError, model_card, passport_of, read_passport, sign_passport

KMS = SigningKms()
GATE = GateResult(
    verdict=GateVerdict.PASSED,
    checks=(),
    evaluation_uri=PACKAGE.evaluation_uri,
    evaluation_sha256="9" * 64,
    reason="better",
)
GATES = "gates/demand-forecast/one.json"


REGISTERED = RegisteredPackage(
    spec=PACKAGE,
    arn="arn:model-package/demand-forecast/7",
    status="Completed",
    approval="Approved",
    approved_by="ann",
    container_sha256="c" * 64,
)


@pytest.fixture
def promoted(world: World) -> tuple[World, Claim]:
    """Return an execution with the lock, a serving config and a stored gate result."""
    world.s3.put_object(Bucket="artifacts", Key=GATES, Body=canonical_json(GATE))
    package = world.package()
    world.version("demand-forecast-00000002", package)
    world.serve("demand-forecast-00000002")
    world.lock()
    plan = {
        "config_name": "demand-forecast-00000002",
        "candidate_package": package,
        "live": to_dict(world.pointer("demand-forecast-00000002", package)),
    }
    return world, Claim(outcome=Outcome.PROMOTED, reason="evidence", execution=EXECUTION, at=NOW, plan=plan)


def _passports(world: World) -> dict[str, bytes]:
    return {key: content for key, content in world.contents("audit").items() if key.startswith("passports/")}


def _record(world: World) -> AuditRecord:
    return from_json(AuditRecord, str(world.table.read().audit_last))


def test_a_promotion_gets_one_signed_document(promoted: tuple[World, Claim]) -> None:
    """From record, package and gate; unrecorded facts have a reason, and no fact is both present and missing."""
    world, claim = promoted
    record(claim, sagemaker=world.sagemaker, chain=world.chain)

    ((key, content),) = _passports(world).items()
    passport, last = read_passport(content, world.kms.public.is_signed), _record(world)

    assert key == passport_key(ENDPOINT, 1, str(last.passport_sha256))
    assert content_hash(passport) == last.passport_sha256
    assert (passport.package, passport.training_set_id) == (last.serving_package, PACKAGE.training_set_id)
    assert (passport.image, passport.model_sha256) == (PACKAGE.image, PACKAGE.model_sha256)
    assert passport.approver == "arn:aws:sts::123456789012:assumed-role/Approver/ann"
    assert passport.gate is not None
    assert (passport.gate.verdict, passport.gate.uri) == ("PASSED", f"s3://artifacts/{GATES}")
    facts = to_dict(passport)
    assert {name for name in passport.not_recorded if facts.get(name) is not None} == set()
    assert {"code", "signing_key", "machine_sha256", "golden_sha256"} <= passport.not_recorded.keys()
    assert all(reason for reason in passport.not_recorded.values())
    assert world.problems() == []


def test_a_passport_names_the_machine_that_promoted(promoted: tuple[World, Claim]) -> None:
    """The hash is signed, so another hash is another passport. An invalid hash is left out and stops no record."""
    world, _ = promoted
    event = {"outcome": "PROMOTED", "execution": EXECUTION, "now": NOW.isoformat(), FIELD: "f" * 64}
    claim = claim_from(event | {"plan": dict(promoted[1].plan)})
    record(claim, sagemaker=world.sagemaker, chain=world.chain)

    ((key, content),) = _passports(world).items()
    assert read_passport(content, world.kms.public.is_signed).machine_sha256 == "f" * 64
    world.s3.put_object(Bucket="audit", Key=key, Body=content.replace(b"f" * 64, b"e" * 64))
    assert world.problems() == [f"{key}: the passport is not signed with the unit's key"]
    for none in ("", "f" * 63, 7, None):
        assert claim_from(event | {FIELD: none}).machine_sha256 is None


def test_a_retry_writes_none_again(promoted: tuple[World, Claim]) -> None:
    """Only promotions get one."""
    world, claim = promoted
    record(claim, sagemaker=world.sagemaker, chain=world.chain)
    before = _passports(world)
    record(claim, sagemaker=world.sagemaker, chain=world.chain)
    rejected = Claim(outcome=Outcome.REJECTED, reason="lost", execution="retrain", at=NOW)
    record(rejected, sagemaker=world.sagemaker, chain=world.chain)
    assert _passports(world) == before
    assert _record(world).passport_sha256 is None


@pytest.mark.parametrize("gate", [None, b"junk", b"[" * 2_000_000], ids=["missing", "junk", "too long"])
def test_a_gate_that_cannot_be_read_is_not_recorded(gate: bytes | None, promoted: tuple[World, Claim]) -> None:
    """The promotion is recorded, and the passport has the reason for the missing gate."""
    world, claim = promoted
    world.s3.delete_object(Bucket="artifacts", Key=GATES)
    if gate is not None:
        world.s3.put_object(Bucket="artifacts", Key=GATES, Body=gate)
    record(claim, sagemaker=world.sagemaker, chain=world.chain)
    (content,) = _passports(world).values()
    passport = read_passport(content, world.kms.public.is_signed)
    assert passport.gate is None
    assert f"s3://artifacts/{GATES} cannot be read" in passport.not_recorded["gate"]


def test_changed_and_missing_passports_are_found(promoted: tuple[World, Claim]) -> None:
    """By the record's hash and by their own signature."""
    world, claim = promoted
    record(claim, sagemaker=world.sagemaker, chain=world.chain)
    ((key, content),) = _passports(world).items()
    for changed in (content.replace(b"ann", b"bob"), b"junk", content + b" "):
        world.s3.put_object(Bucket="audit", Key=key, Body=changed)
        (problem,) = world.problems()
        assert problem.startswith(f"{key}: ")
    other = replace(from_json(SignedPassport, content).passport, approver="bob")
    world.s3.put_object(Bucket="audit", Key=key, Body=canonical_json(sign_passport(other, world.kms.sealer)))
    assert world.problems() == [f"{key} is not the passport that its record names"]
    world.s3.delete_object(Bucket="audit", Key=key)
    assert world.problems() == [f"{key} is missing"]


def test_every_changed_byte_of_a_passport_is_found() -> None:
    """A sample of positions over the whole file."""
    passport = passport_of(record_of(1, GENESIS), None, {}, "no package", machine_sha256=None)
    content = canonical_json(sign_passport(passport, KMS.sealer))
    assert read_passport(content, KMS.public.is_signed) == passport
    for at in range(0, len(content), 41):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(PassportError):
            read_passport(changed, KMS.public.is_signed)


def test_a_model_without_a_package_says_so() -> None:
    """Every fact of the package has that reason."""
    passport = passport_of(record_of(1, GENESIS), None, {}, "no package", machine_sha256=None)
    facts: dict[str, Any] = to_dict(passport)
    missing = {name for name in Passport.__slots__ if facts.get(name) is None}
    assert missing == passport.not_recorded.keys()
    assert passport.not_recorded["model_sha256"] == "the live version has no package, or its package cannot be read"
    assert passport.not_recorded["gate"] == passport.not_recorded["image"]


def test_a_card_says_what_loads_the_model() -> None:
    """With the rights that it has; cards of ONNX models omit it."""
    package = RegisteredPackage(
        spec=replace(PACKAGE, flavor="pickle", trust="pickle"),
        arn="arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1",
        status="Completed",
        approval="Approved",
        container_sha256="a" * 64,
    )
    made = partial(passport_of, record_of(1, GENESIS), description={}, gate="no package", machine_sha256=None)
    passport = made(package)
    assert "| Loaded by | pickle |\n| Loading it may | pickle |" in model_card(passport)
    onnx = made(replace(package, spec=PACKAGE))
    assert "Loaded by" not in model_card(onnx)
    assert "trust" not in onnx.not_recorded


def test_hashes_of_container_and_golden_requests_are_the_records() -> None:
    """They belong to the promoted container."""
    package = RegisteredPackage(
        spec=PACKAGE,
        arn="p",
        status="Completed",
        approval="Approved",
        approved_by="ann",
        container_sha256="c" * 64,
    )
    made = record_of(1, GENESIS, container_sha256="c" * 64, golden_sha256="d" * 64, spec_sha256="e" * 64)
    passport = passport_of(made, package, {"ApprovalDescription": "good"}, GATE, machine_sha256=None)
    assert (passport.container_sha256, passport.golden_sha256, passport.spec_sha256) == ("c" * 64, "d" * 64, "e" * 64)
    assert set(passport.not_recorded) == {"code", "signing_key", "machine_sha256"}
    spec = replace(PACKAGE, code="s3://assets/0123.zip", signing_key=KEY)
    passport = passport_of(
        made, replace(package, spec=spec), {"ApprovalDescription": "good"}, GATE, machine_sha256="f" * 64
    )
    assert (passport.code, passport.signing_key) == ("s3://assets/0123.zip", KEY)
    assert passport.machine_sha256 == "f" * 64
    assert passport.not_recorded == {}


def test_a_card_names_every_fact_or_why_it_is_missing() -> None:
    """In the order of a review."""
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
    """An approval's text adds no table, link or HTML."""
    hostile = {"ApprovalDescription": "x | y\n# [a](http://b) <script>"}
    card = model_card(replace(passport_of(record_of(3, GENESIS), REGISTERED, hostile, GATE, machine_sha256=None)))
    assert "| Approval | x \\| y \\# \\[a](http://b) \\<script> |" in card
