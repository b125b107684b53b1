"""Checks of where a training set comes from against what there is."""

from mlops_constructs.feature_store import FeatureStore
from mlops_constructs.retraining.source import TrainingSetSource
from mlops_runtime.contracts.retraining import TrainingSetPlan


def source_problem(given: TrainingSetPlan | TrainingSetSource, store: FeatureStore | None) -> str | None:
    """Return why a training set and a store do not go together.

    Args:
        given: What a training set is made of, or where it lies.
        store: The store.
    """
    if isinstance(given, TrainingSetSource):
        return (
            None if store is None else "store must not be given beside a TrainingSetSource, which says where sets lie"
        )
    return None if store is not None else "store must be given: a TrainingSetPlan is built from the features of one"


def feature_problems(source: TrainingSetSource) -> list[str]:
    """Return which groups and columns of a plan its store does not have.

    Args:
        source: Where training sets come from.
    """
    plan, store = source.plan, source.store
    if plan is None or store is None:
        return []
    groups = {group.name: group for group in store.groups}
    problems = [
        f"training_set names group {name!r}, the store has {', '.join(map(repr, groups))}"
        for name in (plan.label_group, *plan.features)
        if name not in groups
    ]
    wanted = {plan.label_group: (plan.timestamp, plan.label), **plan.features}
    for name, columns in wanted.items():
        known = [column.name for column in groups[name].columns] if name in groups else columns
        problems += [
            f"training_set wants {column!r} of group {name!r}, which has {', '.join(map(repr, known))}"
            for column in columns
            if column not in known
        ]
    return problems
