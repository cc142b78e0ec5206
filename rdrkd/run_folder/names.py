"""The names of the files of a run folder that more than one module reads or writes."""

SPEC = "spec.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
FAILURE = "failure.json"
RESOLVED = "resolved_spec.json"
WARNINGS = "warnings.jsonl"
PAGE, PICTURE = "report.html", "report.png"
