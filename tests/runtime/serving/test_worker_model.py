"""Models of other libraries in their own process: results and failures."""

import os
import pickle
import signal
import venv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.runtime.serving import model_folders
from tests.runtime.serving.model_folders import LOCK, PYTHON

from mlops_runtime.serving.served_model import ModelError, SlowModelError
from mlops_runtime.serving.worker_model import WorkerModel
from mlops_runtime.serving.worker_process import WorkerEndedError

ROWS = np.array([[2, 0], [np.nan, 1], [4, -1]], dtype=np.float32)
Start = Callable[..., WorkerModel]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the model of a folder; stopped at the test's end."""
    started: list[WorkerModel] = []

    def begin(folder: Path = tmp_path, **arguments: Any) -> WorkerModel:
        started.append(WorkerModel(folder, **{"python": PYTHON, "requirements_sha256": LOCK, **arguments}))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def test_a_handler_predicts_from_a_frame(start: Start, tmp_path: Path) -> None:
    """Numbers unchanged, categories as text, missing values as missing."""
    digest = model_folders.handler(tmp_path)
    model = start(expected_sha256=digest)
    assert model.predict(ROWS).tolist() == [6.0, 0.0, 13.0]
    assert (model.sha256, model.signature) == (digest, model_folders.SIGNATURE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [  # no byte code, since unlisted files are rejected
        "factor.txt",
        "mlops-model.json",
        "model.py",
        "signature.json",
    ]


def test_a_folder_is_loaded_again(start: Start, tmp_path: Path) -> None:
    """Loading leaves no files, such as byte code of a handler."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "none.py").write_text("")
    digest = model_folders.handler(tmp_path, f"import parts.none\n{model_folders.HANDLER}")
    start().close()
    assert start(expected_sha256=digest).predict(ROWS[:1]).tolist() == [6.0]


def test_an_environment_keeps_its_byte_code(start: Start, tmp_path: Path) -> None:
    """Imports are compiled once, not at each start of a process: scikit-learn takes two seconds."""
    venv.create(tmp_path / "environment", symlinks=True)
    (packages,) = (tmp_path / "environment" / "lib").glob("python*/site-packages")
    (packages / "beside.py").write_text("")
    (folder := tmp_path / "model").mkdir()
    model_folders.handler(folder, f"import beside\n{model_folders.HANDLER}")
    with pytest.raises(ModelError, match="No module named 'pandas'"):  # the handler has run: rows are a frame
        start(folder, python=tmp_path / "environment" / "bin" / "python")
    assert [path.suffix for path in (packages / "__pycache__").iterdir()] == [".pyc"]


def test_lightgbm_predicts_from_the_matrix(start: Start, tmp_path: Path) -> None:
    """Its text file is data: neither code of the model nor scikit-learn is loaded."""
    booster, rows, model = model_folders.trees(tmp_path), model_folders.table(), start()
    np.testing.assert_allclose(model.predict(rows), booster.predict(rows), rtol=1e-6)
    (process,) = model.pids
    loaded = Path(f"/proc/{process}/maps").read_text()
    assert "lightgbm" in loaded
    assert "sklearn" not in loaded


@pytest.mark.parametrize("kind", [None, "probability"])
def test_scikit_learn_predicts_with_native_categories(start: Start, tmp_path: Path, kind: str | None) -> None:
    """A classifier returns the probability of its second class. Pickles must be allowed."""
    made, rows = model_folders.estimator(tmp_path, kind), model_folders.table()
    frame = model_folders.frame(rows)
    expected = made.predict_proba(frame)[:, 1] if kind else made.predict(frame)
    np.testing.assert_allclose(start(trusts=("pickle",)).predict(rows), expected, rtol=1e-5)


def _three_classes(folder: Path, names: tuple[str, ...]) -> Any:
    """Write a classifier of three classes, with the fields of its signature."""
    rows = model_folders.frame(model_folders.table())
    thirds = np.array(["low", "middle", "high"])[np.digitize(rows["price"], [-0.4, 0.4])]
    made = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5).fit(rows, thirds)
    (folder / "model.pkl").write_bytes(pickle.dumps(made))
    signature = replace(model_folders.SIGNATURE, kind="classes", classes=names)
    model_folders.packed(folder, signature)
    return made


def test_three_classes_give_the_probability_of_each(start: Start, tmp_path: Path) -> None:
    """In the signature's order, which is the model's."""
    made, rows = _three_classes(tmp_path, ("high", "low", "middle")), model_folders.table()
    expected = made.predict_proba(model_folders.frame(rows))
    np.testing.assert_allclose(start(trusts=("pickle",)).predict(rows), expected, rtol=1e-5)


def test_classes_in_another_order_are_refused(start: Start, tmp_path: Path) -> None:
    """The probabilities would silently be of other classes."""
    _three_classes(tmp_path, ("low", "middle", "high"))
    with pytest.raises(
        ModelError, match=r"classes must be low, middle, high as in signature\.json, got high, low, middle"
    ):
        start(trusts=("pickle",))


def test_a_signature_of_two_classes_is_refused(start: Start, tmp_path: Path) -> None:
    """Before any process starts."""
    _three_classes(tmp_path, ("low", "high"))
    with pytest.raises(ModelError, match=r"signature\.json: kind .classes. needs three or more classes, got low, high"):
        start(trusts=("pickle",))


def test_a_pickle_is_refused_by_default(start: Start, tmp_path: Path) -> None:
    """Before any process starts."""
    model_folders.estimator(tmp_path)
    with pytest.raises(
        ModelError,
        match=r"model\.pkl is loaded by pickle with trust 'pickle', the registry allows data, code; "
        r".* ModelRegistry\(trust=\('data', 'code', 'pickle'\)\) and deploy",
    ):
        start()


def test_what_was_registered_is_compared_before_anything_is_loaded(start: Start, tmp_path: Path) -> None:
    """Manifest, each file, and the environment's lock."""
    digest = model_folders.handler(tmp_path)
    with pytest.raises(ModelError, match=r"mlops-model\.json has SHA-256 [0-9a-f]{64}, expected 000"):
        start(expected_sha256="0" * 64)
    with pytest.raises(ModelError, match=f"the image's environment is of lock 2222.*, the model needs {LOCK}"):
        start(expected_sha256=digest, requirements_sha256="2" * 64)
    (tmp_path / "factor.txt").write_text("4")
    with pytest.raises(ModelError, match=r"factor\.txt has SHA-256"):
        start(expected_sha256=digest)


def test_an_image_without_the_environment_says_so(start: Start, tmp_path: Path) -> None:
    """The prebuilt server serves ONNX only."""
    model_folders.handler(tmp_path)
    with pytest.raises(ModelError, match=r"the model's environment has no /nowhere/python; serve it with an image"):
        start(python=Path("/nowhere/python"))
    with pytest.raises(ModelError, match=r"the model's environment cannot run /.*/factor\.txt: Permission denied"):
        start(python=tmp_path / "factor.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "def load(folder):\n    raise OSError('no weights\\nhere')\n",
            "model.py failed to load: .*OSError: no weights$",
        ),
        (
            "import nothing_like_it\n",
            "model.py failed to load: .*ModuleNotFoundError: No module named 'nothing_like_it'",
        ),
        (
            "import os\nos._exit(7)\n",
            "model.py failed to load: the model's process has ended with code 7 while it loaded; see the log",
        ),
    ],
)
def test_a_model_that_does_not_load_says_why(start: Start, tmp_path: Path, text: str, message: str) -> None:
    """In one line, and its process has ended."""
    model_folders.handler(tmp_path, f"def load(folder): pass\n\n{text}\ndef predict(model, frame): pass\n")
    with pytest.raises(ModelError, match=message):
        start()


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        ("raise KeyError('price')", "the model failed: KeyError: 'price'"),
        (
            "return [1.0]",
            r"the model failed: ValueError: predict must return one prediction per row, got \(1,\) for 3 rows",
        ),
        (
            "return [[1, 2, 3]] * len(frame)",
            r"output 'units' has shape \(3, 3\) for 3 rows; expected one value per row",
        ),
        ("return ['many'] * len(frame)", "the model failed: ValueError: could not convert string to float"),
    ],
)
def test_a_call_that_fails_leaves_the_model_serving(start: Start, tmp_path: Path, predict: str, message: str) -> None:
    """The next call succeeds."""
    model_folders.handler(
        tmp_path,
        f"def load(folder): pass\n\ndef predict(model, frame):\n    if len(frame) == 1:\n        return [5.0]\n    {predict}\n",
    )
    model = start()
    with pytest.raises(ModelError, match=message):
        model.predict(ROWS)
    assert model.predict(ROWS[:1]).tolist() == [5.0]


