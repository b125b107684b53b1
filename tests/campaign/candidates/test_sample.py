"""A sample of the campaign: one bad candidate of most kinds, stopped by its expected layer, and good ones."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.campaign.candidates import catalogue, trained
from tests.campaign.candidates.catalogue import Bad, Good
from tests.campaign.candidates.path import LAYERS, SPEC, Way
from tests.campaign.candidates.world import CHAMPION_WEEK, splits

from mlops_runtime.rollout import golden_rehearsal

WEEK = 36
# one severity of each kind (by index) and the layer that stops it at the latest. Left out are kinds that take long to train
# or to call, and the two of categories, which the model hardly uses: the campaign measures all, severity by severity
SAMPLE = {
    "level too low": (2, "gate"),
    "level too high": (1, "gate"),
    "noisy": (2, "gate"),
    "one category wrong": (2, "gate"),
    "zeros for a group": (2, "gate"),
    "promotions wrong": (2, "gate"),
    "promotions ignored": (2, "gate"),
    "answers in other units": (0, "gate"),
    "inputs in other units": (0, "gate"),
    "not a number": (2, "gate"),
    "overflows": (2, "gate"),
    "constant": (1, "gate"),
    "negative demand": (0, "gate"),
    "another shape": (2, "gate"),
    "rows lean on each other": (0, "gate"),
    "rows in another order": (1, "gate"),
    "does not repeat itself": (0, "gate"),
    "fails on large batches": (0, "gate"),
    "crashes on what comes late": (0, "golden"),
    "naive in disguise": (2, "gate"),
    "columns shuffled": (0, "gate"),
    "another schema": (0, "evaluation"),
    "no nulls": (2, "golden"),
    "pickle": (2, "evaluation"),
    "broken archive": (0, "evaluation"),
    "wrong digest": (0, "server"),
    "knows the label": (2, "gate"),
    "ends after a while": (0, "golden"),
    "another content type": (1, "golden"),
    "another answer": (1, "golden"),
    "remembers answers": (0, "golden"),
    "few rows": (2, "gate"),
    "a category of any size wrong": (1, "gate"),
    "right on golden rows alone": (0, "gate"),
    "right on the holdout alone": (1, "golden"),
    "one column in another unit": (1, "gate"),
    "two columns swapped": (0, "gate"),
    "capped": (2, "gate"),
    "rounded": (2, "gate"),
    "repeats the first row": (1, "gate"),
    "turns after a while": (0, "golden"),
}


# only the campaign evaluates these: a similar kind above fails for the same reason
LIKE_OTHERS = {
    "level too high", "noisy", "zeros for a group", "promotions wrong", "promotions ignored", "inputs in other units", "overflows",
    "constant", "negative demand", "rows lean on each other", "does not repeat itself", "crashes on what comes late",
    "broken archive", "knows the label", "another content type", "few rows", "a category of any size wrong",
    "one column in another unit", "two columns swapped", "capped", "rounded", "repeats the first row",
}  # fmt: skip
NAMES = [pytest.param(name, marks=[pytest.mark.campaign] * (name in LIKE_OTHERS)) for name in SAMPLE]


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """The layers beside the champion; calls are not timed, because the machine is shared."""
    champion = trained.fitted(splits(CHAMPION_WEEK).train, seed=7).pack()
    made = Way(champion, tmp_path_factory.mktemp("candidates"), replace(SPEC, max_latency_ms=None, max_slowdown=None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(golden_rehearsal, "ROUNDS", 2)  # of five: enough for the sample
        yield made
    made.stop()


def test_the_catalogue_is_large_enough() -> None:
    """At least 20 kinds, 200 bad candidates with distinct names, and 100 challengers; every kind has its layer."""
    bad = list(catalogue.bad_ones())
    assert len(catalogue.KINDS) >= 20
    assert len({cell.key for cell in bad}) == len(bad) >= 200
    assert len(list(catalogue.good_ones())) >= 100
    assert {kind.layer for kind in catalogue.KINDS} <= set(LAYERS)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_candidate_gets_no_traffic(way: Way, name: str) -> None:
    """The real evaluation, gate, server and golden check stop it, at the latest at the layer of the sample."""
    place, layer = SAMPLE[name]
    kind = next(kind for kind in catalogue.KINDS if kind.name == name)
    severity, amount = kind.severities[place]
    cell = Bad(kind=kind, severity=severity, amount=amount, seed=1, week=WEEK)
    found = way.judge(cell, cell.make(), is_compared=False)
    assert found.layer is not None
    assert LAYERS.index(found.layer) <= LAYERS.index(layer), found.reason


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (0, "challenger"),
        *(pytest.param(0, kind, marks=pytest.mark.campaign) for kind in catalogue.GOOD if kind != "challenger"),
    ],
)
def test_a_good_challenger_passes(way: Way, number: int, kind: str) -> None:
    """A challenger that is good on weeks the gate never saw passes every layer."""
    cell = Good(number=number, week=WEEK, way=kind)
    found = way.judge(cell, cell.make())
    assert found.fresh["is_good"], found.fresh["reason"]
    assert found.layer is None, found.reason
