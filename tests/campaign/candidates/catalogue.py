"""The catalogue: every bad candidate of the campaign, and every good challenger, by kind, severity and seed.

It was committed before any of them met the gate, and is not changed by what comes out.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from tests.campaign.candidates import answers, artefacts, lessons, trained
from tests.campaign.candidates.kinds import Candidate, Case, Kind
from tests.campaign.candidates.world import WEEKS, Artefact, splits

SEED = 20261124
SEEDS = (1, 2)
KINDS: tuple[Kind, ...] = (*answers.KINDS, *artefacts.KINDS, *lessons.KINDS)
CHALLENGERS = 120


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
        """Its name among the results."""
        return f"{self.kind.name}/{self.severity}/{self.seed}"

    def make(self) -> Candidate:
        """Make the candidate."""
        case = Case(week=self.week, seed=self.seed, base=base(self.week, self.seed))
        return self.kind.make(case, self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """One challenger: retrained after a week with another seed, other rows, other settings."""

    number: int
    week: int

    @property
    def key(self) -> str:
        """Its name among the results."""
        return f"challenger/{self.number}"

    def make(self) -> Candidate:
        """Train the challenger."""
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
        made = trained.fitted(table.take(chosen), seed=self.number, rounds=rounds, **settings)
        return Candidate(archive=made.pack())


def bad_ones() -> Iterator[Bad]:
    """Yield every bad candidate: the weeks in which they are trained take turns."""
    cells = itertools.product(KINDS, range(3), SEEDS)
    for number, (kind, index, seed) in enumerate(cells):
        severity, amount = kind.severities[index]
        week = WEEKS[(number + number // len(WEEKS)) % len(WEEKS)]
        yield Bad(kind=kind, severity=severity, amount=amount, seed=seed, week=week)


def good_ones() -> Iterator[Good]:
    """Yield every challenger."""
    yield from (Good(number=number, week=WEEKS[number % len(WEEKS)]) for number in range(CHALLENGERS))


@cache
def base(week: int, seed: int) -> Artefact:
    """Return the good model that bad ones are made of."""
    return trained.fitted(splits(week).train, seed=100 + seed)
