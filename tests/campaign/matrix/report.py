"""The sections of ``docs/campaign.md`` on cells in the interpreter, generated from the results."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.campaign.matrix.cells import ALARMS, CRASH, SCHEDULE, SEED, Cell
from tests.campaign.page import marks

_DERIVED = (
    "A cell is one task of one scenario with one fault, once or permanently, before the work of the task or after it; or the "
    "execution dies before or after a call, followed by {then}. The cells are derived from the definition, in a "
    "seeded order (seed {seed}): the finished cells are a random sample of all. "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Title of a section, and its text about the machine's cells."""

    name: str
    title: str
    reach: str
    then: str
    holds: str


SECTIONS = {
    "deploy": Section(
        name="matrix",
        title="Faults of every task of the Deploy machine",
        reach="with and without a rehearsal, a shadow whose answers are compared, captured answers, golden "
        "requests sent again, a probation and its schedule, scaling",
        then="its recovery, an approval or a rollback",
        holds="After each, the old model or the approved new one serves, one record contains its name and the "
        "reason, no lock is held"
        ", and no alarm, schedule, config, model or endpoint is left over; after the end of its probation"
        " no alarm or schedule remains. Effects that only a permanently failing call can have are left to the next "
        "execution.",
    ),
    "slots": Section(
        name="slots",
        title="Faults of every task between two slots",
        reach="with and without golden requests, with pods that never start or start too late, unhealthy targets"
        ", an execution that died before, a record that cannot be written, and a probation that ends"
        " or rolls a model back",
        then="its recovery, an approval or a rollback (for calls that a loop repeats: only at the first two and the last)",
        holds="The machine of a service on EKS with its real functions, against a rule and a cluster in memory "
        "(`tests/campaign/slots/account.py`), which immediately detect weights that do not sum to 100, traffic "
        "for a slot without a ready pod, and pods that are replaced or removed under traffic. After each cell"
        " one slot has all the traffic, its model is approved and recorded, no lock is held, no alarm is left"
        " over, the other slot has no pods; after the end of its probation no alarm or schedule remains. Effects "
        "that only a permanently failing call can have are left to the next execution.",
    ),
    "retrain": Section(
        name="retrain-matrix",
        title="Faults of every task of the Retrain machine",
        reach="approved by policy or left pending for a person, rejected, registered from outside, with a question to"
        " a person instead of a training, with a champion in another image, and with a training that fails",
        then="the release of its lock by the guard and the next retraining",
        holds="After each, the live model is untouched, there is one package of the candidate at most and none of a "
        "rejected one, one record of a rejection, a question or a failure, and no lock is held; after a "
        "permanent failure or a dead execution, the next retraining ends correctly.",
    ),
}


def section(name: str, results: Sequence[dict[str, Any]], cells: Sequence[Cell], *, load: float) -> str:
    """Return the section of a machine, marks included.

    Args:
        name: ``deploy``, ``slots`` or ``retrain``.
        results: One object per cell, as stored by the campaign.
        cells: All cells.
        load: Load of the machine at the end.
    """
    about, total = SECTIONS[name], Counter(cell.kind for cell in cells)
    begin, end = marks(about.name)
    keys = {cell.key for cell in cells}
    mine = [each for each in results if each["key"] in keys]
    bad = [each for each in mine if each["problems"]]
    text = (
        f"{len(mine)} of {len(cells)} cells of {len({cell.scenario for cell in cells})} scenarios, which together reach "
        f"each of the {len({cell.state for cell in cells})} tasks of the machine: {about.reach}. "
        f"{_DERIVED.format(then=about.then, seed=SEED)}{about.holds}"
    )
    seconds = sorted(each["seconds"] for each in mine)
    lines = [
        begin,
        f"## {about.title}",
        "",
        *textwrap.wrap(text, width=100),
        "",
        *textwrap.wrap(
            f"`python -m tests.campaign.matrix.run {name} .mlops/campaign`, last cell {max(each['at'] for each in mine)}, median "
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
        end,
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
