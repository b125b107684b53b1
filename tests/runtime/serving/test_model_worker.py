"""The worker's program: each flavor's loader in its own environment, with the frames of training."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.runtime.serving import model_environments
from tests.runtime.serving.environments.save_model import SAVES
from tests.runtime.serving.model_environments import ENVIRONMENT, body, lock, pack, python
from tests.runtime.serving.test_container_contract import outcomes
from tests.runtime.serving.test_server import server, wait_for_ping

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.model_manifest import Flavor
from mlops_runtime.serving.container_contract import check
from mlops_runtime.serving.model_worker import LOADERS, _check_levels, _order, _without_scikit_learn, framed
from mlops_runtime.serving.request_payload import Reader
from mlops_runtime.serving.served_model import ModelError
from mlops_runtime.serving.worker_model import WorkerModel

COLUMNS = [{"name": "price", "type": "number"}, {"name": "store", "type": "category", "categories": ["east", "west"]}]
ALL = ("data", "code", "pickle")
# one of each flavor, for rules independent of its training
ONE_EACH = (
    "xgboost_ubj",
    "lightgbm_categories",
    "catboost_chance",
    "skops_linear",
    "pickle_trees",
    "mlflow_skops",
    "sagemaker_handler",
)
# loaded by another environment, and rejected by it
OUTLIVES, REFUSED = (
    ("xgboost_json", "lightgbm_numbers", "lightgbm_categories"),
    ("pickle_trees", "skops_linear", "handler"),
)
OLDER = OUTLIVES + REFUSED
Saved = Callable[..., tuple[Path, list[float]]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Save an environment's models once; tests that change a model copy it."""
    made: dict[str, dict[str, tuple[Path, list[float]]]] = {}

    def save(name: str, environment: str | None = None) -> tuple[Path, list[float]]:
        chosen = ENVIRONMENT[name] if environment is None else environment
        if chosen not in made:
            names = OLDER if chosen == "older" else [each for each in SAVES if ENVIRONMENT[each] == chosen]
            made[chosen] = model_environments.saved(names, tmp_path_factory.mktemp(chosen), chosen)
        return made[chosen][name]

    return save


def loaded(folder: Path, environment: str, trusts: tuple[str, ...] = ALL) -> WorkerModel:
    """Load a model in one of the environments."""
    return WorkerModel(folder, python=python(environment), requirements_sha256=lock(environment), trusts=trusts)


def changed(folder: Path, to: Path, environment: str, change: Callable[[ModelSignature], ModelSignature]) -> Path:
    """Copy a model, with another signature."""
    import shutil

    shutil.copytree(folder, to)
    pack(to, change(from_json(ModelSignature, (to / "signature.json").read_bytes())), environment)
    return to


def test_each_flavor_has_a_loader() -> None:
    """The contract's names are the table's keys, except for models of third-party containers."""
    assert set(LOADERS) == set(Flavor.__args__) - {"container"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SAVES)
def test_a_model_predicts_what_its_framework_does(saved: Saved, name: str) -> None:
    """From JSON with integers beyond 32-bit floats, booleans, integer stores and missing texts."""
    folder, expected = saved(name)
    model = loaded(folder, ENVIRONMENT[name])
    try:
        answer = model.predict(Reader(model.signature).read("application/json", body(model.signature, name)))
    finally:
        model.close()
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ONE_EACH)
def test_each_flavor_keeps_every_rule_of_the_kit(saved: Saved, name: str) -> None:
    """Behind the server."""
    folder, _ = saved(name)
    environment = {
        "MLOPS_MODEL_PYTHON": str(python(ENVIRONMENT[name])),
        "MLOPS_REQUIREMENTS_SHA256": lock(ENVIRONMENT[name]),
        "MLOPS_TRUST": ",".join(ALL),
    }
    digest = hashlib.sha256((folder / "mlops-model.json").read_bytes()).hexdigest()
    with server(folder.parent, digest, environment=environment) as (process, port):
        wait_for_ping(port)
        found = outcomes(check(f"http://127.0.0.1:{port}", pid=process.pid))
        process.wait(timeout=10)
    assert set(found.values()) == {"passed"}
    assert len(found) == 18


