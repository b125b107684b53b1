"""Archive signatures: they cover every byte and fit no other archive, key or type of document.

Archives are signed after they pass a gate, and verified before they get traffic.
"""

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.passed import EVALUATION, gate_of, put_passed
from tests.runtime.rollout.world import EXECUTION, NOW, PACKAGE, World
from tests.signing import KEY, SigningKms

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import GateVerdict
from mlops_runtime.rollout.archive_signatures import (
    ArchiveSignatureError,
    SignedArchives,
    archive_signature,
    signature_uri,
    signed_digest,
    signed_message,
    statement,
)
from mlops_runtime.rollout.deploy_plan import Plan
from mlops_runtime.rollout.preflight import decide
from mlops_runtime.rollout.seals import statement as seal_statement

DIGEST = hashlib.sha256(b"archive").hexdigest()
KMS = SigningKms()


ARCHIVE, SIGNATURE = (f"models/demand-forecast/one/model.{kind}" for kind in ("tar.gz", "sig"))
EVALUATION_KEY, GATE = "evaluations/demand-forecast/one/evaluation.json", "gates/demand-forecast/one.json"
GATE_URI = f"s3://artifacts/{GATE}"
SPEC = replace(
    PACKAGE,
    artifact_uri=f"s3://artifacts/{ARCHIVE}",
    artifact_sha256=hashlib.sha256(b"archive").hexdigest(),
    signing_key=KEY,
)


def _signed(kms: SigningKms = KMS, digest: str = DIGEST) -> bytes:
    signature = base64.b64decode(kms.sealer.sign(signed_message(digest)))
    return archive_signature(digest, signature, kms.public)


def test_a_signature_names_the_archive() -> None:
    """KMS signs the message as it is."""
    assert signed_digest(_signed(), KMS.public) == DIGEST
    assert len(signed_message(DIGEST)) <= 4096
    assert signature_uri("s3://b/models/p/one/model.tar.gz") == "s3://b/models/p/one/model.sig"


def test_no_byte_may_change() -> None:
    """Covers the envelope, the statement, the signature and the key hint."""
    content = _signed()
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        with pytest.raises(ArchiveSignatureError):
            signed_digest(changed, KMS.public)


@pytest.mark.parametrize("change", [b" ", b"\n", b"{}"])
def test_nothing_may_be_added(change: bytes) -> None:
    """JSON parsers would ignore additions."""
    for content in (_signed() + change, change + _signed()):
        with pytest.raises(ArchiveSignatureError):
            signed_digest(content, KMS.public)


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b'{"dsseEnvelope": {"payload": 1}}', b"[" * 5000, b"\xff"])
def test_what_is_something_else_is_refused(content: bytes) -> None:
    """Rejects any other content."""
    with pytest.raises(ArchiveSignatureError, match="is not a signature of an archive"):
        signed_digest(content, KMS.public)


def test_another_key_is_refused() -> None:
    """Rejected by its hint; with a forged hint by the signature."""
    with pytest.raises(ArchiveSignatureError, match="for this archive and key"):
        signed_digest(_signed(SigningKms()), KMS.public)
    forged = archive_signature(DIGEST, base64.b64decode(SigningKms().sealer.sign(signed_message(DIGEST))), KMS.public)
    with pytest.raises(ArchiveSignatureError, match="not signed with the unit's key"):
        signed_digest(forged, KMS.public)


def test_a_signature_of_another_archive_is_refused() -> None:
    """Placed under a statement that it does not sign."""
    other = hashlib.sha256(b"other").hexdigest()
    mixed = archive_signature(DIGEST, base64.b64decode(KMS.sealer.sign(signed_message(other))), KMS.public)
    with pytest.raises(ArchiveSignatureError, match="not signed with the unit's key"):
        signed_digest(mixed, KMS.public)


def test_no_signature_of_a_record_is_one_of_an_archive() -> None:
    """The same key signs both, so the signed messages begin differently."""
    assert signed_message(DIGEST)[:1] != seal_statement("demand", 1, DIGEST, KEY)[:1] == b"{"
    sealed = base64.b64decode(KMS.sealer.sign(statement(DIGEST)))
    with pytest.raises(ArchiveSignatureError):
        signed_digest(archive_signature(DIGEST, sealed, KMS.public), KMS.public)


def test_the_statement_is_of_model_signing() -> None:
    """The subject's digest is that of all files' digests, and the single file has no name."""
    found = json.loads(statement(DIGEST))
    assert found["predicate"]["resources"] == [{"name": ".", "algorithm": "sha256", "digest": DIGEST}]
    assert found["subject"][0]["digest"]["sha256"] == hashlib.sha256(bytes.fromhex(DIGEST)).hexdigest()


def _put(world: World, key: str, content: bytes, **more: Any) -> None:
    world.s3.put_object(Bucket="artifacts", Key=key, Body=content, **more)


@pytest.fixture
def passed(world: World) -> World:
    """Return a stored archive, its evaluation and the gate's verdict."""
    assert put_passed(world.s3) == GATE_URI
    return world


def test_what_passed_is_signed_once(passed: World) -> None:
    """A repeated call keeps the first signature, since two signatures of an archive differ."""
    archives = passed.sources.archives
    assert archives.sign(GATE_URI) == {"signature_uri": f"s3://artifacts/{SIGNATURE}"}
    first = passed.contents("artifacts")[SIGNATURE]
    assert archives.sign(GATE_URI) == {"signature_uri": f"s3://artifacts/{SIGNATURE}"}
    assert passed.contents("artifacts")[SIGNATURE] == first
    assert archives.problems(SPEC) == ()


