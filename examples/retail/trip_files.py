"""Linked files of the demo's page: the page of each replayed window, and each audit record."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from examples.retail.loop import Loop
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import AuditRecord
from mlops_runtime.monitor.archive import Archive
from mlops_runtime.monitor.page.window_page import MOST_REPORTS, page


def report_file(period: int) -> str:
    """Return the file name of the page of a period's window."""
    return f"report-{period}.html"


def record_file(record: AuditRecord) -> str:
    """Return the name of the file of an audit record."""
    return f"record-{record.sequence}.json"


def write_files(folder: Path, loop: Loop, reports: Mapping[int, MonitorReport]) -> None:
    """Write the page of each report and every audit record.

    Args:
        folder: Folder to write; an earlier one is replaced.
        loop: The deployed unit, on a running cloud.
        reports: Reports by their period.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = Archive(loop.s3, endpoint=loop.endpoint, artifacts=loop.outputs["ArtifactsBucket"])
    for period, report in reports.items():
        kept, history = archive.kept(report), archive.history(report, most=MOST_REPORTS)
        text = page(report, baseline=kept.baseline, counts=kept.counts, history=history)
        (folder / report_file(period)).write_text(text, encoding="utf-8")
    for record in loop.audit():
        (folder / record_file(record)).write_text(json.dumps(to_dict(record), indent=2) + "\n", encoding="utf-8")
