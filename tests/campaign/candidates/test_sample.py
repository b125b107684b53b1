"""A sample of the campaign in the default suite: one bad candidate of each kind that needs no training, and good ones."""

from collections.abc import Iterator

import pytest
from tests.campaign.candidates import catalogue, lessons, trained
from tests.campaign.candidates.catalogue import Bad, Good
from tests.campaign.candidates.path import LAYERS, Way
from tests.campaign.candidates.world import CHAMPION_WEEK, splits

WEEK = 36
# where each of these must have been stopped at the latest; the campaign measures all, severity by severity
SAMPLE = {
    "level too low": "gate",
    "one category wrong": "golden",
    "not a number": "gate",
    "constant": "gate",
    "negative demand": "gate",
    "another shape": "gate",
    "rows lean on each other": "gate",
    "does not repeat itself": "gate",
    "fails on large batches": "gate",
    "columns shuffled": "gate",
    "another schema": "evaluation",
    "pickle": "evaluation",
    "broken archive": "evaluation",
    "wrong digest": "server",
    "another content type": "golden",
    "another answer": "golden",
}


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """The way to traffic beside the champion."""
    champion = trained.fitted(splits(CHAMPION_WEEK).train, seed=7).pack()
    made = Way(champion, tmp_path_factory.mktemp("candidates"))
    yield made
    made.stop()


def test_the_catalogue_is_large_enough() -> None:
    """At least 20 kinds and 200 bad candidates, each of another name, and 100 challengers; every kind has its layer."""
    bad = list(catalogue.bad_ones())
    assert len(catalogue.KINDS) >= 20
    assert len({cell.key for cell in bad}) == len(bad) >= 200
    assert len(list(catalogue.good_ones())) >= 100
    assert {kind.layer for kind in catalogue.KINDS} <= set(LAYERS)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_bad_candidate_gets_no_traffic(way: Way, name: str) -> None:
    """Its severest form, by the real evaluation, gate, server and golden check; none gets past the layer of the sample."""
    kind = next(kind for kind in catalogue.KINDS if kind.name == name)
    assert kind not in lessons.KINDS
    severity, amount = kind.severities[0 if name == "wrong digest" else 2]
    cell = Bad(kind=kind, severity=severity, amount=amount, seed=1, week=WEEK)
    found = way.judge(cell, cell.make())
    assert found.layer is not None
    assert LAYERS.index(found.layer) <= LAYERS.index(SAMPLE[name]), found.reason


def test_a_good_challenger_passes(way: Way) -> None:
    """It is good on weeks that the gate never saw, and nothing stops it."""
    cell = Good(number=0, week=WEEK)
    found = way.judge(cell, cell.make())
    assert found.fresh["is_good"], found.fresh["reason"]
    assert found.layer is None, found.reason
