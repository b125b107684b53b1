"""Alarms on a monitor's results by severity, one alarm above them, notifications of findings, dashboard, and their price."""

import re
from collections.abc import Mapping, Sequence
from functools import partial

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns

from constructs import Construct, IConstruct
from mlops_constructs._arguments import checked
from mlops_constructs._functions import add_target
from mlops_constructs._unit_resources import ALARMS, admit, admit_rules
from mlops_constructs._validation import check_range, is_known, raise_if_any
from mlops_constructs._warnings import NO_HEARTBEAT_ALARM, NO_TRAFFIC_ALARM, counted, warn
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.drift_alarms.alarm_catalogue import PSI, Child, ExpectedTraffic, Severity, children, names
from mlops_constructs.model_monitor.monitor_interface import IModelMonitor
from mlops_constructs.retraining.pipeline_interface import IRetrainingPipeline
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.price import price_table

# findings, or missing monitoring. Missing labels or too few rows need no notification: the alarm Labels fires if they persist
NOTIFIED = (
    MonitorState.VIOLATION,
    MonitorState.NO_CAPTURE,
    MonitorState.MONITOR_NOT_RUN,
    MonitorState.BASELINE_OLDER_THAN_MODEL,
)

# notified as a warning, unless an alarm has the expected hours of requests
SILENT = (MonitorState.NO_TRAFFIC,)

_RETRAINS = ("features", "quality")
# an endpoint may have hours without requests, and without expected hours a monitor cannot know which
_SILENCE_INTERVAL = cdk.Duration.days(1)
_URL = re.compile(r"https?://[^\s?#/]+(/[^\s?#]*)?")
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html: 1,024 with the link
_LONGEST = 700
_NOTIFIED_BY_COMPOSITE = (
    "the composite alarm of its severity notifies the topic, once for all alarms that fire together; "
    "rejected: an action of its own, which would notify the same people twice"
)
# without the free tier: the first 10,000 custom metrics, and standard-resolution alarms
_USD = price_table("us-east-1").usd
_METRIC_USD, _ALARM_USD = _USD["metric_month"], _USD["alarm_month"]
_COMPOSITE_USD, DASHBOARD_USD = _USD["composite_alarm_month"], _USD["dashboard_month"]
DASHBOARD_WIDTH = 24
QUARTER = cdk.Duration.days(90)


def define_messages(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    endpoint_name: str,
    outcomes: Sequence[MonitorState],
    topic: sns.ITopic,
    is_chat: bool = False,
    page: str | None = None,
) -> None:
    """Define a rule that notifies a topic of a report: finding, advice, address of the report, and the model's page.

    For people, each line is quoted: EventBridge requires JSON, delivers each line of a multi-line template to SNS with its quotes,
    and would escape a line break inside a line. The subject of an email is SNS's own: a rule's target has no property for it.

    See: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html and
    https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_Target.html

    Args:
        scope: Parent.
        id: Construct id of the rule.
        outcomes: States to notify of.
        topic: Topic to notify.
        is_chat: Whether Amazon Q Developer subscribes to the topic: it displays only custom notifications, which the report's event
            contains. Default: people subscribe.
        page: URL of the model's page in the console. Default: no link.
    """
    rule = events.Rule(
        scope,
        id,
        event_bus=business_unit.bus,
        description=f"Notifies people of the reports of the monitor of {endpoint_name}",
        event_pattern=events.EventPattern(
            source=[event_source(business_unit.name)],
            detail_type=[DetailType.MONITOR_REPORTED.value],
            detail={"subject": [endpoint_name], "outcome": [state.value for state in outcomes]},
        ),
    )
    if topic is business_unit.topic:
        business_unit.admit_rules()
    else:
        admit_rules(topic)
    # the topic's policy contains the statement above once, for any number of rules
    named = sns.Topic.from_topic_arn(scope, f"{id}Topic", topic.topic_arn)
    message = _notification(page) if is_chat else _message(page)
    target = targets.SnsTopic(named, message=message)
    add_target(rule, target, dead_letters=business_unit.dead_letter_queue)


def _message(page: str | None) -> events.RuleTargetInput:
    summary, advice, report = (
        events.EventField.from_path(path)
        for path in ("$.detail.reason", "$.detail.attributes.advice", "$.detail.attributes.report_uri")
    )
    console = "" if page is None else f"\nConsole: {page}"
    return events.RuleTargetInput.from_multiline_text(f"{summary}\nWhat to do: {advice}\nReport: {report}{console}")