def test_what_a_model_prints_does_not_disturb_its_answers(start: Start, tmp_path: Path) -> None:
    """Results use their own socket."""
    model_folders.handler(
        tmp_path,
        "def load(folder): print('hello')\n\ndef predict(model, frame):\n    print('x' * 9)\n    return frame['price']\n",
    )
    assert start().predict(ROWS[:1]).tolist() == [2.0]


def test_a_process_that_ends_takes_the_server_along(start: Start, tmp_path: Path) -> None:
    """During a call and between two."""
    model_folders.handler(tmp_path, "import os\n\ndef load(folder): pass\n\ndef predict(model, frame): os._exit(3)\n")
    ended: list[int] = []
    model = start(on_end=lambda: ended.append(1))
    with pytest.raises(WorkerEndedError, match="the model's process has ended with code 3"):
        model.predict(ROWS)
    model_folders.handler(tmp_path / "other")
    other = start(tmp_path / "other", on_end=lambda: ended.append(2))
    os.kill(other.pids[0], signal.SIGKILL)
    with pytest.raises(WorkerEndedError, match="ended with code -9"):
        other.predict(ROWS)
    assert ended == [1, 2]


def test_several_processes_take_turns(start: Start, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    """Each has the model in its own memory; if one ends, all end."""
    text = "import os\n\ndef load(folder): pass\n\ndef predict(model, frame): return frame['price'] * 0 + os.getpid()\n"
    model_folders.handler(tmp_path, text)
    ended: list[str] = []
    model = start(workers=2, on_end=lambda: ended.append("gone"))
    assert {model.predict(ROWS[:1]).item() for _ in range(2)} == set(model.pids)
    os.kill(model.pids[0], signal.SIGKILL)
    with pytest.raises(WorkerEndedError, match="ended with code -9"):
        model.predict(ROWS[:1])
    assert ended == ["gone"]
    wait_for(lambda: [_running(pid) for pid in model.pids] == [[], []])


def test_a_call_that_takes_too_long_ends_the_process(
    start: Start, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    """With its child processes."""
    text = (
        "import os, time\n\ndef load(folder): pass\n\ndef predict(model, frame):\n    os.fork()\n    time.sleep(60)\n"
    )
    model_folders.handler(tmp_path, text)
    ended: list[str] = []
    model = start(answer_seconds=0.2, on_end=lambda: ended.append("gone"))
    with pytest.raises(SlowModelError, match=r"the model has not responded within 0\.2 s"):
        model.predict(ROWS)
    assert ended == ["gone"]
    wait_for(lambda: _running(model.pids[0]) == [])  # a killed child is not waited for


def _running(group: int) -> list[str]:
    """Return the processes of a group that have not ended."""
    stats = [path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat")]
    return [state for state, _, of, *_ in stats if of == str(group) and state != "Z"]


def test_the_process_has_nothing_of_the_servers(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials, proxy or search path."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    text = "import os\n\ndef load(folder): pass\n\ndef predict(model, frame):\n    raise RuntimeError(sorted(os.environ))\n"
    model_folders.handler(tmp_path, text)
    with pytest.raises(ModelError) as caught:
        start().predict(ROWS)
    assert "AWS" not in str(caught.value)
    assert "PYTHONPATH" not in str(caught.value)