def test_scikit_learn_that_is_loaded_stays_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import of LightGBM hides only packages that are not imported yet."""
    loaded_before = ModuleType("sklearn")
    monkeypatch.setitem(sys.modules, "sklearn", loaded_before)
    _without_scikit_learn("json")
    assert sys.modules["sklearn"] is loaded_before


@pytest.mark.parametrize("name", OUTLIVES)
def test_what_one_environment_saves_another_loads(saved: Saved, name: str) -> None:
    """A data format survives another version of its library."""
    folder, expected = saved(name, "older")
    pack(folder, from_json(ModelSignature, (folder / "signature.json").read_bytes()), "trees")
    model = loaded(folder, "trees")
    try:
        answer = model.predict(Reader(model.signature).read("application/json", body(model.signature, name)))
    finally:
        model.close()
    np.testing.assert_allclose(answer, expected, rtol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_another_version_of_scikit_learn_is_refused(saved: Saved, name: str) -> None:
    """Its library only warns and continues with an unsupported state."""
    folder, _ = saved(name, "older")
    pack(folder, from_json(ModelSignature, (folder / "signature.json").read_bytes()), "estimators")
    with pytest.raises(
        ModelError, match=r"saved by scikit-learn 1\.8\.0, its environment has 1\.9\.1; lock 1\.8\.0, or train again"
    ):
        loaded(folder, "estimators")


def test_a_skops_file_does_not_trust_itself(saved: Saved, tmp_path: Path) -> None:
    """The team declares types beyond data, and the file then counts as a pickle."""
    folder, _ = saved("skops_trees")
    assert json.loads((folder / "mlops-model.json").read_text())["trust"] == "pickle"
    plain = changed(folder, tmp_path / "plain", "estimators", lambda of: of)
    (plain / "trusted-types.txt").unlink()
    pack(plain, from_json(ModelSignature, (plain / "signature.json").read_bytes()), "estimators")
    with pytest.raises(
        ModelError,
        match=r"model\.skops names types that are not trusted: functools\.partial, .*TreePredictor.*trusted-types",
    ):
        loaded(plain, "estimators", ("data",))


def test_an_mlmodel_does_not_trust_itself(saved: Saved, tmp_path: Path) -> None:
    """MLflow would trust it."""
    folder, _ = saved("mlflow_skops")
    copy = changed(folder, tmp_path / "copy", "estimators", lambda of: of)
    path = copy / "mlflow" / "MLmodel"
    path.write_text(path.read_text().replace("skops_trusted_types: null", "skops_trusted_types: [os.system]"))
    pack(copy, from_json(ModelSignature, (copy / "signature.json").read_bytes()), "estimators")
    with pytest.raises(ModelError, match=r"MLmodel names types that are not trusted: os\.system; list those"):
        loaded(copy, "estimators")


def test_an_mlmodel_cannot_name_a_loader_of_pickles_behind_its_text(saved: Saved, tmp_path: Path) -> None:
    """YAML has several notations of a key."""
    folder, _ = saved("mlflow_skops")
    copy = changed(folder, tmp_path / "copy", "estimators", lambda of: of)
    path = copy / "mlflow" / "MLmodel"
    path.write_text(
        path.read_text().replace(
            "    predict_fn: predict", '    predict_fn: predict\n    "loader\\x5fmodule": mlflow.statsmodels'
        )
    )
    pack(copy, from_json(ModelSignature, (copy / "signature.json").read_bytes()), "estimators")
    with pytest.raises(
        ModelError, match=r"MLmodel is loaded by mlflow\.statsmodels, which may unpickle; the manifest has"
    ):
        loaded(copy, "estimators")


@pytest.mark.parametrize("name", ["lightgbm_categories", "pickle_trees"])
def test_integers_learned_as_categories_must_come_as_integers(saved: Saved, tmp_path: Path, name: str) -> None:
    """As texts each would be unknown, and the prediction silently wrong."""
    folder, _ = saved(name)
    copy = changed(
        folder,
        tmp_path / "copy",
        ENVIRONMENT[name],
        lambda of: replace(
            of, inputs=tuple(replace(column, kind=None) if column.name == "store" else column for column in of.inputs)
        ),
    )
    with pytest.raises(
        ModelError, match=r'learned integers as the categories of store, .* set "kind": "integer" there'
    ):
        loaded(copy, ENVIRONMENT[name])


def test_a_missing_text_that_was_learned_as_none_is_refused() -> None:
    """Before pandas 3 a table gives None, for which an encoder has a category other than NaN's."""
    of = {"inputs": [{"name": "home", "type": "category", "categories": ["a"], "nullable": True}]}
    with pytest.raises(
        ValueError, match="has learned None as a missing value, a frame has NaN; fill missing strings before"
    ):
        _check_levels(["a", None], of)
    _check_levels(["a", float("nan")], of)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("xgboost_json", lambda inputs: inputs[:2], "the model takes 3 columns, signature.json declares 2"),
        (
            "lightgbm_numbers",
            lambda inputs: (*inputs[:2], replace(inputs[2], name="kids")),
            "trained with columns household, has_kids, baskets; signature.json declares baskets, household, kids",
        ),
        (
            "catboost_chance",
            lambda inputs: (*inputs[:-1], replace(inputs[-1], nullable=True)),
            "CatBoost takes no missing category, but signature.json allows null for home; fill them before training",
        ),
    ],
)
def test_fails_for_columns_that_are_not_those_of_the_model(
    saved: Saved, tmp_path: Path, name: str, change: Callable[[Any], Any], message: str
) -> None:
    """At load, before any caller is affected."""
    folder, _ = saved(name)
    copy = changed(
        folder, tmp_path / "copy", ENVIRONMENT[name], lambda of: replace(of, inputs=tuple(change(of.inputs)))
    )
    with pytest.raises(ModelError, match=message):
        loaded(copy, ENVIRONMENT[name])