def _notification(page: str | None) -> events.RuleTargetInput:
    """Return the event's notification; with a page it is composed again with the page as a keyword, as steps cannot be appended.

    See: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
    """
    whole = "$.detail.notification"
    if page is None:
        return events.RuleTargetInput.from_event_path(whole)
    part = {
        name: events.EventField.from_path(f"{whole}.{path}")
        for name, path in (
            ("title", "content.title"),
            ("description", "content.description"),
            ("steps", "content.nextSteps"),
            ("type", "content.textType"),
            ("metadata", "metadata"),
            ("id", "id"),
        )
    }
    subject, outcome = (events.EventField.from_path(path) for path in ("$.detail.subject", "$.detail.outcome"))
    return events.RuleTargetInput.from_object(
        {
            "version": "1.0",
            "source": "custom",
            "id": part["id"],
            "content": {
                "textType": part["type"],
                "title": part["title"],
                "description": part["description"],
                "nextSteps": part["steps"],
                "keywords": [subject, outcome, page],
            },
            "metadata": part["metadata"],
        }
    )


@checked("InvalidDriftAlarms")
class DriftAlarms(Construct):
    """CloudWatch alarms on the findings of a monitor. Stateless.

    Each alarm monitors one metric; ``alarms`` returns them by name. Two composite alarms notify people: ``Critical`` for drift that
    persists, for quality, bias and latency beyond their limits, for a baseline that was tampered with and for missing data;
    ``Warning`` for findings that may become critical, unless ``Critical`` is already in ALARM. ``Endpoint`` fires when either does.
    In addition, a message is published for each report with a finding. Alarms keep their state between two runs of the monitor.
    A dashboard shows them.

    While a rollout holds the endpoint's lock, the monitor publishes no drift metrics, so that no drift alarm starts
    (``docs/adr/0017-suppression.md``).

    Args:
        scope: Parent.
        id: Construct id.
        monitor: The monitor. The alarms belong to its unit.
        retraining: Pipeline that drift and quality alarms trigger. Default: the alarms only notify.
        max_wape_ratio: Ratio of the live WAPE to the holdout's above which ``quality`` fires, up to 100. It must not be less than
            the monitor's ``maximum_wape_ratio``, where the alarm would fire while the report's outcome is ``OK``. With a
            larger value the alarm fires, and requests a retraining, only if the model is worse than required for the outcome
            ``VIOLATION``. Default: the monitor's.
        critical_topic: Topic of the on-call team. Default: the unit's.
        warning_topic: Topic that is read in working hours. Default: the unit's.
        severities: Severities that differ from the defaults, by alarm name, such as ``{"suspect": Severity.CRITICAL}``.
            Default: none.
        max_psi: Largest PSI of features with an alarm of their own, of severity warning. Names are checked only against the model's
            baseline at run time: an alarm on an unknown feature deploys but never has data, and each report lists the feature as
            unknown. Default: none.
        expected_traffic: Hours with expected requests, to alarm when they are missing. Default: no such alarm; a monitor that runs
            once a day or less often sends a warning when there was no request since its last run, others do not.
        chat_topic: Topic of Amazon Q Developer in chat applications, for Slack and Microsoft Teams: each report with a finding
            becomes a notification with advice, in one thread per endpoint. It must differ from the topics of people, whose email
            would contain JSON. Default: none.
        console_url: URL of the web console, such as ``https://models.example.com``, to link messages, chat notifications and the
            two composite alarms to the model's page. Default: they refer only to the CLI.

    Raises:
        ValidationError: If a limit is not allowed, a name is unknown, or the pipeline belongs to another endpoint or already has
            alarms.

    Example:
        >>> alarms = DriftAlarms(self, "Alarms", monitor=monitor, retraining=retraining, max_wape_ratio=1.25)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        monitor: IModelMonitor,
        retraining: IRetrainingPipeline | None = None,
        max_wape_ratio: float | None = None,
        critical_topic: sns.ITopic | None = None,
        warning_topic: sns.ITopic | None = None,
        severities: Mapping[str, Severity] | None = None,
        max_psi: Mapping[str, float] | None = None,
        expected_traffic: ExpectedTraffic | None = None,
        chat_topic: sns.ITopic | None = None,
        console_url: str | None = None,
    ) -> None:
        super().__init__(scope, id)
        limit = monitor.spec.maximum_wape_ratio if max_wape_ratio is None else max_wape_ratio
        severities, max_psi = {} if severities is None else severities, {} if max_psi is None else max_psi
        self._unit, self._monitor = monitor.business_unit, monitor
        self._topics = {
            Severity.CRITICAL: self._unit.topic if critical_topic is None else critical_topic,
            Severity.WARNING: self._unit.topic if warning_topic is None else warning_topic,
        }
        self._chat = chat_topic
        self._page = None if console_url is None else f"{console_url.rstrip('/')}/#{self._path()}"
        self._validate(max_wape_ratio, severities, max_psi, expected_traffic, retraining, console_url=console_url)
        found = list(children(monitor, wape_ratio=limit, severities=severities, psi=max_psi, traffic=expected_traffic))
        self._alarms = self._define_children(found)
        if "heartbeat" not in self._alarms:
            warn(self, NO_HEARTBEAT_ALARM, schedule=monitor.interval.to_human_string())
        self._composites = self._define_composites(found)
        self._endpoint_alarm = self._define_endpoint_alarm()
        if retraining is not None:
            retraining.add_alarms({name: self._alarms[name] for name in _RETRAINS})
        self._define_messages(expected_traffic)
        _define_dashboard(self, "Dashboard", monitor=monitor, alarms=list(self._alarms.values()))
        _print_price(
            self,
            f"watching {monitor.endpoint.endpoint_name} costs",
            metrics=monitor.custom_metric_count,
            # alarms are priced by metric, and the heartbeat's has two
            alarms=len(self._alarms) + ("heartbeat" in self._alarms),
            composites=len(self._composites) + 1,
            dashboards=1,
        )
        self._unit.tag(self)

    @property
    def monitor(self) -> IModelMonitor:
        """The monitor."""
        return self._monitor

    @property
    def alarms(self) -> dict[str, cloudwatch.IAlarm]:
        """The alarms by name: ``features``, ``quality``, ``heartbeat`` if the schedule allows it, and the others."""
        return dict(self._alarms)

    @property
    def composites(self) -> dict[Severity, cloudwatch.IAlarm]:
        """The composite alarm of each severity that has alarms."""
        return dict(self._composites)

    @property
    def endpoint_alarm(self) -> cloudwatch.IAlarm:
        """The alarm of the endpoint, which fires when a composite alarm does."""
        return self._endpoint_alarm

    def _validate(
        self,
        max_wape_ratio: float | None,
        severities: Mapping[str, Severity],
        max_psi: Mapping[str, float],
        traffic: ExpectedTraffic | None,
        retraining: IRetrainingPipeline | None,
        *,
        console_url: str | None,
    ) -> None:
        watched = self._monitor.endpoint.endpoint_name
        problems = [
            None
            if retraining is None or retraining.endpoint_name == watched
            else f"retraining must be of the monitor's endpoint, {watched!r}, whose reports confirm its alarms, got a pipeline "
            f"of {retraining.endpoint_name!r}",
            self._ratio_problem(max_wape_ratio),
            _url_problem(console_url),
            "chat_topic must differ from the unit's topic and those of the severities, whose email would contain JSON"
            if self._chat is not None and self._chat in (self._unit.topic, *self._topics.values())
            else None,
        ]
        known = names(self._monitor, traffic=traffic)
        problems += [
            f"severities must contain names of alarms ({', '.join(known)}), got {name!r}"
            for name in severities
            if name not in known
        ]
        features = self._monitor.spec.alarm_features
        for name, value in max_psi.items():
            if name not in features:
                having = ", ".join(features) or "none"
                problems.append(f"max_psi must contain features of the spec's alarm_features ({having}), got {name!r}")
            problem = check_range(f"max_psi of {name}", value, minimum=0.001, maximum=100)
            problems.append(f"max_psi of {name} must be a number, got None" if value is None else problem)
        raise_if_any(self, "InvalidDriftAlarms", problems)

    def _ratio_problem(self, max_wape_ratio: float | None) -> str | None:
        problem = check_range("max_wape_ratio", max_wape_ratio, minimum=1, maximum=100)
        reported = self._monitor.spec.maximum_wape_ratio
        if problem is not None or max_wape_ratio is None or not is_known(max_wape_ratio) or max_wape_ratio >= reported:
            return problem
        return (
            f"max_wape_ratio must be at least the monitor's maximum_wape_ratio, {reported:g}, got {max_wape_ratio:g}: it would "
            "fire while the report's outcome is OK; remove it, or set the smaller value by MonitorSpec(maximum_wape_ratio=...)"
        )

    def _path(self) -> str:
        """Return the path of the model's page in the console."""
        return f"/units/{self._unit.name}/endpoints/{self._monitor.endpoint.endpoint_name}"

    def _define_messages(self, traffic: ExpectedTraffic | None) -> None:
        name = self._monitor.endpoint.endpoint_name
        add_messages = partial(define_messages, self, business_unit=self._unit, endpoint_name=name, page=self._page)
        add_messages("Reported", outcomes=NOTIFIED, topic=self._topics[Severity.CRITICAL])
        if self._chat is not None:
            add_messages("Chat", outcomes=NOTIFIED, topic=self._chat, is_chat=True)
        if traffic is not None:
            return
        if self._monitor.interval.to_seconds(integral=False) >= _SILENCE_INTERVAL.to_seconds(integral=False):
            add_messages("Silent", outcomes=SILENT, topic=self._topics[Severity.WARNING])
        else:
            warn(self, NO_TRAFFIC_ALARM, schedule=self._monitor.interval.to_human_string())

    def _define_children(self, found: Sequence[Child]) -> dict[str, cloudwatch.IAlarm]:
        features = Construct(self, "Psi")
        return {
            child.name: _define_alarm(features if child.name.startswith(PSI) else self, child, self._monitor)
            for child in found
        }

    def _define_composites(self, found: Sequence[Child]) -> dict[Severity, cloudwatch.IAlarm]:
        name = self._monitor.endpoint.endpoint_name
        made: dict[Severity, cloudwatch.IAlarm] = {}
        for severity in (Severity.CRITICAL, Severity.WARNING):
            own = [child for child in found if child.severity is severity]
            if not own:
                continue
            rule: cloudwatch.IAlarmRule = cloudwatch.AlarmRule.any_of(*(self._alarms[child.name] for child in own))
            if severity is Severity.WARNING and made:
                # one notification covers both
                rule = cloudwatch.AlarmRule.all_of(rule, cloudwatch.AlarmRule.not_(made[Severity.CRITICAL]))
            which = ", ".join(child.id for child in own)
            alarm = cloudwatch.CompositeAlarm(
                self,
                severity.value.capitalize(),
                alarm_rule=rule,
                alarm_description=f"{name}: {severity}: at least one of {which} is in ALARM; its description contains the "
                f"finding and "
                "what to do, `mlops monitor report` shows the newest report"[: _LONGEST if self._page else 1024]
                + (f"; its page: {self._page}" if self._page else ""),
            )
            topic = self._topics[severity]
            alarm.add_alarm_action(actions.SnsAction(topic))
            if topic is not self._unit.topic:
                admit(
                    topic,
                    self,
                    sid=f"{alarm.node.id}{alarm.node.addr[-8:]}",
                    service=ALARMS,
                    source_arn=alarm.alarm_arn,
                )
            made[severity] = alarm
        return made

    def _define_endpoint_alarm(self) -> cloudwatch.CompositeAlarm:
        return cloudwatch.CompositeAlarm(
            self,
            "Endpoint",
            alarm_rule=cloudwatch.AlarmRule.any_of(*self._composites.values()),
            alarm_description=f"{self._monitor.endpoint.endpoint_name}: its monitor has a finding; see the alarms "
            "Critical and Warning, which notify people",
        )


