"""Checks of a declaration against itself and what there is: training set, evaluation, gate."""

import math
from collections.abc import Sequence
from itertools import pairwise

from mlops_constructs._validation import check_range
from mlops_constructs.feature_store.interface import ITrainingSetJob, IUnitFeatureStore
from mlops_constructs.retraining.training_declaration import ServingContainer, TrainingJob, TrainingSetSource
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model_manifest import Trust, trust_refusal
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, SignaturePlan, TrainingSetPlan
from mlops_runtime.features.group_join import key_problems
from mlops_runtime.training_data.baseline_names import baseline_problems

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
_LONGEST_VALUE = 2500
_FEWEST_OUTPUTS = 2
_OF_OUTPUTS = ("wape", "mae")


def source_problem(given: TrainingSetPlan | TrainingSetSource, store: IUnitFeatureStore | None) -> str | None:
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


def gate_problems(gate: GateSpec, evaluation: EvaluationPlan) -> list[str | None]:
    """Return what a gate asks that its evaluation cannot answer, and limits that nothing could keep.

    Args:
        gate: When a candidate may be registered.
        evaluation: What it is measured on.
    """
    columns = (*(evaluation.segments or ()), *(evaluation.bands or {}))
    known = ", ".join(map(repr, columns)) or "none"
    minimum, maximum = gate.minimum_loss, gate.maximum_loss
    return [
        None if evaluation.baselines else "evaluation.baselines must name at least one naive prediction to beat",
        None
        if gate.metric in (None, evaluation.metric)
        else f"gate.metric must be the evaluation's {evaluation.metric!r}, got {gate.metric!r}",
        # two-sided; with 0.5 or less the "bound" would lie near the estimate
        check_range("gate.confidence", gate.confidence, minimum=0.5, maximum=0.999),
        check_range("gate.resamples", gate.resamples, minimum=100, maximum=100_000),
        check_range("gate.max_regression", gate.max_regression, minimum=-1, maximum=10),
        check_range("gate.max_segment_regression", gate.max_segment_regression, minimum=-1, maximum=10),
        check_range("gate.max_segment_ratio", gate.max_segment_ratio, minimum=1, maximum=1000),
        check_range("evaluation.max_unknown", evaluation.max_unknown, minimum=0, maximum=1),
        check_range("gate.max_slowdown", gate.max_slowdown, minimum=1, maximum=1000),
        f"gate.minimum_loss must be below maximum_loss, got {minimum!r} and {maximum!r}"
        if minimum is not None and maximum is not None and minimum >= maximum
        else None,
        *(
            f"evaluation.bands must cut a column at one finite number or more, each above the one before, got {limits!r} for "
            f"{column!r}"
            for column, limits in (evaluation.bands or {}).items()
            if not limits or not all(map(math.isfinite, limits)) or any(low >= high for low, high in pairwise(limits))
        ),
        *(
            f"evaluation.segments and bands must not name {column!r} both"
            for column in evaluation.bands or {}
            if column in (evaluation.segments or ())
        ),
        *(
            f"gate.segments must be written as column=value with a column of evaluation.segments ({known}), got {name!r}"
            for name in gate.segments or ()
            if name.partition("=")[0] not in columns or not name.partition("=")[2]
        ),
    ]


def metric_problems(training: TrainingJob, evaluation: EvaluationPlan) -> list[str | None]:
    """Return why a metric function and an evaluation do not go together.

    Args:
        training: Names the file of the function.
        evaluation: What it measures: a vector, which has one label column and neither facets nor attributions.
    """
    is_custom = evaluation.metric == "custom_loss"
    if not is_custom:
        return [
            None
            if training.metric is None
            else f"training.metric is measured by evaluation.metric 'custom_loss', got {evaluation.metric!r}; leave one out"
        ]
    return [
        None
        if training.metric is not None
        else "evaluation.metric 'custom_loss' needs the file of the function as training.metric",
        "evaluation.labels are of several outputs; a vector has one label column, a list of numbers"
        if evaluation.labels is not None
        else None,
        "evaluation.facets are not measured for a vector, which has no positive label; leave them out, or watch segments"
        if evaluation.facets
        else None,
        "evaluation.attribution_rows is not possible for a vector, whose numbers mean nothing one by one; leave it out"
        if evaluation.attribution_rows is not None
        else None,
    ]


def kind_problems(gate: GateSpec, evaluation: EvaluationPlan, source: TrainingSetSource) -> list[str | None]:
    """Return what a gate or an evaluation asks that the kind of its model does not have: of classes or of several outputs.

    Args:
        gate: When a candidate may be registered.
        evaluation: What it is measured on; ``macro_log_loss`` is of classes, ``labels`` are of several outputs.
        source: Where training sets come from.
    """
    is_classes = evaluation.metric == "macro_log_loss"
    return [
        *_class_problems(gate, evaluation, is_classes=is_classes),
        *([] if evaluation.labels is None else _output_problems(evaluation, evaluation.labels, source)),
    ]


