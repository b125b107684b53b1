"""The sections of ``docs/campaign.md`` on faults of machines on the embedded cloud, generated from the results."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.campaign.page import marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Title of a section, and its text about cells after the common sentence."""

    name: str
    title: str
    says: str


SECTIONS = {
    "deploy": Section(
        name="faults",
        title="Faults of the Deploy machine on the embedded cloud",
        says="Each cell approves a model under the fault, and another one without it. After the first approval, the old model "
        "or the approved new one serves, the record names it, no lock is held and no resource is left over (except "
        "resources that only the failing call could remove; an execution that was stopped before it had the lock leaves "
        "no record); after the second, the new model serves and nothing is left over."
        " The cells are derived from the tasks that a rollout "
        "beside a model on probation enters, in a seeded order: the finished cells are a random sample of all."
        " Between two cells the cloud's clock advances by five hours, so that no cell reads captures of earlier "
        "ones.",
    ),
    "retrain": Section(
        name="retrain-faults",
        title="Faults of the Retrain machine on the embedded cloud",
        says="Each cell retrains under the fault and again without it, with real jobs on 600 rows; a passing "
        "candidate is approved by the policy and deployed."
        " After the first retraining, the live model is approved and recorded, there is one package of the candidate "
        "at most and none of a rejected one, one record of a rejection or failure, no lock is held and nothing "
        "is left over (except effects that only the failing call could have); after the second, its model serves."
        " The cells are in a "
        "seeded order: the finished cells are a random sample of all.",
    ),
    "promotion": Section(
        name="promotion-faults",
        title="Faults of the Release and the Promote machine on the embedded cloud",
        says="Two accounts, IAM on. Each cell approves a model in the source under the fault; then an hour "
        "passes, up to three times, in which only the schedules of both sides run."
        " After the fault the target's group has the whole release "
        "or none, with its objects under the hashes that were released, no second package, and both audit chains are whole; "
        "at the end there is one package, approved (or left pending in a pause), and one audit record on each side. The outcome is "
        "the offer's state under the fault. The cells are derived from the definitions that are deployed, in a "
        "seeded order: the finished cells are a random sample of all.",
    ),
}
_COMMON = (
    "{done} of {total} cells. A cell is one call of the machine with one kind of fault, for two calls or permanently, before the "
    "work of the call or after it (the response is lost); or the execution is stopped at the call. "
)


def section(machine: str, results: Sequence[dict[str, Any]], *, total: int, load: float) -> str:
    """Return a section, marks included.

    Args:
        machine: ``deploy`` or ``retrain``.
        results: One object per cell, as stored by the campaign.
        total: Number of all cells.
        load: Load of the machine at the end.
    """
    kinds = sorted({r["kind"] for r in results})
    rows = []
    for kind in kinds:
        mine = [r for r in results if r["kind"] == kind]
        outcomes = Counter(str(r["outcome"]) for r in mine)
        broken, met = sum(bool(r["problems"]) for r in mine), sum(r["met"] > 0 for r in mine)
        ends = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
        rows.append(f"| {kind} | {len(mine)} | {met} | {ends} | {broken} |")
    bad, about = [r for r in results if r["problems"]], SECTIONS[machine]
    begin, end = marks(about.name)
    lines = [
        begin,
        f"## {about.title}",
        "",
        *textwrap.wrap(_COMMON.format(done=len(results), total=total) + about.says, width=120),
        "",
        f"`python -m tests.campaign.faults.run {machine} .mlops/campaign`, last cell {max(r['at'] for r in results)}, median "
        f"{sorted(r['seconds'] for r in results)[len(results) // 2]} s a cell, load {load:.1f}.",
        "",
        "| kind | cells | fault met | outcome | broken |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *([f"- `{r['key']}`: {'; '.join(r['problems'])}" for r in bad] if bad else ["No cell broke the invariant."]),
        end,
        "",
    ]
    return "\n".join(lines)
