"""Capacity limits of SageMaker and Application Auto Scaling; each rule cites its documentation."""

import re
from collections.abc import Iterator

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.contracts.serving import AsynchronousSpec, ScalingSpec, ScheduledCapacitySpec, ServerlessSpec
from mlops_runtime.instance_types import takes_volume_key

_INSTANCE_TYPE = re.compile(r"ml\.([a-z0-9-]+)\.[a-z0-9-]+")
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
# https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-console.html
_BURSTABLE = re.compile(r"t\d[a-z]*")
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariant.html
MAX_INSTANCES = 1000
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html: ten production variants
MAX_VARIANTS = 10
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html
MEMORY_SIZES = (1024, 2048, 3072, 4096, 5120, 6144)
MAX_SERVERLESS_CONCURRENCY = 200
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AsyncInferenceClientConfig.html
MAX_ASYNCHRONOUS_CONCURRENCY = 1000
# https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html
_CRON = re.compile(r"cron\(\S+( \S+){5}\)")
_AT = re.compile(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)")
_ZONE = re.compile(r"[A-Za-z_]([/A-Za-z0-9_+-]*[A-Za-z0-9_])?")
# https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html
_ACTION_NAME = re.compile(r"[^\s:/|]([^:/|\x00-\x1f\x7f-\x9f]{0,254}[^\s:/|])?")


def takes_key(spec: ServingSpec) -> bool:
    """Return whether a customer managed key can encrypt the volumes of all instances; a config has one key for all variants."""
    types = [spec.instance_type, *(variant.instance_type for variant in spec.variants or ())]
    return spec.serverless is None and all(takes_volume_key(kind) for kind in types)


def serverless_problems(spec: ServingSpec) -> Iterator[str]:
    """Yield why a spec is invalid for a serverless endpoint.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html (feature exclusions)
    """
    if spec.serverless is not None:
        yield from _serverless_sizes(spec.serverless)
    if spec.instance_type or spec.instance_count:
        yield (
            "a serverless endpoint has no instances: instance_type must be empty and instance_count 0, "
            f"got {spec.instance_type!r} and {spec.instance_count}"
        )
    excluded = {
        "capture": (spec.capture is not None, "leave capture out, or use instances"),
        "subnets and security_groups": (bool(spec.subnets or spec.security_groups), "leave the network out"),
        "network_isolation": (spec.network_isolation, "switch it off, or use instances"),
        "further variants": (bool(spec.variants), "leave variants out, or use instances"),
        "a shadow variant": (spec.rollout.shadow is not None, "leave shadow out, or use instances"),
        "asynchronous inference": (spec.asynchronous is not None, "choose one of the two"),
    }
    for feature, (is_requested, fix) in excluded.items():
        if is_requested:
            yield f"a serverless endpoint does not support {feature}; {fix}"
    if spec.kms_key is not None:
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html: the volume of the instance
        yield "kms_key encrypts the volumes of instances, and a serverless endpoint has no instances; leave kms_key out"
    if spec.scaling is not None:
        yield "a serverless endpoint scales by itself up to max_concurrency; leave scaling out"
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html: real-time and asynchronous endpoints only
    if spec.rollout.kind != "ALL_AT_ONCE" or spec.rollout.bake or spec.rollout.min_invocations:
        yield (
            f"deployment guardrails do not work for serverless endpoints, got rollout {spec.rollout.kind} with a bake of "
            f"{spec.rollout.bake} s and {spec.rollout.min_invocations} min_invocations: SageMaker would shift all at once; use "
            "ALL_AT_ONCE without bake, alarms and min_invocations, and golden requests as evidence"
        )
    if spec.rollout.alarms:
        yield f"rollback alarms are not watched on serverless endpoints, got {len(spec.rollout.alarms)}; leave alarms out"


def _serverless_sizes(serverless: ServerlessSpec) -> Iterator[str]:
    if serverless.memory_mb not in MEMORY_SIZES:
        yield f"serverless.memory_mb must be one of {', '.join(map(str, MEMORY_SIZES))}, got {serverless.memory_mb}"
    most = MAX_SERVERLESS_CONCURRENCY
    if not 1 <= serverless.max_concurrency <= most:
        yield f"serverless.max_concurrency must be 1 to {most}, got {serverless.max_concurrency}"
    warm = serverless.provisioned_concurrency
    if warm is not None and not 1 <= warm <= serverless.max_concurrency:
        yield (
            f"serverless.provisioned_concurrency must be 1 to max_concurrency ({serverless.max_concurrency}), got {warm}; "
            "leave it out to keep nothing warm"
        )