def _url_problem(url: str | None) -> str | None:
    if url is None or not is_known(url) or _URL.fullmatch(url):
        return None
    return f"console_url must be a URL such as https://models.example.com, without a query or a #, got {url!r}"


def _define_alarm(scope: Construct, child: Child, monitor: IModelMonitor) -> cloudwatch.Alarm:
    alarm = cloudwatch.Alarm(
        scope,
        child.id,
        metric=child.metric(),
        threshold=child.threshold,
        comparison_operator=child.comparison,
        evaluation_periods=child.hours,
        treat_missing_data=child.missing,
        alarm_description=f"{monitor.endpoint.endpoint_name}: {child.severity}: {child.description}",
    )
    acknowledge_family(alarm, "CloudWatchAlarmAction", _NOTIFIED_BY_COMPOSITE)
    return alarm


def monthly_price(*, metrics: int = 0, alarms: int = 0, composites: int = 0, dashboards: int = 0) -> float:
    """Return the monthly price in USD at us-east-1's list prices; those of other Regions differ little.

    Args:
        metrics: Number of custom metrics: one for each name and set of dimensions.
        alarms: Number of alarms on one metric.
        composites: Number of composite alarms.
        dashboards: Number of dashboards; the first three of an account are free.

    Example:
        >>> monthly_price(metrics=20, alarms=10, composites=3, dashboards=1)
        11.5
    """
    return round(
        metrics * _METRIC_USD + alarms * _ALARM_USD + composites * _COMPOSITE_USD + dashboards * DASHBOARD_USD, 2
    )


