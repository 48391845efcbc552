"""Every study runs, in its short form, and leaves its picture and the numbers behind it."""

import json
from pathlib import Path

import pytest
from matplotlib.image import imread
from ruamel.yaml import YAML
from tests.scripts import Done, run_scripts

STUDIES = Path(__file__).parent.parent / "studies"
STAGES = YAML(typ="safe").load(STUDIES / "dvc.yaml")["stages"]
LISTED = [*STAGES["study"]["foreach"], *(name for name in STAGES if name != "study")]


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Done]]:
    """The folder of the pictures, and what became of each study."""
    folder = tmp_path_factory.mktemp("pictures")
    commands = [[name, "--short", "--pictures", str(folder)] for name in LISTED]
    return folder, run_scripts(STUDIES, commands, cwd=STUDIES)


@pytest.mark.parametrize("name", LISTED)
def test_a_study_leaves_its_picture_and_its_numbers(name, studied):
    folder, done = studied
    assert not done[name].failed, done[name].errors
    assert json.loads((folder / f"{name}.json").read_text())
    assert imread(folder / f"{name}.png").std() > 0  # not blank


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
