"""The section of ``docs/campaign.md`` on the cells of the Deploy machine in the interpreter, written from the results alone."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.campaign.matrix.cells import ALARMS, CRASH, SCHEDULE, SEED, Cell
from tests.campaign.page import marks

NAME = "matrix"
_SAYS = (
    "{done} of {total} cells of {scenarios} scenarios, which together reach each of the {tasks} tasks of the machine: with and "
    "without a rehearsal, a shadow whose answers are compared, captured answers, golden requests asked again, a probation and its "
    "schedule, scaling. A cell is one task of one scenario and one fault, once or for good, before its work or after it; or the "
    "execution dies before or after a call, and its recovery, an approval or the way back comes. The cells are derived from the "
    "definition, in a seeded order (seed {seed}): those done are a fair sample. After each, the old model or the approved new one "
    "serves, one record says which and why, no lock is held, and no alarm, schedule, config, model or endpoint is left over; after "
    "the end of its probation nothing watches any more. What only a call that failed for good can do is done by the next execution."
)


def section(results: Sequence[dict[str, Any]], cells: Sequence[Cell], *, load: float) -> str:
    """Return the section, marks included.

    Args:
        results: One object a cell, as the campaign keeps them.
        cells: Those that there are.
        load: Load of the machine at the end.
    """
    total, begin_end = Counter(cell.kind for cell in cells), marks(NAME)
    keys = {cell.key for cell in cells}
    mine = [each for each in results if each["key"] in keys]
    bad = [each for each in mine if each["problems"]]
    says = _SAYS.format(
        done=len(mine),
        total=len(cells),
        scenarios=len({cell.scenario for cell in cells}),
        tasks=len({cell.state for cell in cells}),
        seed=SEED,
    )
    seconds = sorted(each["seconds"] for each in mine)
    lines = [
        begin_end[0],
        "## Faults of every task of the Deploy machine",
        "",
        *textwrap.wrap(says, width=100),
        "",
        *textwrap.wrap(
            f"`python -m tests.campaign.matrix.run .mlops/campaign`, last cell {max(each['at'] for each in mine)}, median "
            f"{seconds[len(seconds) // 2]} CPU seconds a cell, load {load:.1f}; {len({each['state'] for each in mine})} of the "
            "tasks had a cell.",
            width=100,
        ),
        "",
        "| kind | cells | of | fault met | outcome | broken |",
        "|---|---|---|---|---|---|",
        *(_row(kind, [each for each in mine if each["kind"] == kind], total[kind]) for kind in sorted(total)),
        "",
        *([f"- `{each['key']}`: {'; '.join(each['problems'])}" for each in bad] or ["No cell broke the invariant."]),
        begin_end[1],
        "",
    ]
    return "\n".join(lines)


def _row(kind: str, mine: Sequence[dict[str, Any]], total: int) -> str:
    outcomes = Counter(str(each["outcome"]) for each in mine)
    ends = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    what = "the execution dies" if kind == CRASH else kind
    met = "by hand" if kind in (ALARMS, SCHEDULE) else str(sum(each["met"] > 0 for each in mine))
    broken = sum(bool(each["problems"]) for each in mine)
    return f"| {what} | {len(mine)} | {total} | {met} | {ends} | {broken} |"