def instance_problems(spec: ServingSpec) -> Iterator[str]:
    """Yield problems of the instances of all variants."""
    fleets = [("", spec.instance_type, spec.instance_count)]
    fleets += [(f"variant {v.name!r}: ", v.instance_type, v.instance_count) for v in spec.variants or ()]
    for where, kind, count in fleets:
        family = _INSTANCE_TYPE.fullmatch(kind)
        if family is None:
            yield f"{where}instance_type must be like ml.m5.large, got {kind!r}"
        elif spec.kms_key is not None and not takes_volume_key(kind):
            yield f"{where}kms_key cannot be used with {kind}, whose storage is local; leave kms_key out"
        if count < 1:
            yield f"{where}instance_count must be at least 1, got {count}"
        elif count > MAX_INSTANCES:
            yield f"{where}instance_count must be at most {MAX_INSTANCES}, got {count}"
        if family is not None and family[1] == "inf1":
            yield from _inferentia_problems(spec, where, kind)


def _inferentia_problems(spec: ServingSpec, where: str, kind: str) -> Iterator[str]:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    if spec.rollout.kind != "ALL_AT_ONCE" or spec.rollout.bake:
        yield (
            f"{where}{kind} is excluded from deployment guardrails: SageMaker would shift all at once without baking, got "
            f"{spec.rollout.kind} with a bake of {spec.rollout.bake} s; use ALL_AT_ONCE without bake, or inf2"
        )
    # https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
    if spec.rollout.shadow is not None:
        yield f"{where}{kind} cannot have a shadow variant; leave shadow out, or use inf2"


def variant_problems(spec: ServingSpec) -> Iterator[str]:
    """Yield problems of the further variants."""
    variants = spec.variants or ()
    if not variants:
        return
    names = [spec.variant, *(variant.name for variant in variants)]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"variants must have different names, got {name!r} {names.count(name)} times"
    for variant in variants:
        if not _NAME.fullmatch(variant.name):
            yield f"a variant's name must be letters, digits and hyphens, at most 63 characters, got {variant.name!r}"
        if not 0 <= variant.weight < 1:
            yield f"variant {variant.name!r}: weight must be a share of the calls from 0 to below 1, got {variant.weight}"
    total = sum(variant.weight for variant in variants)
    if total >= 1:
        yield f"weights of further variants must leave calls for {spec.variant!r}: their sum must be below 1, got {total:g}"
    if len(names) > MAX_VARIANTS:
        yield f"an endpoint has at most {MAX_VARIANTS} variants, got {len(names)}"
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    if spec.rollout.kind == "ROLLING":
        yield "rolling rollouts are excluded for endpoints of several variants; use a canary or a linear rollout"
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html (ShadowProductionVariants)
    if spec.rollout.shadow is not None:
        yield "a shadow variant needs exactly one production variant; leave shadow or variants out"
    percent = spec.rollout.percent
    smallest = min(variants, key=lambda variant: variant.instance_count)
    if percent is not None and 0 < smallest.instance_count * percent < 100:
        yield (
            f"rollout.percent {percent} of {smallest.instance_count} instances of variant {smallest.name!r} is less than one; "
            f"use {-(-100 // percent)} instances, or a larger percent"
        )


def asynchronous_problems(spec: ServingSpec) -> Iterator[str]:
    """Yield why a spec is invalid for an asynchronous endpoint.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference.html
    """
    if spec.asynchronous is not None:
        yield from _asynchronous_values(spec.asynchronous)
    if spec.rollout.min_invocations:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html: no Invocations
        yield (
            "an asynchronous endpoint does not publish Invocations, so they cannot be evidence, got min_invocations "
            f"{spec.rollout.min_invocations}; use 0, and golden requests as evidence"
        )
    if spec.capture is not None:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture.html: real-time endpoints, batch transform
        yield (
            "data capture is documented for real-time endpoints only; leave capture out: requests and answers of an asynchronous "
            "endpoint are S3 objects already"
        )
    if spec.rollout.shadow is not None:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
        yield "an asynchronous endpoint cannot have a shadow variant; leave shadow out"
    golden = spec.rollout.golden
    if spec.rollout.synthetic is not None or (golden is not None and golden.max_deviation is not None):
        # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-invoke-endpoint.html
        yield (
            "golden requests can only be sent to a candidate's rehearsal, which is a real-time endpoint, not to an asynchronous "
            "endpoint; leave synthetic and max_deviation out"
        )
    if spec.variants:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-monitor.html: the backlog has no variant dimension
        yield "an asynchronous endpoint has one queue, so further variants can be neither addressed nor scaled; leave them out"


def _asynchronous_values(asynchronous: AsynchronousSpec) -> Iterator[str]:
    for name in ("output", "failures"):
        value = str(getattr(asynchronous, name))
        if not value.startswith("s3://"):
            yield f"asynchronous.{name} must be an S3 URI, got {value!r}"
    most, concurrency = MAX_ASYNCHRONOUS_CONCURRENCY, asynchronous.max_concurrency
    if concurrency is not None and not 1 <= concurrency <= most:
        yield f"asynchronous.max_concurrency must be 1 to {most}, got {concurrency}"


