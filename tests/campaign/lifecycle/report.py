"""The campaign's section of ``docs/campaign.md``."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.campaign.page import marks

NAME = "lifecycle"


def section(results: Sequence[Mapping[str, Any]], *, total: int, load: float) -> str:
    """Write the section.

    Args:
        results: What the cells came to.
        total: How many cells there are.
        load: The machine's load while they ran.
    """
    begin, end = marks(NAME)
    median = statistics.median(result["seconds"] for result in results)
    lines = [
        begin,
        "## Life of a stack on the embedded cloud",
        "",
        f"{len(results)} of {total} cells: the creation, a change of all tags, or the deletion of a stack fails at one resource,",
        "for FirstEndpoint, the three retail units and FirstService, in both profiles. After a failed creation the stack is rolled",
        "back and goes; after a failed change it is as before; after a failed deletion a second one completes, and the next",
        "creation finds nothing in its way. Nothing waits for a timeout, and what is left is named by an event of the stack, in",
        "PRODUCTION alone. The cells of a stack are in a seeded order; stacks take turns, and those without a line had none yet.",
        "",
        f"`python -m tests.campaign.lifecycle.run .mlops/campaign`, last cell {max(r['at'] for r in results)}, median",
        f"{median:.1f} s a cell, load {load:.1f}.",
        "",
        "| stack | profile | case | cells | outcome | broken |",
        "|---|---|---|---|---|---|",
    ]
    groups = sorted({(r["stack"], r["profile"], r["case"]) for r in results})
    for stack, profile, case in groups:
        found = [r for r in results if (r["stack"], r["profile"], r["case"]) == (stack, profile, case)]
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(Counter(r["outcome"] for r in found).items()))
        broken = sum(bool(r["problems"]) for r in found)
        lines.append(f"| {stack} | {profile} | {case} | {len(found)} | {outcomes} | {broken} |")
    broken_cells = [r for r in results if r["problems"]]
    lines += (
        ["", *(f"- `{r['key']}`: {'; '.join(r['problems'])}" for r in broken_cells)]
        if broken_cells
        else [
            "",
            "No cell broke the invariant.",
        ]
    )
    return "\n".join([*lines, end]) + "\n"
