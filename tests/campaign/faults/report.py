"""The section of ``docs/campaign.md`` on faults of the Deploy machine, written from the results alone."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def section(results: Sequence[dict[str, Any]], *, total: int, load: float) -> str:
    """Return the section, markers included.

    Args:
        results: One object a cell, as ``faults.jsonl`` holds them.
        total: Cells that there are.
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
    bad = [r for r in results if r["problems"]]
    lines = [
        BEGIN,
        "## Faults of the Deploy machine on the embedded cloud",
        "",
        f"{len(results)} of {total} cells: one call of the machine, one kind of fault, for two calls or for good, before its",
        "work or after it (the answer is lost), or the execution is stopped there. Each cell approves a model under the fault and",
        "another one without. After the first, the old model or the approved new one serves, the record says which, no lock is",
        "held and nothing is left over (what only the failing call could remove is excused); after the second, it serves and",
        "nothing at all is left.",
        "",
        f"`python -m tests.campaign.faults.run .mlops/campaign`, last cell {max(r['at'] for r in results)}, median "
        f"{sorted(r['seconds'] for r in results)[len(results) // 2]} s a cell, load {load:.1f}.",
        "",
        "| kind | cells | fault met | recorded outcome | broken |",
        "|---|---|---|---|---|",
        *rows,
        "",
        *([f"- `{r['key']}`: {'; '.join(r['problems'])}" for r in bad] if bad else ["No cell broke the invariant."]),
        END,
        "",
    ]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the section into the page, in place of the one before; other sections stay."""
    old = page.read_text() if page.exists() else "# Campaigns\n\n"
    if BEGIN in old:
        head, _, rest = old.partition(BEGIN)
        tail = rest.partition(END)[2].lstrip("\n")
        page.write_text(head + text + ("\n" + tail if tail else ""))
    else:
        page.write_text(old.rstrip("\n") + "\n\n" + text)
