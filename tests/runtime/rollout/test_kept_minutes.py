"""The minutes of a verdict next to its record: stored by hash, read and recomputed."""

import hashlib
from dataclasses import asdict, replace

import pytest
from tests.runtime.rollout.world import World, record_of

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import AuditRecord, RolloutVerdict, audit_key, minutes_key
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Minute
from mlops_runtime.rollout.kept_minutes import (
    MinutesError,
    beside,
    broken_minutes,
    read_bytes,
    read_minutes,
    running_evidence,
    written_minutes,
)
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.rollout_verdict import NOT_COMPARED
from mlops_runtime.rollout.verdict import Compared, error_rule, judge, slow_rule

MINUTE = Minute(new=Counts(calls=600, failed=9), old=Counts(calls=5400, failed=8))
ERRORS = Compared(
    minutes=(MINUTE, MINUTE, MINUTE),
    history=(Counts(calls=6000, failed=7),),
    rule=error_rule(false_alarm=0.01, extra=0.0005, is_latency_compared=True),
)
SLOW = replace(
    ERRORS, rule=slow_rule(false_alarm=0.01, limits=1), did="took longer than 9 ms", old_did=" longer than 6 ms"
)
VERDICT = judge(ERRORS, [SLOW])
CONTENT = canonical_json({"format": "mlops.verdict/1", "compared": [asdict(ERRORS), asdict(SLOW)]})
DIGEST = hashlib.sha256(CONTENT).hexdigest()
RECORDED = RolloutVerdict(
    action="stop",
    calls=VERDICT.calls,
    evidence=VERDICT.evidence,
    minutes=3,
    sentence=VERDICT.sentence,
    minutes_uri="s3://artifacts/verdicts/demand-forecast/c.json",
    minutes_sha256=DIGEST,
)


def recorded(number: int = 1) -> AuditRecord:
    """Return a record with its minutes."""
    return beside(replace(record_of(number, "0" * 64), verdict=RECORDED), "audit")


def test_the_sentence_is_computed_again_from_what_was_kept() -> None:
    """The same core computes it from the bytes alone, with the evidence of each minute."""
    kept = read_minutes(CONTENT)
    assert kept.compared == (ERRORS, SLOW)
    assert kept.sentence() == RECORDED.sentence
    request = {"max_latency_ratio": 1.5}
    unknown = read_minutes(canonical_json({"request": request, "compared": [asdict(ERRORS)]}))
    assert unknown.sentence() == judge(ERRORS, left_out_note=NOT_COMPARED).sentence
    running = running_evidence(ERRORS)
    assert len(running) == 3
    assert running[-1] == ERRORS.evidence()
    assert [each.stopped_at for each in running] == [0, 0, ERRORS.evidence().stopped_at]


def test_bytes_are_those_of_the_verdict_or_are_refused(world: World) -> None:
    """A later comparison may have overwritten them, or they are missing; a record is written nevertheless."""
    with pytest.raises(MinutesError, match="cannot be read"):
        read_bytes(world.s3, RECORDED)
    world.s3.put_object(Bucket="artifacts", Key="verdicts/demand-forecast/c.json", Body=CONTENT)
    assert read_bytes(world.s3, RECORDED) == CONTENT == written_minutes(world.s3, RECORDED)
    world.s3.put_object(Bucket="artifacts", Key="verdicts/demand-forecast/c.json", Body=CONTENT + b" ")
    with pytest.raises(MinutesError, match="is not what the verdict was computed from: its SHA-256 is "):
        read_bytes(world.s3, RECORDED)
    assert written_minutes(world.s3, RECORDED) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "Expecting"),
        (b"{}", "compared"),
        (b'{"compared": []}', "nothing"),
        (b'{"compared": [{"minutes": 1}]}', "history"),
    ],
)
def test_what_another_version_wrote_is_named(content: bytes, why: str) -> None:
    """Its hash may be right, and it cannot be drawn."""
    with pytest.raises(MinutesError, match=why):
        read_minutes(content)


def test_a_record_names_its_minutes_by_place_and_hash() -> None:
    """Without a verdict there are no minutes."""
    verdict = recorded(7).verdict
    assert verdict is not None
    assert verdict.minutes_uri == f"s3://audit/minutes/demand-forecast/00000007-{DIGEST[:16]}.json"
    assert beside(record_of(7, "0" * 64), "audit") == record_of(7, "0" * 64)


def test_minutes_that_are_missing_or_changed_are_found() -> None:
    """Only minutes that a record names next to itself are checked; others belong to a dead writer or could not be stored."""
    record = recorded()
    objects = {audit_key("demand-forecast", 1, content_hash(record)): canonical_json(record)}
    key = minutes_key("demand-forecast", 1, DIGEST)
    assert broken_minutes(objects, {key: CONTENT, "minutes/demand-forecast/x.json": b""}) == []
    assert broken_minutes(objects, {}) == [f"{key} is missing"]
    assert broken_minutes(objects, {key: CONTENT + b" "}) == [
        f"{key} was changed after the verdict of record 1 was computed"
    ]
    elsewhere = replace(record_of(1, "0" * 64), verdict=RECORDED)
    unkept = {audit_key("demand-forecast", 1, content_hash(elsewhere)): canonical_json(elsewhere), "audit/x": b"{"}
    assert broken_minutes(unkept, {}) == []


def test_a_rule_of_the_document_is_the_rule_of_the_comparison() -> None:
    """The tolerance comes from the bytes, not from this version's defaults."""
    strict = replace(ERRORS, rule=ComparisonRule(extra=0.0))
    assert read_minutes(canonical_json({"compared": [asdict(strict)]})).compared[0].rule.extra == 0.0
