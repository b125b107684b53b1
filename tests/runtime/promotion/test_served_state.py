"""The live model and rollbacks of an endpoint, from its row and records, and what a middle account forwards."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.released import TARGET
from tests.reported import ONE, PRODUCTION, TWO, state, version

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, Outcome
from mlops_runtime.promotion.served_state import MOST_ROLLED_BACK, own_state, relayed, rolled_back

PREFIX = TARGET.arn("sagemaker", "model-package/demand-forecast/")
BINDINGS = {f"{PREFIX}{number}": f"{number:064x}" for number in range(1, 9)}


def record(number: int, outcome: Outcome, *, serving: int | None, candidate: int | None = None) -> AuditRecord:
    """Return a record of the chain: the version that serves after it, and the version that it concerns."""
    return AuditRecord(
        endpoint="demand-forecast",
        sequence=number,
        previous="0" * 64,
        outcome=outcome,
        reason="",
        execution=f"e{number}",
        at=f"2017-08-01T08:{number:02d}:00Z",
        requested_by="ann",
        serving_package=None if serving is None else f"{PREFIX}{serving}",
        candidate_package=None if candidate is None else f"{PREFIX}{candidate}",
        model_sha256=None if candidate is None else f"{candidate:064x}",
    )


def promoted(number: int, version: int) -> AuditRecord:
    """Return the record of a promotion."""
    return record(number, Outcome.PROMOTED, serving=version, candidate=version)


def row(last: AuditRecord | None, live: int | None) -> LockRow:
    """Return the endpoint's row with its last record and live version."""
    pointer = None if live is None else canonical_json(pointer_to(live)).decode()
    if last is None:
        return LockRow(endpoint="demand-forecast", live=pointer)
    return LockRow(
        endpoint="demand-forecast",
        audit_head=content_hash(last),
        audit_sequence=last.sequence,
        audit_last=canonical_json(last).decode(),
        live=pointer,
    )


def pointer_to(number: int) -> LivePointer:
    """What is live."""
    names = ("artifact_uri", "baseline_uri", "baseline_sha256", "evaluation_uri", "training_set_id", "spec_sha256")
    unused: dict[str, Any] = dict.fromkeys(
        (*names, "spec_uri", "artifact_sha256", "container_sha256", "config", "model"), "x"
    )
    return LivePointer(
        endpoint="demand-forecast",
        model_package_arn=f"{PREFIX}{number}",
        model_sha256=f"{number:064x}",
        execution="e",
        since="2017-08-01T08:02:00Z",
        **unused,
    )


def versions(records: list[AuditRecord]) -> list[int]:
    """Return the numbers of rolled-back versions."""
    return [int(package.rpartition("/")[2]) for package, _, _ in rolled_back(records)]


def test_a_rollout_that_was_rolled_back_names_its_candidate() -> None:
    """The candidate never served alone."""
    assert versions([promoted(1, 1), record(2, Outcome.ROLLED_BACK, serving=1, candidate=2)]) == [2]


def test_a_version_that_the_one_before_replaces_was_rolled_back() -> None:
    """A requested rollback is a promotion of the version before."""
    assert versions([promoted(1, 1), promoted(2, 2), promoted(3, 1)]) == [2]
    assert versions([promoted(1, 1), promoted(2, 2), promoted(3, 3), promoted(4, 1)]) == [3]
    assert versions([promoted(1, 1), promoted(2, 2), promoted(3, 1), promoted(4, 2), promoted(5, 1)]) == [2, 2]


def test_other_records_roll_nothing_back() -> None:
    """A spec change, a rejection, a failure before serving, another candidate's outcome."""
    quiet = [
        record(1, Outcome.REFUSED, serving=None, candidate=1),
        promoted(2, 1),
        promoted(3, 1),
        record(4, Outcome.FAILED, serving=1, candidate=2),
        record(5, Outcome.REJECTED, serving=1),
        promoted(6, 2),
    ]
    assert versions(quiet) == []


@given(st.lists(st.integers(1, 3), max_size=12))
def test_what_serves_was_not_rolled_back_last(served: list[int]) -> None:
    """For any order of promotions, each rollback concerns another version than the serving one."""
    found = list(rolled_back([promoted(place, number) for place, number in enumerate(served, 1)]))

    for package, _, when in found:
        place = int(when[14:16])
        assert package != f"{PREFIX}{served[place - 1]}"
        assert package == f"{PREFIX}{served[place - 2]}"


def test_a_state_is_that_of_the_row() -> None:
    """With the source's bindings in place of own packages; the source's rollbacks newest first."""
    records = [promoted(1, 1), promoted(2, 2), promoted(3, 1), record(4, Outcome.ROLLED_BACK, serving=1, candidate=9)]
    found = own_state(row(records[-1], 1), records, bindings=BINDINGS, here=TARGET)

    assert found is not None
    assert (found.account, found.region, found.hops, found.sequence) == (TARGET.account, TARGET.region, 1, 4)
    assert found.at == "2017-08-01T08:04:00Z"
    assert found.serves is not None
    assert (found.serves.version, found.serves.binding) == ("demand-forecast/1", f"{1:064x}")
    assert [each.version for each in found.rolled_back] == ["demand-forecast/2"]


def test_nothing_is_said_before_the_first_record_or_of_an_own_model() -> None:
    """An endpoint that serves nothing reports it."""
    first = promoted(1, 9)
    assert own_state(row(None, None), [], bindings=BINDINGS, here=TARGET) is None
    assert own_state(row(first, 9), [first], bindings=BINDINGS, here=TARGET) is None
    nothing = own_state(row(first, None), [first], bindings=BINDINGS, here=TARGET)
    assert nothing is not None
    assert nothing.serves is None


def test_the_newest_rollbacks_are_told() -> None:
    """At most ten."""
    records = [promoted(place, place % 2 + 1) for place in range(1, 41)]
    found = own_state(row(records[-1], 1), records, bindings=BINDINGS, here=TARGET)

    assert found is not None
    assert len(found.rolled_back) == MOST_ROLLED_BACK
    assert found.rolled_back[0].at > found.rolled_back[1].at


def test_a_source_in_the_middle_tells_its_own_releases() -> None:
    """One hop further, by the bindings of taken releases; its own models are left out."""
    taken = version(ONE, origin="e" * 64, released_as="demand-forecast/9")
    kept = state(PRODUCTION, hops=1, serves=taken, rolled_back=(version(TWO, origin=None),), via="production")
    reported = relayed(kept)

    assert reported is not None
    assert (reported.hops, reported.via, reported.name, reported.rolled_back) == (2, None, "production", ())
    assert reported.serves == replace(taken, binding="e" * 64, origin=None, released_as=None)
    assert relayed(replace(kept, serves=version(ONE, origin=None))) is None
    assert relayed(replace(kept, serves=None)) == replace(reported, serves=None)
