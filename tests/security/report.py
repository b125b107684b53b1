"""The campaign's section of ``docs/campaign.md``."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tests.campaign.page import marks
from tests.security.attack import DENIED, MADE, is_unknown
from tests.security.calls import data

NAME = "attacks"


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Return for each type the numbers of counted attempts, of an administrator's successful calls, and of attempts not denied.

    Args:
        rows: The results.
    """
    control = {
        (kind, name): answer for row in rows if "controls" in row for kind, name, answer in row["controls"]
    }  # both units have the same types
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if "kind" not in row:
            continue
        for name in (*row["denied"], *row["others"]):
            answer = control.get((row["kind"], name), "unknown")
            if answer in ("unknown", DENIED) or is_unknown(answer):
                found[row["kind"]]["not shown valid"] += 1
                continue
            found[row["kind"]]["attempts"] += 1
            found[row["kind"]]["made by the administrator"] += answer == MADE
            is_through = name in row["others"]
            found[row["kind"]]["open by design" if name in data()["open"] else "through"] += is_through
    return found


def through(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each call of a role that was not denied and is not open by design."""
    control = {(kind, name): answer for row in rows if "controls" in row for kind, name, answer in row["controls"]}
    found = [
        f"{row['key']} {name}: {answer}"
        for row in rows
        for name, answer in row.get("others", {}).items()
        if name not in data()["open"] and not is_unknown(control.get((row["kind"], name), answer))
    ]
    return found + [" ".join(each) for row in rows for each in row.get("through", ())]


def section(rows: Sequence[Mapping[str, Any]], *, load: float) -> str:
    """Write the section.

    Args:
        rows: The results.
        load: The machine's load during the run.
    """
    begin, end = marks(NAME)
    by_type = summary(rows)
    total: Counter[str] = sum(by_type.values(), Counter())
    blocks = [row for row in rows if "kind" in row]
    escalations = sum(row.get("escalations", 0) for row in rows)
    roles = len({row["role"] for row in blocks})
    got_more = sum(len(row.get("through", ())) for row in rows)
    lines = [
        begin,
        "## Attacks of one unit on another",
        "",
        "CustomerBehavior and DemandForecasting on one embedded cloud with IAM on. Every role of one unit makes "
        "every call of the services' models that can name a resource of the other: one of its stack, or one with its "
        "model's name at run time. An attempt counts if an administrator can make the same call, or is refused for "
        "a reason other than permissions; an operation",
        "that the embedded cloud does not have, or that a resource's own policy denies to all principals, does "
        "not count.",
        "",
        f"**{total['attempts']} attempts of {roles} roles count, {total['through']} succeeded**; {total['open by design']} read",
        "resources that are open by design (see `tests/security/targets.yaml`). "
        f"{escalations} attempts of roles to get more permissions:",
        f"{got_more} succeeded. {len(blocks)} of {blocks[0]['of']} pairs of a role and a resource are done, in a seeded order.",
        "",
        f"`python -m tests.security.run .mlops/campaign`, last attempt {max(row['at'] for row in rows)}, load {load:.1f}.",
        "",
        "| type | attempts | made by the administrator | not counted | open by design | succeeded |",
        "|---|---|---|---|---|---|",
    ]
    names = ("attempts", "made by the administrator", "not shown valid", "open by design", "through")
    lines += [
        f"| {kind} | {' | '.join(str(found[name]) for name in names)} |" for kind, found in sorted(by_type.items())
    ]
    lines += [f"- {each}" for each in through(rows)]
    return "\n".join([*lines, end]) + "\n"
