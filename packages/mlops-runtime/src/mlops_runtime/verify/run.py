"""One verification from the lock to the signed report: free steps, paid steps within the budget, and teardown in every case."""

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts.verify import ClaimResult, SignedReport, Verdict, VerifyReport
from mlops_runtime.verify import free_checks, leftovers
from mlops_runtime.verify.account import Place
from mlops_runtime.verify.budget import Budget, HourlyPrices
from mlops_runtime.verify.journal import Journal
from mlops_runtime.verify.lock import Lock
from mlops_runtime.verify.loop_checks import LoopChecks
from mlops_runtime.verify.metric_checks import MetricChecks
from mlops_runtime.verify.package_checks import PackageChecks
from mlops_runtime.verify.problems import (
    BudgetError,
    CheckError,
    LeftBehindError,
    LostLockError,
    NoEvidenceError,
    VerifyError,
    is_cut_off,
)
from mlops_runtime.verify.report_signature import sign
from mlops_runtime.verify.request_checks import RequestChecks
from mlops_runtime.verify.steps import INSTANCE, TEARDOWN, Step, ahead, estimate, steps
from mlops_runtime.verify.template import Template
from mlops_runtime.verify.unit import Deployed, File, Unit

_ROUNDS = 3
_STAND_ALONE = ("iam-takes-the-policies", "tags-that-decide-are-set-by-tag-resource")  # no deployment needs them


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Plan of a verification."""

    template: Template  # the unit's template
    template_key: str  # its key in the bucket
    template_body: bytes
    files: Sequence[File]  # the assembly's files, the template among them
    prices: HourlyPrices  # the region's prices
    max_usd: float  # USD that may be spent
    repository: str  # repository of the serving image; empty without one
    digest: str  # digest of the image; empty if only the free steps run
    version: str  # version of the package
    versions: Mapping[str, str]  # versions of its dependencies

    def steps(self) -> tuple[Step, ...]:
        """Return the steps to run."""
        found = steps(interface_endpoints=len(self.template.interface_services()))
        return tuple(step for step in found if step.is_free or self.digest)

    def estimate(self) -> float:
        """Return USD that the steps cost if each takes its maximum time."""
        return estimate(self.steps(), self.prices)

    def check(self) -> None:
        """Check the estimate against the limit.

        Raises:
            VerifyError: If it is over ``max_usd``.
        """
        needed = self.estimate()
        if needed > self.max_usd:
            enough = math.ceil(needed * 100) / 100
            raise VerifyError(
                f"the estimate is {needed:.2f} USD by the list prices of {self.prices.region} read on {self.prices.date}, over "
                f"--max-usd {self.max_usd:g}: give --max-usd {enough:.2f} or more, or --free for the free checks"
            )


class Verification:
    """One run."""

    def __init__(self, *, place: Place, plan: Plan, journal: Journal, run: str, echo: Callable[[str], None]) -> None:
        self._place, self._plan, self._journal, self._run, self._echo = place, plan, journal, run, echo
        self._lock = Lock(place.client("ssm"), place.names, run)
        self._budget = Budget(limit=plan.max_usd, prices=plan.prices)
        self._unit = Unit(place, journal, self._beat)
        self._results: list[ClaimResult] = []
        self._running: dict[str, int] = {}
        self._checks: dict[str, Callable[[], str]] = {}
        self._stopped = ""
        self._watches_budget = False

    def run(self) -> SignedReport:
        """Verify, tear down, and return the signed report.

        Raises:
            VerifyError: If it is refused; nothing was created, or everything was removed.
            LeftBehindError: If a resource could not be removed; the message has the command that removes it.
        """
        self._plan.check()
        place = self._place
        self._lock.acquire(place.wall(), command=place.command)
        self._journal.begin(self._run)
        self._journal.make("lock", place.names.lock)
        started = place.now()
        refusal: BaseException | None = None
        signed: SignedReport | None = None
        try:
            self._sweep()
            self._steps()
        except LostLockError:
            raise
        except (VerifyError, ClientError, BotoCoreError, KeyboardInterrupt) as error:
            refusal = error
        try:
            left = self._tear_down(is_refused=refusal is not None)
            if refusal is None and not left:
                try:
                    signed = self._report(started)
                except ClientError as error:
                    if is_cut_off(error):
                        raise
                    refusal = error
                left, _ = remove_all(place, self._journal, self._unit, beat=self._renew)
            if not left:
                self._lock.release()
                self._journal.removed("lock", place.names.lock)
                self._journal.end()
        except (ClientError, BotoCoreError, KeyboardInterrupt) as error:
            raise LeftBehindError(self._why(error), self._open(), place.command) from error
        if left:
            why = "not everything could be removed" if refusal is None else self._why(refusal)
            raise LeftBehindError(why, [*map(" ".join, left), f"lock {place.names.lock}"], place.command) from refusal
        if signed is None:
            raise VerifyError("no report was signed") if refusal is None else refusal
        return signed

    # -- steps

    def _steps(self) -> None:
        plan, place = self._plan, self._place
        chosen = plan.steps()
        free: dict[str, Callable[[], str]] = {
            "region-has-the-endpoint-services": lambda: free_checks.region_has_services(place, plan.template),
            "quotas-leave-room": lambda: free_checks.quotas_leave_room(place, with_image=bool(plan.digest)),
            "iam-takes-the-policies": lambda: free_checks.policies_are_taken(place, plan.template),
            "step-functions-takes-the-definitions": lambda: free_checks.definitions_are_taken(place, plan.template),
            "cloudformation-takes-the-template": self._check_change_set,
            "tags-that-decide-are-set-by-tag-resource": self._unit.keeps_its_tags,
        }
        if plan.digest:
            free_checks.image_is_in_the_registry(place, plan.repository, plan.digest)
        for step in chosen:
            if step.is_free:
                for claim in step.claims:
                    self._assert(claim, free[claim])
        refused = [r.claim for r in self._results if r.verdict is Verdict.FAILED and r.claim not in _STAND_ALONE]
        if refused:
            self._stopped = f"nothing is deployed after {', '.join(refused)}"
        paid = [step for step in chosen if not step.is_free]
        for step in paid:
            if not self._stopped:
                self._paid(step)

    def _paid(self, step: Step) -> None:
        """Run a paid step if the budget allows it, and count its resources."""
        place, now = self._place, self._place.now()
        self._budget.reserve = ahead(TEARDOWN, self._network(step), self._plan.prices)
        try:
            self._budget.check(now, ahead=ahead(step, self._running, self._plan.prices))
            self._budget.start({**step.keeps, **step.meanwhile}, now)
            self._running |= step.keeps
            self._watches_budget = True
            self._run_paid(step)
        except BudgetError as error:
            self._stopped = str(error)
            self._echo(f"stop: {error}")
        finally:
            self._watches_budget = False
            self._budget.stop(step.meanwhile, place.now())

    def _run_paid(self, step: Step) -> None:
        if step.name == "deploy":
            self._deploy()
        for claim in step.claims:
            if claim not in self._checks:
                continue
            result = self._assert(claim, self._checks[claim])
            if claim in ("approved-model-serves", "canary-promotes") and result.verdict is Verdict.FAILED:
                self._stopped = f"{claim} failed, and the other checks depend on it"
                return

    def _deploy(self) -> None:
        since, key = self._place.now(), self._plan.template_key
        try:
            self._unit.begin(key)
            self._assert(
                "cloudformation-refuses-a-second-operation", lambda: self._unit.refuses_a_second_operation(key)
            )
            outputs = self._unit.deployed()
        except CheckError as error:
            self._record("unit-deploys-without-a-model", Verdict.FAILED, str(error), 0.0)
            self._stopped = "the unit was not deployed"
            return
        suffix = "amazonaws.com.cn" if self._place.region.startswith("cn-") else "amazonaws.com"
        registry = f"{self._place.account}.dkr.ecr.{self._place.region}.{suffix}"
        deployed = Deployed(
            outputs=outputs,
            functions=tuple(self._unit.functions()),
            image=f"{registry}/{self._plan.repository}@{self._plan.digest}",
            interface_services=tuple(self._plan.template.interface_services()),
            since=since,
        )
        self._checks = self._checks_of(deployed)

    def _checks_of(self, deployed: Deployed) -> dict[str, Callable[[], str]]:
        """Return the checks of a deployed unit by claim."""
        place, beat = self._place, self._beat
        packages, metrics = PackageChecks(place, deployed), MetricChecks(place, deployed, beat)
        loop = LoopChecks(place, deployed, packages, beat)
        requests = RequestChecks(place, deployed, packages, served=lambda: loop.served, beat=beat)
        return {
            "unit-deploys-without-a-model": loop.nothing_serves_yet,
            "template-comes-back-as-uploaded": lambda: self._unit.gives_back(self._plan.template_body),
            "functions-fit-lambda-limits": loop.functions_are_active,
            "approval-status-key-is-evaluated": packages.approval_status_is_a_condition,
            "approver-is-a-session": packages.approver_is_a_session,
            "registering-is-no-modification": packages.registering_is_no_modification,
            "packages-gain-two-fields": packages.gains_two_fields,
            "deleted-versions-are-not-used-again": packages.versions_are_not_used_again,
            "package-image-is-checked": packages.image_is_checked,
            "fill-without-any-datapoint": metrics.fill_gives_its_number,
            "approved-model-serves": loop.first_model_serves,
            "data-capture-in-new-accounts": loop.capture_arrives,
            "approval-event-names-fields": loop.metadata_starts_nothing,
            "repeated-approval-sends-event": loop.approval_again_sends_an_event,
            "canary-promotes": loop.canary_promotes,
            "metrics-by-endpoint-config": loop.metrics_by_config,
            "alarm-returns-to-old-config": loop.canary_rolls_back,
            "errors-are-counted-for-each-answer": metrics.errors_are_counted_for_each_answer,
            "only-approved-packages-become-models": requests.only_approved_packages_become_models,
            "local-storage-takes-no-key": requests.local_storage_takes_no_key,
            "training-input-must-exist": requests.training_input_must_exist,
            "batch-strategy-needs-a-split": requests.batch_strategy_needs_a_split,
            "rollback-alarms-must-exist": requests.rollback_alarms_must_exist,
            "sagemaker-logs-from-its-own-network": metrics.logs_come_from_sagemakers_network,
            "isolated-network-reaches-services": loop.network_has_no_reject,
        }

    def _check_change_set(self) -> str:
        self._unit.upload(self._plan.files)
        return self._unit.check_change_set(self._plan.template_key)

    def _assert(self, claim: str, check: Callable[[], str]) -> ClaimResult:
        """Run one check and record its result."""
        started = time.monotonic()
        try:
            verdict, text = Verdict.PASSED, check()
        except NoEvidenceError as error:
            verdict, text = Verdict.SKIPPED, str(error)
        except (CheckError, ClientError) as error:
            if is_cut_off(error):
                raise
            verdict, text = Verdict.FAILED, str(error)
        return self._record(claim, verdict, text, time.monotonic() - started)

    def _record(self, claim: str, verdict: Verdict, evidence: str, seconds: float) -> ClaimResult:
        result = ClaimResult(
            claim=claim, verdict=verdict, evidence=self._place.hide(evidence), seconds=round(seconds, 1)
        )
        self._results.append(result)
        self._echo(f"{verdict.value:7} {seconds:7.1f} s  {claim}: {result.evidence}")
        return result

    def _sweep(self) -> None:
        """Remove resources with the verification's names although the lock is free: a killed run's lock was deleted."""
        found = leftovers.find(self._place)
        if found:
            self._echo(f"remove what an earlier run left: {', '.join(map(' '.join, found))}")
            left, why = remove_all(self._place, self._journal, self._unit, beat=self._renew)
            if left:
                raise VerifyError(
                    f"an earlier run left {', '.join(map(' '.join, left))}, and it cannot be deleted: {why}"
                )

    # -- teardown

    def _tear_down(self, *, is_refused: bool) -> list[leftovers.Left]:
        """Remove all resources of this run, and return those that are left."""
        serves = any(r.claim == "approved-model-serves" and r.verdict is Verdict.PASSED for r in self._results)
        deployed = bool(self._checks)
        started = time.monotonic()
        left, why = remove_all(self._place, self._journal, self._unit, beat=self._renew)
        self._budget.stop(self._running, self._place.now())
        seconds = time.monotonic() - started
        if deployed and serves:
            verdict, text = (
                (Verdict.FAILED, why) if why else (Verdict.PASSED, "deleted with full buckets and a serving model")
            )
            self._record("unit-is-deleted-while-serving", verdict, text, seconds)
        if is_refused and not self._results:
            return left
        text = ", ".join(map(" ".join, left)) if left else "nothing by name or tag"
        self._record("verify-leaves-nothing", Verdict.FAILED if left else Verdict.PASSED, text, seconds)
        return left

    def _report(self, started: datetime) -> SignedReport:
        plan, place = self._plan, self._place
        done = {result.claim for result in self._results}
        for step in (*steps(interface_endpoints=0), TEARDOWN):
            for claim in step.claims:
                if claim not in done:
                    reason = self._stopped or "--free"
                    self._record(claim, Verdict.SKIPPED, reason, 0.0)
        now = place.now()
        report = VerifyReport(
            run=self._run,
            cloud=place.cloud,
            region=place.region,
            started=started.isoformat(),
            ended=now.isoformat(),
            version=plan.version,
            versions=dict(plan.versions),
            template_sha256=hashlib.sha256(plan.template_body).hexdigest(),
            image_digest=plan.digest,
            estimate_usd=round(plan.estimate(), 2),
            spent_usd=round(self._budget.spent(now), 2),
            results=tuple(self._results),
            left=(),
        )
        return sign(place.client("kms"), place.names, report, made=lambda key: self._journal.make("signing-key", key))

    def _network(self, step: Step) -> dict[str, int]:
        """Return the resources that cost during a teardown: all except instances, which are removed first."""
        things = {**self._running, **step.keeps}
        return {kind: count for kind, count in things.items() if kind != INSTANCE}

    def _beat(self) -> None:
        self._renew()
        if self._watches_budget:
            self._budget.check(self._place.now())

    def _renew(self) -> None:
        self._lock.renew(self._place.wall())

    def _open(self) -> list[str]:
        return [f"{kind} {name}" for kind, name in self._journal.left()]

    def _why(self, error: BaseException) -> str:
        if is_cut_off(error):
            return "the credentials have expired: sign in again"
        if isinstance(error, KeyboardInterrupt):
            return "interrupted"
        return self._place.hide(str(error)).rstrip(".")


def clean(*, place: Place, journal: Journal, run: str, echo: Callable[[str], None]) -> list[str]:
    """Remove the resources that a killed verification left, found by names and tags, and return them.

    Args:
        place: The account.
        journal: Journal on this machine; it shows whether the holder of the lock was killed here.
        run: Id of this run.
        echo: Called with one line for each resource.

    Raises:
        VerifyError: If the holder of the lock may still be working.
        LeftBehindError: If a resource cannot be removed.
    """
    lock = Lock(place.client("ssm"), place.names, run)
    holder = lock.holder()
    if holder is not None and holder.is_fresh(place.wall()) and not journal.is_of_a_dead_process(holder.run):
        raise VerifyError(
            f"verification {holder.run} holds this account and region and may still work; it removes what it made when it ends. "
            f"If it was killed on another machine, run this again after {holder.until}"
        )
    found = leftovers.find(place)
    if holder is None and not found:
        journal.end()
        return []
    lock.take_over(place.wall())
    for kind, name in found:
        echo(f"found {kind} {name}")

    def beat() -> None:
        lock.renew(place.wall())

    left, why = remove_all(place, journal, Unit(place, journal, beat), beat=beat)
    if left:
        raise LeftBehindError(why or "not everything could be removed", list(map(" ".join, left)), place.command)
    lock.release()
    journal.end()
    return [f"{kind} {name}" for kind, name in found] + ([] if holder is None else [f"lock {place.names.lock}"])


def remove_all(
    place: Place, journal: Journal, unit: Unit, *, beat: Callable[[], None]
) -> tuple[list[leftovers.Left], str]:
    """Remove everything except the lock: the stack first, then resources outside it. Return what is left, and the reason."""
    why = ""
    left: list[leftovers.Left] = []
    for _ in range(_ROUNDS):
        why = unit.delete() or ""
        for found in leftovers.find(place):
            if found[0] != "stack":
                with contextlib.suppress(CheckError):
                    leftovers.remove(place, found, beat=beat)
        left = leftovers.find(place)
        if not left:
            break
    removed = [item for item in journal.left() if item not in left and item[0] != "lock"]
    for kind, name in removed:
        journal.removed(kind, name)
    return left, why
