"""A unit's metric function in its own process: its results, and errors of unusable functions."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.metric_function import PIECE_ROWS, metric_function
from mlops_runtime.serving.model_folder import hash_of
from mlops_runtime.serving.model_source import ModelEnvironment

DISTANCE = "import math\n\n\ndef loss(label, prediction):\n    return math.dist(label, prediction)\n"


def _losses(folder: Path, text: str, labels: list[Any], predictions: Any, given: Any = None, **limits: Any) -> Any:
    file = folder / "metric.py"
    file.write_text(text)
    values = np.array(predictions, dtype=np.float64)
    with metric_function(file, ModelEnvironment(), expected_sha256=hash_of(file), **limits) as function:
        return function.losses(
            [np.array(label, dtype=np.float64) for label in labels],
            values,
            np.ones(len(labels), dtype=bool) if given is None else np.array(given),
        )


def test_each_row_gets_the_loss_of_its_label(tmp_path: Path) -> None:
    """Over several pieces, equal to numpy's; rows without a prediction are skipped."""
    random = np.random.default_rng(7)
    labels, predictions = random.random((PIECE_ROWS * 2 + 5, 3)), random.random((PIECE_ROWS * 2 + 5, 3))
    given = random.random(len(labels)) < 0.9
    predictions[~given] = np.nan
    found = _losses(tmp_path, DISTANCE, list(labels), predictions, given)
    assert found[given] == pytest.approx(np.linalg.norm(labels - predictions, axis=1)[given])
    assert not found[~given].any()
    assert [path.name for path in tmp_path.iterdir()] == ["metric.py"]  # no byte code next to it


def test_labels_may_be_longer_than_predictions(tmp_path: Path) -> None:
    """The function interprets labels, such as positions of hits; it gets numpy arrays."""
    text = """
import numpy as np


def loss(label, prediction):
    assert isinstance(label[0], float)
    return 1.0 - float(np.argmax(np.asarray(prediction)) in np.asarray(label))
"""
    assert _losses(tmp_path, text, [[0, 2], [1]], [[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]]).tolist() == [0.0, 1.0]


def test_what_it_prints_is_no_answer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It goes to the job's log."""
    text = DISTANCE.replace("    return", "    print('seen', flush=True)\n    return")
    assert _losses(tmp_path, f"print('loaded', flush=True)\n{text}", [[1.0]], [[3.0]]).tolist() == [2.0]
    assert capfd.readouterr().out == "loaded\nseen\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def loss(label, prediction):\n    return 1 / 0", "row 3 of the holdout: ZeroDivisionError: division by zero"),
        ("def loss(label):\n    return 0.0", "row 3 of the holdout: TypeError: loss() takes 1 positional argument"),
        (
            "def loss(label, prediction):\n    return float('nan')",
            "returned nan for row 3 of the holdout; a loss is a finite",
        ),
        ("def loss(label, prediction):\n    return -0.5", "returned -0.5 for row 3 of the holdout"),
        ("def loss(label, prediction):\n    return [0.1, 0.2]", "row 3 of the holdout: TypeError: float() argument"),
        ("def loss(label, prediction):\n    return None", "row 3 of the holdout: TypeError: float() argument"),
        ("def loss(label, prediction):\n    raise SystemExit('enough')", "row 3 of the holdout: SystemExit: enough"),
        (
            "import os\ndef loss(label, prediction):\n    os._exit(3)",
            "the metric function's process has ended with code 3",
        ),
        ("def loss(label, prediction):\n    return len(bytearray(1 << 30))", "row 3 of the holdout: MemoryError"),
        ("def metric(label, prediction):\n    return 0.0", "TypeError: it has no function loss(label, prediction)"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise SystemExit('not today')", "the metric function failed: SystemExit: not today"),
        ("def loss(", "the metric function failed: SyntaxError"),
    ],
)
def test_fails_with_what_went_wrong(tmp_path: Path, text: str, message: str) -> None:
    """One message with the row; the evaluation fails."""
    with pytest.raises(JobError) as raised:
        _losses(tmp_path, text, [[0.0]] * 5, [[1.0]] * 5, [False, False, False, True, True], megabytes=512)
    assert message in str(raised.value)


def test_a_function_that_hangs_is_given_up(tmp_path: Path) -> None:
    """In a row or at load; its process is killed."""
    began = time.monotonic()
    for text in ("import time\ndef loss(label, prediction):\n    time.sleep(600)", "while True:\n    pass"):
        with pytest.raises(JobError, match=r"the metric function has not responded within 1 s"):
            _losses(tmp_path, text, [[0.0]], [[1.0]], piece_seconds=1.0, load_seconds=1.0)
    assert time.monotonic() - began < 60


def test_a_function_that_answers_wrongly_over_the_socket_is_found_out(tmp_path: Path) -> None:
    """The unit's code can reach the socket, so the number of results is checked."""
    text = """
import gc, socket, struct


def loss(label, prediction):
    wire = next(each for each in gc.get_objects() if isinstance(each, socket.socket))
    wire.sendall(struct.pack("<qqd", 8, 0, 0.0))
    return 0.0
"""
    with pytest.raises(JobError, match="returned 1 losses for 2 rows"):
        _losses(tmp_path, text, [[0.0]] * 2, [[1.0]] * 2)


def test_another_file_than_the_plans_is_refused(tmp_path: Path) -> None:
    """Before it is loaded."""
    file = tmp_path / "metric.py"
    file.write_text("raise SystemExit('loaded')")
    with (
        pytest.raises(
            JobError, match=r"the metric function has SHA-256 .*, the plan has a{64}; deploy the stack again"
        ),
        metric_function(file, ModelEnvironment(), expected_sha256="a" * 64),
    ):
        pass


def test_it_runs_with_the_models_python_and_no_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials and other variables of the job; a missing package is named."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    text = (
        "import os\ndef loss(label, prediction):\n    return float(len([n for n in os.environ if n.startswith('AWS')]))"
    )
    assert _losses(tmp_path, text, [[0.0]], [[1.0]]).tolist() == [0.0]
    file = tmp_path / "metric.py"
    environment = ModelEnvironment(python=tmp_path / "python", requirements_sha256="a" * 64)
    with (
        pytest.raises(JobError, match=r"the metric function's environment cannot run /.*/python: No such file"),
        metric_function(file, environment, expected_sha256=hash_of(file)),
    ):
        pass