def _print_price(scope: IConstruct, what: str, *, metrics: int, alarms: int, composites: int, dashboards: int) -> None:
    """Add a notice with the price of ``what`` to a construct."""
    price = monthly_price(metrics=metrics, alarms=alarms, composites=composites, dashboards=dashboards)
    cdk.Annotations.of(scope).add_info(
        f"{what} about {price:.2f} USD a month: {counted(metrics, 'metric')} at {_METRIC_USD:.2f}, "
        f"{counted(alarms, 'alarm')} at {_ALARM_USD:.2f}, {counted(composites, 'composite alarm')} at {_COMPOSITE_USD:.2f}, "
        f"{counted(dashboards, 'dashboard')} at {DASHBOARD_USD:.2f}, at the list prices of us-east-1"
    )


def endpoint_row(monitor: IModelMonitor) -> list[cloudwatch.IWidget]:
    """Return a row with drift, quality and requests of one endpoint."""
    name, width = monitor.endpoint.endpoint_name, DASHBOARD_WIDTH // 3
    return [
        cloudwatch.GraphWidget(
            title=f"{name}: drift",
            left=[monitor.metric_features_drifted(), monitor.metric_features_suspect()],
            right=[monitor.metric_max_psi()],
            width=width,
        ),
        cloudwatch.GraphWidget(
            title=f"{name}: quality",
            left=[monitor.metric_wape_ratio()],
            right=[monitor.metric_label_coverage()],
            width=width,
        ),
        cloudwatch.GraphWidget(title=f"{name}: calls", left=[monitor.endpoint.metric_invocations()], width=width),
    ]


