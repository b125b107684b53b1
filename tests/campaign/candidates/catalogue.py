"""The catalogue: every bad candidate of the campaign and every good challenger, by kind, severity and seed.

It was committed before any candidate met the gate, and stays as it is whatever the results. Any prefix of a part is a fair sample.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import numpy as np
from tests.campaign.candidates import answers, artefacts, defects, lessons, trained
from tests.campaign.candidates.graphs import edited
from tests.campaign.candidates.kinds import Candidate, Case, Kind
from tests.campaign.candidates.world import CHAMPION_WEEK, Artefact, splits

SEED = 20261130
SEEDS = (7, 8)
# other weeks than those of the two earlier runs, from which the rules were made
WEEKS = (37, 41, 45)
KINDS: tuple[Kind, ...] = (*answers.KINDS, *artefacts.KINDS, *lessons.KINDS, *defects.KINDS)
# number of good challengers of each kind
GOOD = {
    "challenger": 60,  # other rows, other settings
    "retrained": 15,  # the unit's own settings with another seed
    "better": 12,  # twice the trees at half the learning rate
    "another framework": 12,  # scikit-learn's histogram-based boosting
    "another exporter": 6,  # written for another opset and format of ONNX
    "same model": 3,  # the champion itself
}
CHALLENGERS = sum(GOOD.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One cell of the catalogue."""

    kind: Kind
    severity: str
    amount: Any
    seed: int
    week: int

    @property
    def key(self) -> str:
        """Key of the results."""
        return f"{self.kind.name}/{self.severity}/{self.seed}"

    def make(self) -> Candidate:
        """Make the candidate."""
        case = Case(week=self.week, seed=self.seed, base=base(self.week, self.seed))
        return self.kind.make(case, self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A candidate that should pass: trained after a week, in one of the ways of `GOOD`."""

    number: int
    week: int
    way: str = "challenger"

    @property
    def key(self) -> str:
        """Key of the results."""
        return f"{self.way}/{self.number}"

    def make(self) -> Candidate:
        """Train the challenger."""
        table, seed = splits(self.week).train, SEED % 100_000 + self.number
        makers: dict[str, Callable[[], Artefact]] = {
            "challenger": self._challenger,
            "retrained": lambda: trained.fitted(table, seed=seed),
            "better": lambda: trained.fitted(table, seed=seed, rounds=600, learning_rate=0.025),
            "another framework": lambda: trained.by_scikit_learn(table, seed=seed),
            "another exporter": lambda: edited(trained.fitted(table, seed=seed)),
            "same model": lambda: trained.by_script(splits(CHAMPION_WEEK).train),
        }
        return Candidate(archive=makers[self.way]().pack())

    def _challenger(self) -> Artefact:
        random = np.random.default_rng([SEED, self.number])
        table = splits(self.week).train
        share = float(random.choice([1.0, 0.9, 0.8, 0.7]))
        chosen = np.flatnonzero(random.random(table.num_rows) < share)
        settings = {
            "learning_rate": float(random.choice([0.03, 0.05, 0.08])),
            "num_leaves": int(random.choice([15, 31, 47])),
            "min_data_in_leaf": int(random.choice([20, 40, 80])),
            "feature_fraction": float(random.choice([0.6, 0.8, 1.0])),
            "bagging_fraction": float(random.choice([0.7, 0.8, 0.9])),
        }
        rounds = int(random.choice([200, 300, 400]))
        return trained.fitted(table.take(chosen), seed=self.number, rounds=rounds, **settings)


def bad_ones() -> Iterator[Bad]:
    """Yield every bad candidate in a seeded order; the weeks of their training alternate."""
    cells = []
    for number, (kind, index, seed) in enumerate(itertools.product(KINDS, range(3), SEEDS)):
        severity, amount = kind.severities[index]
        week = WEEKS[(number + number // len(WEEKS)) % len(WEEKS)]
        cells.append(Bad(kind=kind, severity=severity, amount=amount, seed=seed, week=week))
    Random(SEED).shuffle(cells)
    yield from cells


def good_ones() -> Iterator[Good]:
    """Yield every challenger in a seeded order."""
    cells = [
        Good(number=number, week=WEEKS[number % len(WEEKS)], way=way)
        for way, count in GOOD.items()
        for number in range(count)
    ]
    Random(SEED).shuffle(cells)
    yield from cells


@cache
def base(week: int, seed: int) -> Artefact:
    """Return the good model that bad candidates are derived from."""
    return trained.fitted(splits(week).train, seed=100 + seed)