@pytest.mark.parametrize(
    ("trained", "declared", "expected"),
    [
        (["f1", "f0"], ["f0", "f1"], [[2.0, 1.0]]),
        (["f0", "f1"], ["price", "stock"], [[1.0, 2.0]]),
        (None, ["price", "stock"], [[1.0, 2.0]]),
        (["unit_price", "stock"], ["stock", "unit price"], [[2.0, 1.0]]),
    ],
)
def test_columns_get_the_order_of_training(trained: list[str] | None, declared: list[str], expected: Any) -> None:
    """By name if they have one; names generated by a library are positions."""
    of = {"inputs": [{"name": name} for name in declared], "takes": "matrix"}
    assert _order(trained, 2, of)(np.array([[1.0, 2.0]])).tolist() == expected


ECHO = """
import json


def load(folder): return None


def predict(model, frame):
    rows = frame.astype(object).where(frame.notna(), None).values.tolist()
    raise RuntimeError(json.dumps([[str(kind) for kind in frame.dtypes], rows]))
"""
EVERY = ModelSignature(
    inputs=(
        SignatureColumn(name="amount", type="number", kind="integer"),
        SignatureColumn(name="is_new", type="number", kind="boolean"),
        SignatureColumn(name="price", type="number", nullable=True),
        SignatureColumn(name="note", type="category", kind="text", nullable=True),
        SignatureColumn(name="store", type="category", kind="integer", categories=("7", "11")),
        SignatureColumn(name="city", type="category", categories=("Oslo",), nullable=True),
    ),
    output="units",
    passes="values",
)


@pytest.mark.parametrize("environment", ["estimators", "older"])
def test_values_reach_a_model_unharmed(tmp_path: Path, environment: str) -> None:
    """20,000,001, true, any text, an integer category, and an unlisted one; with pandas 2 and 3."""
    (tmp_path / "model.py").write_text(ECHO)
    pack(tmp_path, EVERY, environment)
    model = loaded(tmp_path, environment)
    sent = [[20_000_001, True, None, "so good", 13, "Bergen"], [-3, False, 0.1, None, "7", None]]
    try:
        with pytest.raises(ModelError) as caught:
            model.predict(Reader(EVERY).rows(sent))
    finally:
        model.close()
    kinds, rows = json.loads(str(caught.value).partition("RuntimeError: ")[2])
    assert kinds == [
        "int64", "bool", "float64", "str" if environment == "estimators" else "object", "category", "category"
    ]  # fmt: skip
    assert rows == [[20_000_001, True, None, "so good", 13, "Bergen"], [-3, False, 0.1, None, 7, None]]


def test_a_frame_has_categories_as_text_and_missing_ones_as_missing() -> None:
    """A null text is NaN, never None: an encoder distinguishes them."""
    frame = framed(COLUMNS)(np.array([[1.5, 1], [np.nan, -1]], dtype=np.float32), ())
    assert frame["price"].dtype == np.float64
    assert list(frame["store"].cat.categories) == ["east", "west"]
    assert frame["store"].isna().tolist() == [False, True]
    assert frame["store"][0] == "west"
    assert frame["store"][1] != frame["store"][1]


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_frame_has_the_rows_of_its_matrix(rows: int) -> None:
    """None, one and many."""
    assert len(framed(COLUMNS)(np.zeros((rows, 2), dtype=np.float32), ())) == rows


def test_fails_for_a_missing_integer_that_may_not_be_missing() -> None:
    """It would be replaced by an arbitrary value."""
    frame = framed([{"name": "amount", "type": "number", "kind": "integer"}])
    with pytest.raises(ValueError, match="column 'amount' must not be null"):
        frame(np.array([[np.nan]]), ())