def _define_dashboard(
    scope: Construct, id: str, *, monitor: IModelMonitor, alarms: Sequence[cloudwatch.IAlarm]
) -> cloudwatch.Dashboard:
    """Define the dashboard of one endpoint, with its alarms and their metrics."""
    width = DASHBOARD_WIDTH // 3
    dashboard = cloudwatch.Dashboard(scope, id, default_interval=QUARTER)
    dashboard.add_widgets(
        cloudwatch.AlarmStatusWidget(
            title=f"Alarms of {monitor.endpoint.endpoint_name}", alarms=list(alarms), width=DASHBOARD_WIDTH, height=3
        )
    )
    dashboard.add_widgets(*endpoint_row(monitor))
    dashboard.add_widgets(
        cloudwatch.GraphWidget(
            title="Bias and explainability",
            left=[monitor.metric_bias_violations()],
            right=[monitor.metric_ndcg()],
            width=width,
        ),
        cloudwatch.GraphWidget(
            title="Latency over that of the weeks before", left=[monitor.metric_latency_ratio()], width=width
        ),
        cloudwatch.GraphWidget(
            title="Silence",
            left=[monitor.metric_capture_lag_hours(), monitor.metric_label_lag_hours()],
            right=[monitor.metric_heartbeat(), monitor.metric_baseline_age_days()],
            width=width,
        ),
    )
    if monitor.spec.alarm_features:
        features = [monitor.metric_psi(name) for name in monitor.spec.alarm_features]
        dashboard.add_widgets(cloudwatch.GraphWidget(title="PSI by feature", left=features, width=DASHBOARD_WIDTH))
    return dashboard
