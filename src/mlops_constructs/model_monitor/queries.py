"""Queries over a monitor's tables that Athena keeps by name: engine version 3, read-only, in the monitor's own database.

``hour`` is the partition, ``yyyy/MM/dd/HH`` in UTC: text that sorts as time. Every query bounds it, so that it reads little.

See: https://docs.aws.amazon.com/athena/latest/ug/functions-env3.html
"""

from collections.abc import Mapping

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
