"""The script before its modules are loaded, in a child process."""

import subprocess
import sys

import pytest

INTERRUPTED = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from mlops_cli.entry_point import main
main()
"""


@pytest.mark.parametrize("module", ["mlops_cli.__main__", "typer", "mlops_cli.verify"])
def test_an_interruption_while_modules_load_is_one_line(module: str) -> None:
    """Works during any import; the exit code is that of an interrupted verb."""
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module)], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "mlops: interrupted\n")


def test_the_command_runs() -> None:
    """Runs as the installed script does."""
    code = "import sys; sys.argv[1:] = ['--version']; from mlops_cli.entry_point import main; main()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("mlops ")
