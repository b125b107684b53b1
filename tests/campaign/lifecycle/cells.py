"""The cells of the campaign: one stack, one profile, one operation that fails at one resource."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

CREATE, UPDATE, DELETE = "create", "update", "delete"
CASES = (CREATE, UPDATE, DELETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One stack, one profile, one operation, and the resource at which it fails.

    Args:
        stack: Name of the stack.
        profile: Its profile's value.
        case: The failing operation.
        target: Logical id of the failing resource.
        kind: Type of that resource.
    """

    stack: str
    profile: str
    case: str
    target: str
    kind: str

    @property
    def key(self) -> str:
        """Unique name of the cell."""
        return f"{self.stack}/{self.profile}/{self.case}/{self.target}"


def cells(stack: str, profile: str, resources: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
    """Return a cell for each resource and each operation, in the template's order.

    Args:
        stack: Name of the stack.
        profile: Its profile's value.
        resources: Its template's resources.
    """
    return [
        Cell(stack=stack, profile=profile, case=case, target=target, kind=str(body["Type"]))
        for case in CASES
        for target, body in resources.items()
    ]


def sample(all_cells: Iterable[Cell], counts: Mapping[str, int], seed: int) -> list[Cell]:
    """Return a seeded sample, creations first, so that the following creation shows the leftovers of a failed one.

    Args:
        all_cells: The cells to choose from.
        counts: Number of cells of each case.
        seed: Seed of the sample.
    """
    chooser, listed = random.Random(seed), list(all_cells)
    chosen: list[Cell] = []
    for case in CASES:
        of_case = [cell for cell in listed if cell.case == case]
        chosen += chooser.sample(of_case, min(counts.get(case, 0), len(of_case)))
    return chosen
