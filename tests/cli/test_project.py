"""Parts of a project: names that would shadow imports, files, changes of an upgrade."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import text

from mlops_cli.new import sample_schema
from mlops_cli.project import Answers, ModelAnswers, _literal, changes, owner, render
from mlops_cli.project_packages import PackageSources
from mlops_runtime.contracts import canonical_json


@pytest.mark.parametrize(
    ("package", "found"),
    [
        ("aws_cdk", "aws-cdk-lib"),
        ("mlops_runtime", "mlops-runtime"),
        ("mlops_cli", "mlops-cli"),
        ("mlops_constructs", "mlops-constructs"),  # its distribution would depend on itself
        ("aws_cdk_lib", "aws-cdk-lib"),  # a distribution whose module has another name
        ("cdk_nag", "cdk-nag"),
        ("typing_extensions", "typing-extensions"),  # a transitive requirement
        ("pydoc_data", "Python's own pydoc_data"),
    ],
)
def test_a_name_that_is_taken_has_an_owner(package: str, found: str) -> None:
    """Covers modules, distributions and Python's standard library."""
    owned = owner(package)

    assert owned is not None
    assert owned.replace("_", "-") == found.replace("_", "-")


@pytest.mark.parametrize("package", ["demand_forecast", "mlops_model", "aws_forecast"])
def test_a_name_that_nobody_has_is_free(package: str) -> None:
    """Covers a name with the same prefix as another."""
    assert owner(package) is None


def test_a_new_file_of_the_template_comes_and_never_over_one_that_is_there() -> None:
    """Applies even without a record of the file."""
    found = changes({}, {"a": b"new", "b": b"new", "c": b"same"}, {"b": b"mine", "c": b"same"})

    assert found.written == {"a": b"new", "b.new": b"new"}
    assert found.removed == ()


def test_answers_are_recorded_and_read_again() -> None:
    """Keeps the facts of every schema."""
    models = tuple(
        ModelAnswers(unit="shop", model=name, schema=sample_schema(kind))
        for name, kind in (("units", "number"), ("returns", "chance"))
    )
    answers = Answers(unit="shop", models=models, data="../sales.parquet", index="https://example.com/simple")
    assert canonical_json(Answers.from_document(answers.to_document())) == canonical_json(answers)
    assert answers.model_of("shop-returns") == models[1]
    assert answers.model_of("shop-x") is None


def test_a_model_is_there_once() -> None:
    """Models are identified by name."""
    model = ModelAnswers(unit="shop", model="units", schema=sample_schema("number"))
    assert Answers(unit="shop", models=(model, model)).problems() == ["the model 'shop_units' already exists"]


def test_models_of_one_stack_name_are_refused() -> None:
    """Each model has its own package, and the second stack would replace the first."""
    models = tuple(ModelAnswers(unit="shop", model=name, schema=sample_schema("number")) for name in ("a-1", "a1"))

    assert Answers(unit="shop", models=models).problems() == [
        "the models 'shop_a_1' and 'shop_a1' both result in the stack 'ShopA1'"
    ]


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ("https://ci:secret@pypi.internal/simple", "must not contain user and password"),
        ('https://pypi.internal/"]', "must be an https://"),
        ("https://pypi.internal/\n[tool]", "must be an https://"),
        ("http://ci:secret@[bad/simple", "got one with an invalid host"),
    ],
)
def test_an_index_is_kept_in_git(index: str, problem: str) -> None:
    """Index URLs have no password, and nothing that would break pyproject.toml."""
    models = (ModelAnswers(unit="shop", model="units", schema=sample_schema("number")),)
    (found,) = Answers(unit="shop", models=models, index=index).problems()

    assert problem in found
    assert "secret" not in found


@given(text())
def test_any_name_is_one_literal(name: str) -> None:
    """A column name is never code."""
    assert ast.literal_eval(_literal(name)) == name
    assert "\n" not in _literal(name)


def test_the_readmes_commands_take_a_path_as_one_word(tmp_path: Path) -> None:
    """Works for any file name."""
    models = (ModelAnswers(unit="shop", model="units", schema=sample_schema("number")),)
    answers = Answers(unit="shop", models=models, data="../my rows; true.csv")
    readme = render(answers, tmp_path / "project", PackageSources())["README.md"].decode()

    assert "--data '../my rows; true.csv' --reason" in readme
