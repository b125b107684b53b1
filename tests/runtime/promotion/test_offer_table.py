"""Offers are stored once, decisions are final, and the newest release never moves back."""

from typing import Any

AT, LATER = "2017-08-01T09:00:00Z", "2017-08-01T10:00:00Z"
ONE, OTHER = "a" * 64, "b" * 64


def test_an_offer_is_kept_once(place: Any) -> None:
    """A repeated event changes nothing."""
    first = place.table.offer("s3://b/one", ONE, AT)
    assert place.table.offer("s3://b/other", ONE, LATER) == first
    assert (first.state, first.attempts, first.is_open) == ("OFFERED", 1, True)
    assert list(place.table.offers()) == [first]
    assert place.table.read(OTHER) is None


def test_one_check_asks_again(place: Any) -> None:
    """Of two concurrent checks."""
    offer = place.table.offer("s3://b/one", ONE, AT)
    assert place.table.again(offer, LATER)
    assert not place.table.again(offer, LATER)
    found = place.table.read(ONE)
    assert (found.attempts, found.changed_at) == (2, LATER)


def test_what_was_registered_is_not_refused_later(place: Any) -> None:
    """Nor is an approval withdrawn here; the registry does that."""
    place.table.offer("s3://b/one", ONE, AT)

    def decide(state: str, **more: Any) -> Any:
        place.table.decide(ONE, state=state, reason=state, package="p", at=LATER, **{"may_pass": False, **more})
        return place.table.read(ONE)

    assert decide("REFUSED", may_pass=True).is_open
    assert not decide("REFUSED").is_open
    assert decide("REGISTERED").state == "REGISTERED"
    assert decide("REFUSED").state == "REGISTERED"
    assert decide("APPROVED").state == "APPROVED"
    assert decide("REGISTERED").state == "APPROVED"


def test_the_newest_release_stays_the_newest(place: Any) -> None:
    """An older one does not replace it, and the same may be taken again."""
    assert place.table.newest() is None
    assert place.table.take(released_at=AT, sha256=ONE)
    assert not place.table.take(released_at="2017-08-01T08:00:00Z", sha256=OTHER)
    assert place.table.take(released_at=AT, sha256=ONE)
    assert place.table.take(released_at=LATER, sha256=OTHER)
    assert place.table.newest() == (LATER, OTHER)


def test_a_model_knows_the_release_that_brought_it_first(place: Any) -> None:
    """Another release of the model does not replace it."""
    assert place.table.first_release("m", ONE) == ONE
    assert place.table.first_release("m", OTHER) == ONE


def test_the_package_of_an_offer_is_known_to_the_next_attempt(place: Any) -> None:
    """An execution started without an offer stores none."""
    place.table.offer("s3://b/one", ONE, AT)
    place.table.registered(ONE, "arn")
    place.table.registered(OTHER, "arn")
    assert place.table.read(ONE).package == "arn"
    assert place.table.read(OTHER) is None


def test_the_bindings_of_all_attempts_are_kept_apart_from_the_offer(place: Any) -> None:
    """An execution without an offer creates none."""
    place.table.offer("s3://b/one", ONE, AT)
    assert place.table.kept(ONE) == frozenset()
    for binding in ("first", "first", "from the shared registry"):
        place.table.keep(ONE, binding)
    assert place.table.kept(ONE) == {"first", "from the shared registry"}
    assert place.table.kept(OTHER) == frozenset()
    place.table.keep(OTHER, "first")
    assert place.table.read(OTHER) is None
    assert [each.record_sha256 for each in place.table.offers()] == [ONE]


def test_the_version_of_the_source_stays_known(place: Any) -> None:
    """A later attempt may end before it has read the record again."""
    place.table.offer("s3://b/one", ONE, AT)
    common: dict[str, Any] = {"state": "REFUSED", "package": "", "may_pass": True, "at": LATER}
    place.table.decide(ONE, reason="no image", source_package="theirs/7", **common)
    place.table.decide(ONE, reason="no record", **common)
    found = place.table.read(ONE)
    assert (found.reason, found.source_package) == ("no record", "theirs/7")
