"""The campaign's section of ``docs/campaign.md``."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tests.campaign.frameworks.baskets import HOLDOUT_ROWS
from tests.campaign.page import marks

NAME = "frameworks"


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the section.

    Args:
        rows: Result of each model.
    """
    begin, end = marks(NAME)
    good = [row for row in rows if row["problem"] is None]
    seconds = statistics.median(row["seconds"] for row in rows)
    lines = [
        begin,
        "## Models of other frameworks through the whole loop",
        "",
        f"{len(good)} of {len(rows)} ways to save a model completed the loop on the embedded cloud, with IAM on: saved by",
        "their own framework in the environment of a lock, registered by `mlops models register`, evaluated on",
        f"{HOLDOUT_ROWS:,} rows of real purchases together with the model that serves, gated, signed, approved by",
        "policy, and rolled out. For 300 rows, the endpoint then returns the framework's own predictions. Pickles serve",
        "because this registry allows them. `torch_network` has an environment of its own, since PyTorch's wheels are 5.3 GB.",
        "",
        f"`python -m tests.campaign.frameworks.run .mlops/campaign`; from the command to the package takes {seconds:.0f} s in the",
        f"median, at most {max(row['seconds'] for row in rows):.0f} s, on two shared cores.",
        "",
        "| model | flavor and trust, loss and gate | seconds | largest relative difference | problem |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        reason = row["registered"].get("reason", "").split("; loss against")[0]
        problem = row["problem"] or "none"
        lines.append(
            f"| `{row['name']}` | {reason} | {row['seconds']} | {row.get('worst', float('nan')):.1g} | {problem} |"
        )
    return "\n".join([*lines, "", end, ""])
