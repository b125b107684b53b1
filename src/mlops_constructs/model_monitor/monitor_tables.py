"""The ``MonitorTables`` construct: Athena tables and saved queries over captures, labels, counts and violations."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import ServiceRole, allow, allow_listing, key_statement, shared_policy
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import check_duration, raise_if_any
from mlops_constructs.model_monitor.monitor_interface import IModelMonitor

# description and statement by name
SAVED_QUERIES: Mapping[str, tuple[str, str]] = {
    "calls": (
        "Captured calls of the last seven days by hour",
        """SELECT hour, count(*) AS calls
FROM capture
WHERE hour >= date_format(current_timestamp - interval '7' day, '%Y/%m/%d/%H')
GROUP BY hour
ORDER BY hour""",
    ),
    "rows": (
        "Counted rows of the last 30 days by hour and baseline, and how many calls could not be read",
        """SELECT hour, baseline_sha256, sum("rows") AS counted, sum(malformed) AS malformed
FROM counts
WHERE hour >= date_format(current_timestamp - interval '30' day, '%Y/%m/%d/%H')
GROUP BY hour, baseline_sha256
ORDER BY hour""",
    ),
    "labels": (
        "Labelled and unlabelled calls of the last 30 days by hour of the call",
        """WITH calls AS (
  SELECT hour, coalesce(eventmetadata.inferenceid, eventmetadata.eventid) AS call_id
  FROM capture
  WHERE hour >= date_format(current_timestamp - interval '30' day, '%Y/%m/%d/%H')
), labelled AS (
  SELECT DISTINCT coalesce(eventmetadata.inferenceid, eventmetadata.eventid) AS call_id
  FROM labels
  WHERE hour >= date_format(current_timestamp - interval '30' day, '%Y/%m/%d/%H')
)
SELECT calls.hour, count(*) AS calls, count(labelled.call_id) AS labelled
FROM calls LEFT JOIN labelled ON calls.call_id = labelled.call_id
GROUP BY calls.hour
ORDER BY calls.hour""",
    ),
    "errors": (
        "Predictions of the last seven days that were farthest from their label, of calls with one row",
        """WITH calls AS (
  SELECT hour, coalesce(eventmetadata.inferenceid, eventmetadata.eventid) AS call_id,
    coalesce(
      try_cast(trim(capturedata.endpointoutput.data) AS double),
      try_cast(json_extract_scalar(capturedata.endpointoutput.data, '$.predictions[0]') AS double)
    ) AS prediction
  FROM capture
  WHERE hour >= date_format(current_timestamp - interval '7' day, '%Y/%m/%d/%H')
), truth AS (
  SELECT coalesce(eventmetadata.inferenceid, eventmetadata.eventid) AS call_id,
    max_by(try_cast(trim(groundtruthdata.data) AS double), hour) AS label
  FROM labels
  WHERE hour >= date_format(current_timestamp - interval '7' day, '%Y/%m/%d/%H')
  GROUP BY 1
)
SELECT calls.hour, calls.call_id, calls.prediction, truth.label, abs(calls.prediction - truth.label) AS error
FROM calls JOIN truth ON calls.call_id = truth.call_id
WHERE calls.prediction IS NOT NULL AND truth.label IS NOT NULL
ORDER BY error DESC
LIMIT 100""",
    ),
    "violations": (
        "Violations of the last 30 days, newest first",
        """SELECT hour, feature_name, constraint_check_type, description