def _plan(world: World, reason: str, package: str) -> Plan:
    request = world.request(reason, package)
    return decide(request, world.facts(request), execution=EXECUTION, now=NOW)


def _failed(world: World) -> None:
    evaluation = world.contents("artifacts")[EVALUATION_KEY]
    _put(world, GATE, canonical_json(gate_of(evaluation, execution="one", verdict=GateVerdict.FAILED)))


def _of_another_pipeline(world: World) -> None:
    gate = gate_of(world.contents("artifacts")[EVALUATION_KEY], execution="one")
    other = gate.evaluation_uri.replace("demand-forecast", "other")
    _put(world, GATE, canonical_json(replace(gate, evaluation_uri=other)))


def _evaluation_changed(world: World) -> None:
    _put(world, EVALUATION_KEY, canonical_json(replace(EVALUATION, rows=2)))


def _archive_changed(world: World) -> None:
    _put(world, ARCHIVE, b"another", ChecksumAlgorithm="SHA256")


def _archive_gone(world: World) -> None:
    world.s3.delete_object(Bucket="artifacts", Key=ARCHIVE)


def _archive_without_hash(world: World) -> None:
    _put(world, ARCHIVE, b"archive")


def _signature_of_another(world: World) -> None:
    put_passed(world.s3, evaluation=replace(EVALUATION, artifact_sha256=hashlib.sha256(b"another").hexdigest()))
    _archive_changed(world)
    world.sources.archives.sign(GATE_URI)
    put_passed(world.s3)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (_failed, "is FAILED: only candidates that passed are signed"),
        (_of_another_pipeline, "not of pipeline demand-forecast"),
        (_evaluation_changed, "is not the evaluation that"),
        (_archive_changed, "; the gate passed"),
        (_archive_gone, "is missing; the gate passed"),
        (_archive_without_hash, "S3 has no full-object SHA-256"),
        (_signature_of_another, "signs another archive"),
    ],
)
def test_nothing_else_is_signed(change: Any, finding: str, passed: World) -> None:
    """The request names a location; its content decides."""
    change(passed)
    with pytest.raises(ArchiveSignatureError, match=finding):
        passed.sources.archives.sign(GATE_URI)


@pytest.mark.parametrize("uri", ["s3://other/gates/p/one.json", "s3://artifacts/gates/p/../../x.json", "one", ""])
def test_a_gate_elsewhere_is_refused(uri: str, world: World) -> None:
    """Only locations where gates write are accepted."""
    with pytest.raises(ArchiveSignatureError, match="gate_uri must be s3://artifacts/gates/<pipeline>/<execution>"):
        world.sources.archives.sign(uri)


@pytest.fixture
def signed(passed: World) -> World:
    """Return the same after signing."""
    passed.sources.archives.sign(GATE_URI)
    return passed


def _signature_changed(world: World) -> None:
    content = world.contents("artifacts")[SIGNATURE]
    _put(world, SIGNATURE, content[:-20] + b"x" + content[-19:])


def _signature_gone(world: World) -> None:
    world.s3.delete_object(Bucket="artifacts", Key=SIGNATURE)


def _signature_with_another_key(world: World) -> None:
    other = SignedArchives(s3=world.s3, bucket="artifacts", sealer=SigningKms().sealer)
    _signature_gone(world)
    other.sign(GATE_URI)


MANIPULATIONS = [
    (_signature_changed, SPEC, "model.sig: it is not"),
    (_signature_gone, SPEC, "model.sig is missing"),
    (_signature_with_another_key, SPEC, "it differs from what the recorder writes for this archive and key"),
    (_archive_changed, SPEC, "; its signature is for"),
    (_archive_gone, SPEC, "is missing; its signature is for"),
    (_archive_without_hash, SPEC, "S3 has no full-object SHA-256"),
    (
        lambda _: None,
        replace(SPEC, artifact_sha256="0" * 64),
        "0000000000000000000000000000000000000000000000000000000000000000 is registered",
    ),
    (
        lambda _: None,
        replace(SPEC, signing_key="arn:aws:kms:us-east-1:1:key/x"),
        "it was signed with arn:aws:kms:us-east-1:1:key/x",
    ),
    (
        lambda _: None,
        replace(SPEC, artifact_uri="s3://other/model.tar.gz"),
        "but signed archives are below s3://artifacts/",
    ),
]


@pytest.mark.parametrize(("change", "spec", "finding"), MANIPULATIONS)
def test_every_manipulation_is_found_and_refused(change: Any, spec: Any, finding: str, signed: World) -> None:
    """On each path to traffic, by name."""
    change(signed)
    (problem,) = signed.sources.archives.problems(spec)
    assert finding in problem
    package, live = signed.package(spec=spec), signed.package()
    signed.version("demand-forecast-0000000a", live)
    signed.serve("demand-forecast-0000000a")
    signed.store()
    signed.point(signed.pointer("demand-forecast-0000000a", live))
    signed.promote(package)
    for reason in ("approval", "rollback"):
        plan = _plan(signed, reason, package)
        assert (plan.action, plan.reason) == (
            "refuse",
            f"the archive of {package} does not match its signature: {problem}",
        )


def test_what_was_signed_is_deployed(signed: World) -> None:
    """Also an archive recorded as unsigned, whose hash covers that and was approved."""
    signed.store()
    for spec in (SPEC, PACKAGE):
        assert _plan(signed, "approval", signed.package(spec=spec)).action == "create"
