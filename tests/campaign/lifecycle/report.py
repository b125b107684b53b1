"""The campaign's section of ``docs/campaign.md``."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.campaign.page import marks

NAME = "lifecycle"
_NAMED, _LONGEST = 2, 240  # problems of a broken cell on the page, and characters of each


def section(results: Sequence[Mapping[str, Any]], *, load: float) -> str:
    """Write the section.

    Args:
        results: Results of the cells.
        load: The machine's load during the run.
    """
    begin, end = marks(NAME)
    median = statistics.median(result["seconds"] for result in results)
    total = sum({(r["stack"], r["profile"]): r["of"] for r in results}.values())
    calls, longest = sum(r["calls"] for r in results), max(r["longest"] for r in results)
    lines = [
        begin,
        "## Life of a stack on the embedded cloud",
        "",
        f"{len(results)} of {total} cells: the creation, a change, or the deletion of a stack fails at one resource, for",
        "FirstEndpoint, the three retail units and FirstService, in both profiles. The change updates every resource: all tags,",
        "and one property that its type updates in place (permissions, rules, definitions, specs, manifests). After "
        "a failed creation the stack is rolled back and deleted; after a failed change every resource exists with its "
        "previous settings; after a failed deletion a second one completes, and no leftover blocks the next creation. "
        "Only in PRODUCTION are resources left, each named by an event of the stack."
        " The cells of a stack are in a seeded order: the finished cells are a random sample of",
        "its cells. A stack without a line has no finished cells, and its cells are not counted. Each cell "
        "begins with the resources that the previous one left.",
        "",
        f"Custom resources were called {calls} times: the longest call took {longest:.1%} of its ServiceTimeout, by the embedded",
        "clock; a whole operation must end before the shortest of them. A cell whose type has no property that updates in place",
        "(Lambda permissions and layer versions, route table associations) deploys the change of all others, and reverses it.",
        "",
        f"`python -m tests.campaign.lifecycle.run .mlops/campaign`, last cell {max(r['at'] for r in results)}, median",
        f"{median:.1f} s a cell, load {load:.1f}.",
        "",
        "| stack | profile | case | cells | outcome | seconds a cell | broken |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = sorted({(r["stack"], r["profile"], r["case"]) for r in results})
    for stack, profile, case in groups:
        found = [r for r in results if (r["stack"], r["profile"], r["case"]) == (stack, profile, case)]
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(Counter(r["outcome"] for r in found).items()))
        broken, seconds = sum(bool(r["problems"]) for r in found), statistics.median(r["seconds"] for r in found)
        lines.append(f"| {stack} | {profile} | {case} | {len(found)} | {outcomes} | {seconds:.1f} | {broken} |")
    lines += _kept(results)
    broken_cells = [r for r in results if r["problems"]]
    lines += (
        ["", *(f"- `{r['key']}`: {_shortened(r['problems'])}" for r in broken_cells)]
        if broken_cells
        else [
            "",
            "No cell broke the invariant.",
        ]
    )
    return "\n".join([*lines, end]) + "\n"


def _shortened(problems: Sequence[str]) -> str:
    """Return the first problems of a cell; a leftover names everything that depends on it."""
    named = [each if len(each) <= _LONGEST else f"{each[:_LONGEST]}..." for each in problems[:_NAMED]]
    more = len(problems) - len(named)
    return "; ".join([*named, f"and {more} more"] if more else named)


def _kept(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what kept rollbacks from completing."""
    kept = Counter(name for r in results if r["outcome"] == "ROLLBACK_FAILED" for name in r["kept"])
    if not kept:
        return []
    names = ", ".join(
        f"`{name}` ({count})" for name, count in sorted(kept.items(), key=lambda item: (-item[1], item[0]))
    )
    reason = "See [ADR 19](adr/0019-what-a-failed-creation-keeps.md)."
    return ["", f"Resources that rollbacks could not delete, with the number of cells: {names}. {reason}"]
