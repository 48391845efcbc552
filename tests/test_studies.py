"""Every study runs, in its short form, and leaves its picture and the numbers behind it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread
from ruamel.yaml import YAML

STUDIES = Path(__file__).parent.parent / "studies"
LISTED = YAML(typ="safe").load(STUDIES / "dvc.yaml")["stages"]["study"]["foreach"]


@pytest.mark.parametrize("name", LISTED)
def test_a_study_leaves_its_picture_and_its_numbers(name, tmp_path):
    command = [sys.executable, f"{name}.py", "--short", "--pictures", str(tmp_path)]
    done = subprocess.run(command, cwd=STUDIES, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / f"{name}.json").read_text())
    assert imread(tmp_path / f"{name}.png").std() > 0  # not blank


def test_every_script_is_listed_and_introduced():
    scripts = {path.stem for path in STUDIES.glob("*.py")} - {"study"}
    assert scripts == set(LISTED)
    introduction = (STUDIES / "README.md").read_text()
    assert all(f"({name}.py)" in introduction for name in scripts)


def test_the_pipeline_does_not_run_the_studies(project):
    from hour9 import dag

    (project / "studies").mkdir()
    (project / "studies/dvc.yaml").write_text("stages:\n  study:\n    cmd: touch made\n")
    assert not [stage for stage in dag.stages() if "study" in stage.name]
    assert not [name for name in dag.stale() if "study" in name]
