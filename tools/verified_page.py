"""Generate ``docs/verified.md`` from the ledger: assumptions about AWS, and the checks that would confirm them.

Run ``python -m tools.verified_page``; a test compares the page with the ledger.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from mlops_local.aws_claims import FOLDER, Claim, read_claims

# areas whose heading is a name or an abbreviation
_NAMES = {
    "cloudformation": "CloudFormation",
    "eks": "EKS",
    "gitlab": "GitLab",
    "iam": "IAM",
    "sdk": "SDK",
    "step_functions": "Step Functions",
}
PAGE = Path(__file__).resolve().parents[1] / "docs" / "verified.md"
_WIDTH = 100
_HEAD = (
    "Each behaviour of AWS that the embedded cloud imitates, or that a template relies on, is an entry of the ledger, "
    "`packages/mlops-local/src/mlops_local/claims/`, with its source, the date it was read and its test. An entry is documented, "
    "observed by others in public, or assumed. This page lists the assumed entries, each with the check that would confirm it; "
    "`mlops verify` runs the checks that can be automated in a real account. `tools/verified_page.py` generates the page from the "
    "ledger."
)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


def page(folder: Path = FOLDER) -> str:
    """Return the page's text.

    Args:
        folder: Folder of the ledger.
    """
    areas = [(path.stem, _assumed(folder, path.stem)) for path in sorted(folder.glob("*.yaml"))]
    sections = "".join(_section(area, found) for area, found in areas if found)
    status = _status([claim for _, found in areas for claim in found])
    head = textwrap.fill(f"{status} {_HEAD}", _WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"# What only AWS can show\n\n{head}\n{sections}"


def _status(assumed: list[Claim]) -> str:
    seen = sum(claim.seen is not None for claim in assumed)
    if seen == 0:
        return "No AWS account has run this."
    return f"An AWS account has run the checks of {seen} of the {len(assumed)} claims below; column *seen* has the results."


def _assumed(folder: Path, area: str) -> list[Claim]:
    return [claim for claim in read_claims(folder, area) if claim.basis == "assumed"]


def _section(area: str, claims: Iterable[Claim]) -> str:
    title = _NAMES.get(area, area.replace("_", " ").capitalize())
    rows = [
        f"| `{claim.id}` | {_cell(claim.claim)} | {_cell(claim.shown_by or '')} | {_seen(claim)} |" for claim in claims
    ]
    return f"\n## {title}\n\n| id | claim | how to check it | seen |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _seen(claim: Claim) -> str:
    return (
        "not yet" if claim.seen is None else f"{claim.seen['result']} in {claim.seen['region']}, {claim.seen['date']}"
    )


if __name__ == "__main__":
    main()