def _class_problems(gate: GateSpec, evaluation: EvaluationPlan, *, is_classes: bool) -> list[str | None]:
    return [
        "gate.min_recall is of classes; set evaluation.metric to 'macro_log_loss', or leave it out"
        if gate.min_recall and not is_classes
        else None,
        *(
            check_range(f"gate.min_recall of {name!r}", least, minimum=0, maximum=1)
            for name, least in (gate.min_recall or {}).items()
        ),
        "evaluation.positive_class is of classes; use positive, or set evaluation.metric to 'macro_log_loss'"
        if evaluation.positive_class is not None and not is_classes
        else None,
        "evaluation.positive is a limit of one number; name the class that counts as positive as positive_class"
        if evaluation.positive is not None and is_classes
        else None,
        "evaluation.facets of classes need the one that counts as positive; set positive_class"
        if evaluation.facets and is_classes and evaluation.positive_class is None
        else None,
    ]


def _output_problems(
    evaluation: EvaluationPlan, labels: tuple[str, ...], source: TrainingSetSource
) -> list[str | None]:
    return [
        f"evaluation.labels must be two columns or more, each once, got {labels!r}"
        if len(labels) < _FEWEST_OUTPUTS or len(set(labels)) < len(labels)
        else None,
        f"evaluation.label must be the first of labels, got {evaluation.label!r} and {labels!r}"
        if labels[:1] != (evaluation.label,)
        else None,
        f"evaluation.metric of several labels must be one of {', '.join(_OF_OUTPUTS)}, got {evaluation.metric!r}"
        if evaluation.metric not in _OF_OUTPUTS
        else None,
        "evaluation.facets are not measured for several labels, none of which is positive; leave them out, or watch segments"
        if evaluation.facets
        else None,
        "evaluation.attribution_rows is not possible for several labels, whose attributions have different units; leave it out"
        if evaluation.attribution_rows is not None
        else None,
        f"evaluation.labels must be those of the training set, {source.plan.labels!r}, got {labels!r}"
        if source.plan is not None and source.plan.labels != labels
        else None,
    ]


def signature_problems(plan: SignaturePlan | None, source: TrainingSetSource) -> list[str | None]:
    """Return why a training job cannot write the signature that it is asked for.

    Args:
        plan: How it is to write one; ``None`` where the script does.
        source: Where training sets come from.
    """
    if plan is None:
        return []
    length = len(canonical_json(plan))
    wrong = [] if plan.inputs is None else _unknown(plan.inputs, source)
    return [
        *(
            f"training.inputs must not name the label {name!r}"
            for name in dict.fromkeys((plan.label, *(plan.labels or ())))
            if name in (plan.inputs or ())
        ),
        f"training.inputs must be columns of the training set ({', '.join(map(repr, _columns(source)))}), got "
        f"{', '.join(map(repr, wrong))}"
        if wrong
        else None,
        f"the columns of training.inputs must fit into a hyperparameter of {_LONGEST_VALUE} characters, got {length}; leave "
        "other columns out of the training set instead"
        if length > _LONGEST_VALUE
        else None,
    ]


def container_problems(
    serving: ServingContainer | None, evaluation: EvaluationPlan, gate: GateSpec, *, allowed: Sequence[Trust]
) -> list[str | None]:
    """Return what cannot be asked of a model that a container of others loads.

    Args:
        serving: The container; ``None`` where our server serves.
        evaluation: What a candidate is measured on.
        gate: When a candidate may be registered.
        allowed: What loading a model may do, as the registry says.
    """
    if serving is None:
        return []
    timed = [name for name in ("max_milliseconds_a_row", "max_slowdown") if getattr(gate, name) is not None]
    return [
        None
        if serving.trust in allowed
        else trust_refusal("the model", "a container", serving.trust, allowed=allowed).partition("; ")[0]
        + f"; allow it with ModelRegistry(trust={(*allowed, serving.trust)!r}), or serve with a container that does less",
        "evaluation.attribution_rows is not possible with training.serving, since attributions load the model; leave it out"
        if evaluation.attribution_rows is not None
        else None,
        *(
            f"gate.{name} is not possible with training.serving, since a transform job does not time single rows; leave it out, "
            "and watch latency"
            for name in timed
        ),
    ]


def monitoring_problems(evaluation: EvaluationPlan) -> list[str | None]:
    """Return what an evaluation asks for the monitors that no baseline could hold.

    Args:
        evaluation: What is compared given, watched together, kept apart and explained.
    """
    conditions, facets = evaluation.conditions or (), evaluation.facets or ()
    return [
        check_range("evaluation.attribution_rows", evaluation.attribution_rows, minimum=1, maximum=10_000),
        *(
            f"evaluation.conditions must be cut at finite edges, each above the one before, got {condition.edges!r} for "
            f"{condition.name!r}"
            for condition in conditions
            if not all(map(math.isfinite, condition.edges))
            or any(low >= high for low, high in pairwise(condition.edges))
        ),
        *(
            f"evaluation.conditions must give edges to columns alone, got {condition.edges!r} for {condition.name!r} of kind "
            f"{condition.kind!r}"
            for condition in conditions
            if condition.kind != "column" and condition.edges
        ),
        *(
            f"evaluation.pairs must be of two columns that differ, got {pair!r}"
            for pair in evaluation.pairs or ()
            if len(set(pair)) != 2 or len(pair) != 2
        ),
        *(
            f"evaluation.facets must have values or a threshold, got both for {facet.name!r}"
            for facet in facets
            if facet.values and facet.threshold is not None
        ),
    ]


