"""Consistency checks of a pipeline's training set, training job, evaluation and gate."""

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
    """Return why a training set and a feature store do not match.

    Args:
        given: Plan or source of the training set.
        store: Feature store, if given.
    """
    if isinstance(given, TrainingSetSource):
        return (
            None
            if store is None
            else "store must not be given with a TrainingSetSource, which has its own; leave one of them out"
        )
    return None if store is not None else "store must be given: a TrainingSetPlan is built from a feature store"


def gate_problems(gate: GateSpec, evaluation: EvaluationPlan) -> list[str | None]:
    """Return conditions of a gate that its evaluation does not measure, and limits out of range.

    Args:
        gate: Conditions for registering a candidate.
        evaluation: Evaluation of the candidate.
    """
    columns = (*(evaluation.segments or ()), *(evaluation.bands or {}))
    known = ", ".join(map(repr, columns)) or "none"
    minimum, maximum = gate.minimum_loss, gate.maximum_loss
    return [
        None if evaluation.baselines else "evaluation.baselines must name at least one naive prediction to beat",
        None
        if gate.metric in (None, evaluation.metric)
        else f"gate.metric must be the evaluation's {evaluation.metric!r}, got {gate.metric!r}",
        # two-sided; with 0.5 or less the bound would be close to the estimate
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
            f"evaluation.bands must have one or more finite limits in ascending order, got {limits!r} for {column!r}"
            for column, limits in (evaluation.bands or {}).items()
            if not limits or not all(map(math.isfinite, limits)) or any(low >= high for low, high in pairwise(limits))
        ),
        *(
            f"evaluation.segments and evaluation.bands must not both name {column!r}"
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
    """Return why a metric function and an evaluation do not match.

    Args:
        training: Training job with the file of the function.
        evaluation: Evaluation; that of a vector has one label column and neither facets nor attributions.
    """
    is_custom = evaluation.metric == "custom_loss"
    if not is_custom:
        return [
            None
            if training.metric is None
            else f"training.metric requires evaluation.metric 'custom_loss', got {evaluation.metric!r}; change one of them"
        ]
    return [
        None
        if training.metric is not None
        else "evaluation.metric 'custom_loss' requires training.metric, the file with the function",
        "evaluation.labels requires several outputs; a vector has one label column, a list of numbers; leave labels out"
        if evaluation.labels is not None
        else None,
        "evaluation.facets are not measured for a vector, which has no positive label; leave them out, or use segments"
        if evaluation.facets
        else None,
        "evaluation.attribution_rows is not supported for a vector, whose numbers have no meaning of their own; leave it out"
        if evaluation.attribution_rows is not None
        else None,
    ]


def kind_problems(gate: GateSpec, evaluation: EvaluationPlan, source: TrainingSetSource) -> list[str | None]:
    """Return settings of a gate or an evaluation that the kind of model, classes or several outputs, does not support.

    Args:
        gate: Conditions for registering a candidate.
        evaluation: Evaluation; ``macro_log_loss`` implies classes, ``labels`` several outputs.
        source: Source of training sets.
    """
    is_classes = evaluation.metric == "macro_log_loss"
    return [
        *_class_problems(gate, evaluation, is_classes=is_classes),
        *([] if evaluation.labels is None else _output_problems(evaluation, evaluation.labels, source)),
    ]


def _class_problems(gate: GateSpec, evaluation: EvaluationPlan, *, is_classes: bool) -> list[str | None]:
    return [
        "gate.min_recall requires classes; set evaluation.metric to 'macro_log_loss', or leave it out"
        if gate.min_recall and not is_classes
        else None,
        *(
            check_range(f"gate.min_recall of {name!r}", least, minimum=0, maximum=1)
            for name, least in (gate.min_recall or {}).items()
        ),
        "evaluation.positive_class requires classes; use positive, or set evaluation.metric to 'macro_log_loss'"
        if evaluation.positive_class is not None and not is_classes
        else None,
        "evaluation.positive is a limit of one number; for classes, set positive_class to the positive class"
        if evaluation.positive is not None and is_classes
        else None,
        "evaluation.facets of classes require a positive class; set positive_class"
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
        "evaluation.facets are not measured for several labels, none of which is positive; leave them out, or use segments"
        if evaluation.facets
        else None,
        "evaluation.attribution_rows is not supported for several labels, whose attributions have different units; leave it out"
        if evaluation.attribution_rows is not None
        else None,
        f"evaluation.labels must be those of the training set, {source.plan.labels!r}, got {labels!r}"
        if source.plan is not None and source.plan.labels != labels
        else None,
    ]


def signature_problems(plan: SignaturePlan | None, source: TrainingSetSource) -> list[str | None]:
    """Return why a training job cannot write the signature.

    Args:
        plan: Plan of the signature; ``None`` if the script writes it.
        source: Source of training sets.
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
    """Return settings that models of a third-party container do not support.

    Args:
        serving: Third-party container; ``None`` if the platform's server serves.
        evaluation: Evaluation of the candidate.
        gate: Conditions for registering a candidate.
        allowed: Trust of the registry.
    """
    if serving is None:
        return []
    timed = [name for name in ("max_milliseconds_a_row", "max_slowdown") if getattr(gate, name) is not None]
    return [
        None
        if serving.trust in allowed
        else trust_refusal("the model", "a container", serving.trust, allowed=allowed).partition("; ")[0]
        + f"; allow it with ModelRegistry(trust={(*allowed, serving.trust)!r}), or use a container that needs less trust",
        "evaluation.attribution_rows is not supported with training.serving, since attributions load the model; leave it out"
        if evaluation.attribution_rows is not None
        else None,
        *(
            f"gate.{name} is not supported with training.serving, since a transform job does not time single rows; leave it out, "
            "and monitor latency"
            for name in timed
        ),
    ]


def monitoring_problems(evaluation: EvaluationPlan) -> list[str | None]:
    """Return settings of an evaluation for the monitors' baseline that are invalid.

    Args:
        evaluation: Evaluation with conditions, pairs, facets and attributions.
    """
    conditions, facets = evaluation.conditions or (), evaluation.facets or ()
    return [
        check_range("evaluation.attribution_rows", evaluation.attribution_rows, minimum=1, maximum=10_000),
        *(
            f"evaluation.conditions must have finite edges in ascending order, got {condition.edges!r} for {condition.name!r}"
            for condition in conditions
            if not all(map(math.isfinite, condition.edges))
            or any(low >= high for low, high in pairwise(condition.edges))
        ),
        *(
            f"evaluation.conditions must have edges for columns only, got {condition.edges!r} for {condition.name!r} of kind "
            f"{condition.kind!r}"
            for condition in conditions
            if condition.kind != "column" and condition.edges
        ),
        *(
            f"evaluation.pairs must have two different columns each, got {pair!r}"
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
    """Return columns of an evaluation that its training set lacks, if its columns are known at synthesis.

    Args:
        evaluation: Evaluation of the candidate.
        source: Source of training sets.
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
    """Return why a Spark job cannot build a pipeline's training sets.

    Args:
        job: The job, if given.
        source: Source of training sets.
    """
    if job is None:
        return None
    if source.plan is None or source.store is None:
        return "training_set_job requires a TrainingSetPlan, got a training set from S3; leave it out"
    if job.store.database_name != source.store.database_name:
        return (
            f"training_set_job belongs to store {job.store.database_name}, the plan's store is {source.store.database_name}; "
            "use a TrainingSetJob of that store"
        )
    return None


def _naive_columns(evaluation: EvaluationPlan) -> tuple[str, ...]:
    """Return the columns of the naive predictions, with several outputs one per output."""
    if evaluation.labels is None:
        return evaluation.baselines
    return tuple(f"{name}_{output}" for name in evaluation.baselines for output in evaluation.labels)


def _columns(source: TrainingSetSource) -> list[str]:
    """Return the columns of training sets; empty if they are unknown at synthesis."""
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
    """Return groups and columns of a plan that its store lacks.

    Args:
        source: Source of training sets.
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
            f"training_set uses {column!r} of group {name!r}, which has {', '.join(map(repr, known))}"
            for column in columns
            if column not in known
        ]
    naive = plan.baselines or ()
    there = [name for name in _columns(source) if name not in naive]
    return [*problems, *(f"training_set: {problem}" for problem in baseline_problems(naive, there))]