def scaling_problems(spec: ServingSpec) -> Iterator[str]:
    """Yield problems of bounds, target and schedules."""
    scaling = spec.scaling
    if scaling is None:
        return
    yield from _target_problems(scaling, is_asynchronous=spec.asynchronous is not None)
    lowest = 0 if spec.asynchronous is not None else 1
    yield from _bounds_problems("scaling", scaling.minimum, scaling.maximum, lowest=lowest, least=1)
    fleets = {spec.variant: (spec.instance_type, spec.instance_count)}
    fleets |= {v.name: (v.instance_type, v.instance_count) for v in spec.variants or ()}
    for name, (kind, count) in fleets.items():
        family = _INSTANCE_TYPE.fullmatch(kind)
        if family is not None and _BURSTABLE.fullmatch(family[1]):
            yield f"variant {name!r}: burstable instances cannot scale, got {kind}; use another family, or leave scaling out"
        if not scaling.minimum <= count <= scaling.maximum:
            yield (
                f"variant {name!r}: instance_count must be within its scaling bounds "
                f"({scaling.minimum} to {scaling.maximum}), got {count}"
            )
    yield from _slice_problems(spec, scaling)
    names = [schedule.name for schedule in scaling.schedules]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"schedules must have different names, got {name!r} {names.count(name)} times"
    for schedule in scaling.schedules:
        yield from _schedule_problems(schedule, lowest)


def least(scaling: ScalingSpec) -> int:
    """Return the fewest instances that a fleet may have, by its bounds or by a schedule."""
    return min([scaling.minimum, *(schedule.minimum for schedule in scaling.schedules)])


def _slice_problems(spec: ServingSpec, scaling: ScalingSpec) -> Iterator[str]:
    # an update keeps the current instance count, and a canary, step or batch is a share of that
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html
    percent, few = spec.rollout.percent, least(scaling)
    if percent is not None and 0 < percent <= 100 and few * percent < 100 <= spec.instance_count * percent:
        yield (
            f"the fleet may scale to {few} instances, of which rollout.percent {percent} is less than one; use bounds and "
            f"schedules of at least {-(-100 // percent)}, or roll out ALL_AT_ONCE"
        )


def _target_problems(scaling: ScalingSpec, *, is_asynchronous: bool) -> Iterator[str]:
    if scaling.target is None and not scaling.schedules:
        yield "scaling must have a target or schedules"
    if scaling.target is not None and scaling.target <= 0:
        yield f"scaling.target must be positive, got {scaling.target}"
    if scaling.target is not None and (scaling.metric == "BACKLOG_PER_INSTANCE") != is_asynchronous:
        right = "BACKLOG_PER_INSTANCE" if is_asynchronous else "INVOCATIONS_PER_INSTANCE"
        kind = "an asynchronous" if is_asynchronous else "a real-time"
        yield f"scaling.metric of {kind} endpoint must be {right}, got {scaling.metric}"
    for name in ("scale_in_cool_down", "scale_out_cool_down"):
        seconds = int(getattr(scaling, name))
        if not 0 <= seconds <= 86400:
            yield f"scaling.{name} must be 0 to 86400 seconds, got {seconds}"


def _bounds_problems(where: str, minimum: int, maximum: int, *, lowest: int, least: int) -> Iterator[str]:
    # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-code-register.html (MinCapacity) and
    # https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html (to zero: asynchronous only)
    if minimum < lowest:
        fix = "" if lowest == 0 else "; only an asynchronous endpoint scales to zero"
        yield f"{where}.minimum must be at least {lowest}, got {minimum}{fix}"
    if maximum < max(least, minimum):
        yield f"{where}.maximum must be at least {least} and not below minimum ({minimum}), got {maximum}"
    if maximum > MAX_INSTANCES:
        yield f"{where}.maximum must be at most {MAX_INSTANCES}, got {maximum}"


def _schedule_problems(schedule: ScheduledCapacitySpec, lowest: int) -> Iterator[str]:
    where = f"schedule {schedule.name!r}"
    if not _ACTION_NAME.fullmatch(schedule.name):
        yield f"{where}: name must be 1 to 256 characters without ':', '/' and '|', not starting or ending with a space"
    if not _AT.fullmatch(schedule.schedule) and not _is_cron(schedule.schedule):
        yield (
            f"{where}: schedule must be 'at(yyyy-mm-ddThh:mm:ss)' or 'cron(minutes hours day month weekday year)' with one '?' for "
            f"day or weekday, got {schedule.schedule!r}"
        )
    if not _ZONE.fullmatch(schedule.timezone):
        yield f"{where}: timezone must be an IANA name such as 'Europe/Berlin', got {schedule.timezone!r}"
    yield from _bounds_problems(where, schedule.minimum, schedule.maximum, lowest=lowest, least=lowest)


def _is_cron(text: str) -> bool:
    if not _CRON.fullmatch(text):
        return False
    fields = text[5:-1].split(" ")
    return [fields[2], fields[4]].count("?") == 1
