"""The names of the files of a run folder that more than one module reads or writes."""

SPEC = "spec.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
FAILURE = "failure.json"
RESOLVED = "resolved_spec.json"
WARNINGS = "warnings.jsonl"
CALLED = "names.json"  # field of the spec -> display name; written by the process that starts the run
STUDY = "study.json"  # the results of a study, in its folder and in that of a run that draws its report
CHECKPOINTS = "checkpoints"  # the folder of the checkpoints, which a copied run folder may consist of
MEMBER = "member.json"  # the spec of a study's member, which its runner writes
PREDICTIONS = "predictions.jpg"  # each network's detections in some validation images
FOUND = "predictions.json"  # the boxes of each network in the validation images with the worst misses
SHOWN = tuple(f"predictions-{place}.jpg" for place in range(1, 7))  # those images
CURVE, CONFUSION = "pr_curve.png", "confusion_matrix.png"  # Ultralytics', of the student
CARD = "model_card.md"
PAGE, PICTURE = "report.html", "report.png"
