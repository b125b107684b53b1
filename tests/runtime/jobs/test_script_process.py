"""Scripts that print, write or use too much, run as by a job."""

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mlops_runtime.jobs.script_process import ScriptLimitError, ScriptLimits, folder_bytes, run_process

MIB = 1024**2


def run(folder: Path, script: str, **limits: Any) -> tuple[int, list[str]]:
    """Run a script that finds its output folder in ``OUT``."""
    path, output = folder / "run.py", folder / "model"
    output.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(script))
    return run_process(
        [sys.executable, str(path)],
        folder=folder,
        environment={**os.environ, "OUT": str(output), "PYTHONUNBUFFERED": "1"},
        limits=ScriptLimits(output=output, **limits),
    )


def test_a_script_that_writes_for_ever_is_stopped_while_it_writes(tmp_path: Path) -> None:
    """The message has the written size, the limit and the fix; ignoring SIGTERM does not help."""
    script = """
        import os, pathlib, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with (pathlib.Path(os.environ["OUT"]) / "model.bin").open("wb") as file:
            while file.tell() < 400_000_000:
                file.write(bytes(100_000))
            file.flush()
            signal.pause()
    """
    with pytest.raises(ScriptLimitError, match=r"wrote \d+ MiB to its model folder, at most 8 MiB are allowed; write "):
        run(tmp_path, script, output_bytes=8 * MIB, grace_seconds=0.2)


def test_a_file_with_holes_counts_as_it_is_read(tmp_path: Path) -> None:
    """Reading a sparse terabyte would take hours."""
    (tmp_path / "deep").mkdir()
    with (tmp_path / "deep" / "model.bin").open("wb") as file:
        file.truncate(1024**4)
    (tmp_path / "deep" / "itself").symlink_to(tmp_path)
    assert 1024**4 <= folder_bytes(tmp_path) < 1024**4 + MIB


def test_a_script_that_fills_the_disk_is_stopped_before_it_is_full(tmp_path: Path) -> None:
    """Enough space remains for the failure file."""
    with pytest.raises(ScriptLimitError, match=r"filled the disk: .* are left, .* must stay free; .* volume="):
        run(tmp_path, "import signal\nsignal.pause()", free_bytes=1024**6)


def test_a_log_is_cut_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The script runs to its end; the last error lines are still the reason."""
    script = """
        import sys
        for _ in range(300):
            print("x" * 9_999)
        sys.exit("no rows")
    """
    code, tail = run(tmp_path, script, log_bytes=MIB)
    printed, output = capfd.readouterr()
    assert (code, tail[-1], len(printed)) == (1, "no rows", MIB)
    assert "mlops: the script has printed 1 MiB; the rest of its output is dropped" in output
    assert "2 MiB of output were dropped: a script may print 1 MiB" in output


def test_what_is_printed_arrives_whole_and_in_its_stream(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A script below its limit is unaffected."""
    script = "import sys\nfor n in range(5000): print('é', n)\nprint('late', file=sys.stderr)"
    assert run(tmp_path, script) == (0, ["late"])
    printed, output = capfd.readouterr()
    assert printed == "".join(f"é {n}\n" for n in range(5000))
    assert output == "late\n"