def evaluation_problems(evaluation: EvaluationPlan, source: TrainingSetSource) -> list[str]:
    """Return which columns an evaluation names that its training set will not have, as far as that is known at synth.

    Args:
        evaluation: What a candidate is measured on.
        source: Where training sets come from.
    """
    known = _columns(source)
    if not known:
        return []
    named = {
        "block": (evaluation.block,),
        "baselines": _naive_columns(evaluation),
        "segments": evaluation.segments or (),
        "bands": tuple(evaluation.bands or {}),
        "conditions": tuple(c.name for c in evaluation.conditions or () if c.kind == "column"),
        "pairs": tuple(dict.fromkeys(name for pair in evaluation.pairs or () for name in pair)),
        "identifiers": evaluation.identifiers or (),
        "closed_levels": evaluation.closed_levels or (),
        "facets": tuple(facet.name for facet in evaluation.facets or ()),
    }
    single = {"cluster": evaluation.cluster, "timestamp": evaluation.timestamp, "period": evaluation.period}
    named |= {name: (column,) for name, column in single.items() if column is not None}
    return [
        f"evaluation.{name} must be columns of the training set ({', '.join(map(repr, known))}), got {column!r}"
        for name, columns in named.items()
        for column in columns
        if column not in known
    ]


def job_problem(job: ITrainingSetJob | None, source: TrainingSetSource) -> str | None:
    """Return why a pipeline's sets cannot be built by a Spark job.

    Args:
        job: The job, if one is given.
        source: Where training sets come from.
    """
    if job is None:
        return None
    if source.plan is None or source.store is None:
        return "training_set_job builds sets of a TrainingSetPlan, got one from S3; leave it out"
    if job.store.database_name != source.store.database_name:
        return (
            f"training_set_job builds sets of {job.store.database_name}, the plan's store is {source.store.database_name}; "
            "give a TrainingSetJob of that store"
        )
    return None


def _naive_columns(evaluation: EvaluationPlan) -> tuple[str, ...]:
    """Return the columns of the naive predictions: of several outputs one for each."""
    if evaluation.labels is None:
        return evaluation.baselines
    return tuple(f"{name}_{output}" for name in evaluation.baselines for output in evaluation.labels)


def _columns(source: TrainingSetSource) -> list[str]:
    """Return the columns that training sets will have; none where that is not known at synth."""
    plan, store = source.plan, source.store
    if plan is None or store is None:
        return []
    entities = [entity.name for group in store.groups if group.name == plan.label_group for entity in group.entities]
    return [
        *entities,
        *(column for use in plan.uses for column in use.on.values() if column not in entities),
        plan.timestamp,
        *plan.label_columns,
        *(name for use in plan.uses for name in use.names),
        *(plan.baselines or ()),
    ]


def _unknown(names: tuple[str, ...], source: TrainingSetSource) -> list[str]:
    known = _columns(source)
    return [name for name in names if known and name not in known]


def feature_problems(source: TrainingSetSource) -> list[str]:
    """Return which groups and columns of a plan its store does not have.

    Args:
        source: Where training sets come from.
    """
    plan, store = source.plan, source.store
    if plan is None or store is None:
        return []
    groups = {name: group for group in store.groups for name in (group.table_name, group.name)}
    problems = [
        f"training_set names group {name!r}, the store has {', '.join(repr(group.name) for group in store.groups)}"
        for name in dict.fromkeys((plan.label_group, *(use.group for use in plan.uses)))
        if name not in groups
    ]
    keys = [column for use in plan.uses for column in use.on.values()]
    wanted = [(plan.label_group, (plan.timestamp, *plan.label_columns, *keys))]
    wanted += [(use.group, use.columns) for use in plan.uses]
    for use in plan.uses:
        if use.group in groups:
            problems += [
                f"training_set: {each}"
                for each in key_problems(use.alias or use.group, use.on, groups[use.group].entity_names)
            ]
    for name, columns in wanted:
        known = [column.name for column in groups[name].columns] if name in groups else columns
        problems += [
            f"training_set wants {column!r} of group {name!r}, which has {', '.join(map(repr, known))}"
            for column in columns
            if column not in known
        ]
    naive = plan.baselines or ()
    there = [name for name in _columns(source) if name not in naive]
    return [*problems, *(f"training_set: {problem}" for problem in baseline_problems(naive, there))]