FROM violations
WHERE hour >= date_format(current_timestamp - interval '30' day, '%Y/%m/%d/%H')
ORDER BY hour DESC, feature_name""",
    ),
}


_TEXT_FORMAT = "org.apache.hadoop.mapred.TextInputFormat"
_TEXT_OUTPUT = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
# https://docs.aws.amazon.com/athena/latest/ug/openx-json-serde.html: lower-cases keys at every depth, so columns are lower case
_JSON = "org.openx.data.jsonserde.JsonSerDe"
_RESULTS = "queries"
_SIDE = "struct<observedcontenttype:string,mode:string,data:string,encoding:string>"
_EVENT = "struct<eventid:string,inferenceid:string,inferencetime:string>"
_NUMBERS = "counts:array<bigint>,sum:double,sum_squares:double,invalid:bigint,minimum:double,maximum:double"
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "capture": {
        "capturedata": f"struct<endpointinput:{_SIDE},endpointoutput:{_SIDE}>",
        "eventmetadata": _EVENT,
        "eventversion": "string",
    },
    "labels": {
        "groundtruthdata": "struct<data:string,encoding:string>",
        "eventmetadata": _EVENT,
        "eventversion": "string",
    },
    "counts": {
        "baseline_sha256": "string",
        "rows": "bigint",
        "calls": "bigint",
        "first": "string",
        "last": "string",
        "malformed": "bigint",
        "synthetic": "bigint",
        "unannounced": "bigint",
        "features": f"array<struct<name:string,{_NUMBERS}>>",
    },
    "violations": {"feature_name": "string", "constraint_check_type": "string", "description": "string"},
}
_REASON = (
    "captures, labels, counts, violations and results are stored by hour below the endpoint's own prefixes; "
    "rejected: a policy per object, which cannot be written before the object exists"
)


@checked("InvalidMonitorTables")
class MonitorTables(Construct):
    """Athena tables of a monitor's data. Stateless.

    Defines a Glue database with the tables ``capture``, ``labels``, ``counts`` and ``violations``, which use partition projection
    instead of a crawler; a workgroup with encrypted results that are stored with the captures and expire; saved queries; and a
    role for people who read them, separate because captures contain callers' data.

    Args:
        scope: Parent construct.
        id: Construct id.
        monitor: Monitor whose data is queried. The tables belong to its unit.
        history: Time range of the tables, a day to ten years. Default: 90 days, the default retention of captures.
        max_scan: Maximum of data that one query may scan, at least 10 MB. Default: 10 GiB.

    Raises:
        ValidationError: If a value is out of range, or the monitor is imported.

    Example:
        >>> tables = MonitorTables(self, "Tables", monitor=monitor)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        monitor: IModelMonitor,
        history: cdk.Duration | None = None,
        max_scan: cdk.Size | None = None,
    ) -> None:
        super().__init__(scope, id)
        history = cdk.Duration.days(90) if history is None else history
        scan = cdk.Size.gibibytes(10) if max_scan is None else max_scan
        endpoint, business_unit = monitor.endpoint, monitor.business_unit
        captures = endpoint.capture_bucket
        raise_if_any(
            self,
            "InvalidMonitorTables",
            [
                check_duration(
                    "history", history, minimum=cdk.Duration.days(1), maximum=cdk.Duration.days(3650), whole="days"
                ),
                # https://docs.aws.amazon.com/athena/latest/APIReference/API_WorkGroupConfiguration.html
                None
                if scan.to_bytes() >= 10_000_000
                else f"max_scan must be at least 10 MB, got {scan.to_bytes()} bytes",
                "monitor must be defined in this app, got an imported one; define the tables in the monitor's stack"
                if captures is None
                else None,
            ],
        )
        assert captures is not None  # noqa: S101 - checked above, for the type checker
        self._unit, self._captures = business_unit, captures
        self._name = endpoint.endpoint_name
        self._database = f"{self._name}_monitor".replace("-", "_")
        self._places = {
            "capture": (captures, f"capture/{self._name}/{endpoint.variant}"),
            "labels": (captures, f"labels/{self._name}"),
            "counts": (business_unit.artifacts, f"monitor/{self._name}/counts/{endpoint.variant}"),
            "violations": (business_unit.artifacts, f"monitor/{self._name}/violations"),
        }
        self._define_tables(int(history.to_days(integral=False)))
        self._workgroup = self._define_workgroup(int(scan.to_bytes()))
        self._reader = self._define_reader()
        business_unit.tag(self)

    @property
    def database_name(self) -> str:
        """Name of the Glue database, ``<endpoint>_monitor`` with ``_`` for ``-``."""
        return self._database

    @property
    def workgroup_name(self) -> str:
        """Name of the Athena workgroup, ``<endpoint>-monitor``."""
        return f"{self._name}-monitor"

    @property
    def reader_role(self) -> iam.IRole:
        """Role in which people query the tables and read captures; it trusts the account."""
        return self._reader

    def _define_tables(self, days: int) -> None:
        stack = stack_values(self)
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=stack.account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=self._database, description=f"Data of the monitor of {self._name}"
            ),
        )
        tables = Construct(self, "Data")
        for name, columns in COLUMNS.items():
            bucket, prefix = self._places[name]
            table = glue.CfnTable(
                tables,
                name,
                catalog_id=stack.account,
                database_name=self._database,
                table_input=glue.CfnTable.TableInputProperty(
                    name=name,
                    table_type="EXTERNAL_TABLE",
                    parameters=_projection(bucket, prefix, days),
                    partition_keys=[glue.CfnTable.ColumnProperty(name="hour", type="string")],
                    storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                        columns=[glue.CfnTable.ColumnProperty(name=key, type=kind) for key, kind in columns.items()],
                        location=bucket.s3_url_for_object(f"{prefix}/"),
                        input_format=_TEXT_FORMAT,
                        output_format=_TEXT_OUTPUT,
                        serde_info=glue.CfnTable.SerdeInfoProperty(
                            serialization_library=_JSON,
                            # so that one malformed line does not fail the query
                            parameters={"ignore.malformed.json": "TRUE"},
                        ),
                    ),
                ),
            )
            table.add_dependency(database)

    def _define_workgroup(self, scan_bytes: int) -> athena.CfnWorkGroup:
        workgroup = athena.CfnWorkGroup(
            self,
            "Workgroup",
            name=self.workgroup_name,
            description=f"Queries over the monitor of {self._name}",
            recursive_delete_option=True,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=scan_bytes,
                engine_version=athena.CfnWorkGroup.EngineVersionProperty(
                    selected_engine_version="Athena engine version 3"
                ),
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    # in the bucket of the captures, with the same expiration
                    output_location=self._captures.s3_url_for_object(f"{_RESULTS}/{self._name}/"),
                    encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                        encryption_option="SSE_KMS", kms_key=self._unit.key.key_arn
                    ),
                ),
            ),
        )
        queries = Construct(self, "Queries")
        for name, (description, statement) in SAVED_QUERIES.items():
            query = athena.CfnNamedQuery(
                queries,
                name,
                name=f"{self._name}-{name}",
                description=description,
                database=self._database,
                query_string=statement,
                work_group=self.workgroup_name,
            )
            query.add_dependency(workgroup)
        return workgroup

    def _define_reader(self) -> ServiceRole:
        stack = stack_values(self)
        description = f"People who read captures of {self._name}"
        results = f"{_RESULTS}/{self._name}"
        tables = [f"{self._database}/{name}" for name in COLUMNS]
        read = [bucket.arn_for_objects(f"{prefix}/*") for bucket, prefix in self._places.values()]
        workgroup = stack.format_arn(service="athena", resource="workgroup", resource_name=self.workgroup_name)
        prefixes: dict[str, list[str]] = {}
        for bucket, prefix in (*self._places.values(), (self._captures, results)):
            prefixes.setdefault(bucket.bucket_arn, []).append(f"{prefix}/*")
        statements = [
            allow(
                [
                    "athena:GetNamedQuery",
                    "athena:GetQueryExecution",
                    "athena:GetQueryResults",
                    "athena:GetWorkGroup",
                    "athena:ListNamedQueries",
                    "athena:StartQueryExecution",
                    "athena:StopQueryExecution",
                ],
                workgroup,
            ),
            allow(
                ["glue:GetDatabase", "glue:GetTable", "glue:GetTables"],
                stack.format_arn(service="glue", resource="catalog"),
                stack.format_arn(service="glue", resource="database", resource_name=self._database),
                # claim: athena-needs-the-default-database
                stack.format_arn(service="glue", resource="database", resource_name="default"),
                *(stack.format_arn(service="glue", resource="table", resource_name=name) for name in tables),
            ),
            allow("s3:GetObject", *read),
            allow(
                ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
                self._captures.arn_for_objects(f"{results}/*"),
            ),
            allow("s3:GetBucketLocation", *prefixes),
            *(allow_listing(arn, found) for arn, found in prefixes.items()),
            key_statement(self._unit.key, services=["s3"]),
        ]
        policy = shared_policy(
            self, "ReaderPolicy", description=description, wildcard_reason=_REASON, statements=statements
        )
        self._unit.revoke_before_sweeps(policy, [statement.to_statement_json() for statement in statements])
        return ServiceRole(
            self,
            "Reader",
            assumed_by=iam.AccountRootPrincipal(),
            business_unit=self._unit,
            permissions_boundary=self._unit.permissions_boundary,
            managed_policies=[policy],
            description=description,
        )


def _projection(bucket: s3.IBucket, prefix: str, days: int) -> dict[str, str]:
    """Return the table parameters of hourly partition projection.

    See: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
    """
    return {
        "classification": "json",
        "projection.enabled": "true",
        "projection.hour.type": "date",
        "projection.hour.format": "yyyy/MM/dd/HH",
        "projection.hour.range": f"NOW-{days}DAYS,NOW",
        "projection.hour.interval": "1",
        "projection.hour.interval.unit": "HOURS",
        "storage.location.template": bucket.s3_url_for_object(f"{prefix}/${{hour}}/"),
    }
