import csv
import io
import json
from pathlib import Path

from rdrkd.study.export import HEADER, as_csv
from tests.rdrkd.study.test_report import member


def test_a_line_a_member_with_its_figures_and_keys() -> None:
    (line,) = csv.DictReader(io.StringIO(as_csv([member("rdr-kd", 3, 12.5)])))
    assert (line["method"], line["seed"], line["AP"], line["AP_S"]) == ("rdr-kd", "3", "12.5", "12.5")
    assert (line["student"], line["parameters"], line["seconds"]) == ("yolov8n", "3000000", "10.0")
    assert line["AP_maxdets500"] == ""


def test_the_kept_results_make_a_table() -> None:
    file = Path(__file__).parents[3] / "docs" / "results" / "study-hit-uav-cpu.json"
    members = json.loads(file.read_text())["members"]
    lines = list(csv.reader(io.StringIO(as_csv(members))))
    assert tuple(lines[0]) == HEADER
    assert len(lines) == len(members) + 1
    assert {len(line) for line in lines} == {len(HEADER)}
    assert all(float(line[HEADER.index("AP_maxdets500")]) > 0 for line in lines[1:])
