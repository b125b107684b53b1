"""Names of naive baselines, and those available for a table."""

from mlops_runtime.training_data.baseline_names import baseline_names, baseline_problems, method_of


def test_names_suit_the_label() -> None:
    """The newest label is not a probability, and classes have no mean."""
    assert baseline_names("store", is_chance=True) == ("naive_mean_by_store",)
    assert baseline_names("store", has_classes=True) == ("naive_usual_by_store",)
    assert method_of("naive_last") is None
    assert baseline_problems(["naive_mean"], []) == []
