"""Record a report of ``mlops verify`` in the ledger, and regenerate ``docs/verified.md``.

Run ``python -m tools.record_report REPORT.json``. It verifies the report's signature first, and rejects a report of the embedded
cloud.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from mlops_local.aws_claims import FOLDER, read_claims
from mlops_runtime.verify.problems import VerifyError
from mlops_runtime.verify.report_signature import check
from tools import verified_page


def main(arguments: list[str]) -> int:
    """Record one report; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m tools.record_report REPORT.json", file=sys.stderr)
        return 2
    try:
        checked = check(Path(arguments[0]).read_bytes())
    except (OSError, VerifyError) as error:
        print(f"record_report: {arguments[0]}: {error}", file=sys.stderr)
        return 1
    if checked.report.cloud != "aws":
        print(
            f"record_report: the report is of {checked.report.cloud!r}, not of AWS; nothing is recorded",
            file=sys.stderr,
        )
        return 1
    recorded = record(FOLDER, {row["id"]: row["seen"] for row in checked.seen()})
    verified_page.main()
    print(f"recorded {', '.join(recorded) or 'nothing'}")
    return 0


def record(folder: Path, seen: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Write the result of each assumed claim to the ledger, replacing an earlier result; return the ids."""
    known = {claim.id for claim in read_claims(folder) if claim.basis == "assumed"}
    recorded = []
    for path in sorted(folder.glob("*.yaml")):
        entries = re.split(r"(?m)^(?=- id: )", path.read_text("utf-8"))
        for number, entry in enumerate(entries):
            name = entry.partition("\n")[0].removeprefix("- id: ").strip()
            if name in known and name in seen:
                values = ", ".join(f"{key}: '{seen[name][key]}'" for key in ("date", "region", "report", "result"))
                entries[number] = re.sub(r"(?m)^  seen: .*\n", "", entry) + f"  seen: {{{values}}}\n"
                recorded.append(name)
        path.write_text("".join(entries), "utf-8")
    return recorded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
