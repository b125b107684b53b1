"""A feature's wording: order by evidence, verdict and recommended action."""

from dataclasses import replace

import pytest
from tests.runtime.monitor import reports

from mlops_runtime.monitor.monitors.drift import feature_words
from mlops_runtime.monitor.monitors.drift.rules import Rule


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_says_what_to_do(rule: Rule) -> None:
    """Alarms advise retraining after a real change, except for values of another type; suspects wait for more windows."""
    found = reports.drift("price", 0.2, 1e-9, rule=rule.value)

    retrains = "retraining does not help" if rule is Rule.TYPE else "if the world has changed, retrain"
    assert feature_words.what_to_do(found).endswith(retrains)
    assert feature_words.what_to_do(replace(found, persistent=False)).endswith("it alarms if the next windows agree")


def test_what_holds_or_was_not_tested_asks_for_nothing() -> None:
    """Stable and untested features recommend no action and give the reason."""
    assert feature_words.what_to_do(reports.drift("price")) == "nothing: no drift"
    assert (
        feature_words.what_to_do(reports.drift("price", untested="all null")) == "nothing: it was not tested, all null"
    )


def test_features_are_ranked_by_evidence() -> None:
    """Persistent drift comes first, then drift of this window, then the smallest p-values, and untested features last."""
    ranked = [feature.name for feature in feature_words.ranked(reports.MOVED)]

    assert ranked == ["price", "price x stock", "store", "forecast", "stock", "null_patterns"]


def test_model_monitor_gives_no_psi() -> None:
    """Model Monitor's features have no PSI, which differs from a PSI of zero."""
    assert feature_words.psi_text(reports.drift("price", 0.0, rule="model_monitor")) == ""


def test_verdicts_of_a_feature() -> None:
    """Verdicts distinguish persistent drift, drift of this window, drift of earlier windows and none."""
    drifted = reports.drift("price", 0.2, 1e-9)
    words = [
        feature_words.drift_word(feature)[1]
        for feature in (
            drifted,
            replace(drifted, persistent=True),
            replace(drifted, persistent=False),
            reports.drift("price", persistent=True),
            reports.drift("price"),
        )
    ]

    assert words == ["drifted", "drifted", "in this window", "in earlier windows", "holds"]


def test_rows_that_cannot_be_read_have_neither_a_psi_nor_a_training() -> None:
    """Unreadable rows have no PSI and no retraining advice, since callers changed something."""
    found = replace(reports.drift("unreadable_rows", 0.0, 1e-9, rule="unreadable"), persistent=True)
    assert feature_words.psi_text(found) == ""
    assert feature_words.what_to_do(found).endswith("columns of the model's inputs; retraining does not help")
