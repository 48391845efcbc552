import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hour9.config import BadSetting, check_file, check_params, set_params
from hour9.params import read_params


def test_the_file_as_committed_is_accepted(project):
    check_file()


def test_a_change_keeps_comments_and_order_and_says_the_way_back(project):
    before = Path("params.yaml").read_text()
    (line,) = set_params(["candidates.nodes-gcn.seed=7"])
    assert line == "candidates.nodes-gcn.seed: 0 → 7 (back: --set candidates.nodes-gcn.seed=0)"
    assert read_params()["candidates"]["nodes-gcn"]["seed"] == 7
    set_params(["candidates.nodes-gcn.seed=0"])
    assert Path("params.yaml").read_text() == before


def test_a_list_changes_there_and_back_on_its_own_line_with_its_comment(project):
    set_params(["candidates.nodes-gcn.consistency=0.0"])
    before = read_params()
    for value in ("[5, 5]", "[]"):
        set_params([f"candidates.nodes-gcn.neighbours={value}"])
        (line,) = [x for x in Path("params.yaml").read_text().splitlines() if "a step hears" in x]
        assert line.split("#")[0].strip() == f"neighbours: {value}"
    assert read_params() == before


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("candidates.nodes-gcn.sede=1", "nearest is 'candidates.nodes-gcn.seed'"),
        ("candidates.nodes-gcn.seed=many", "valid integer"),
        ("candidates.nodes-gcn.learning_rate=2", "less than 1"),
        ("candidates.nodes-gcn.neighbours=[5]", "2 numbers, one a layer, or none"),
        ("candidates.nodes-gcn.neighbours=[5, 5]", "set it to 0, or neighbours to"),
        ("candidates.vision-vit.heads=5", "heads must divide channels"),
        ("candidates.vision-vit.shift=.inf", "finite number"),
        ("tasks.nodes.source.kind=planetoids", "did you mean 'planetoid'"),
        ("tasks.nodes.source.root=/data/planetoid", "absolute path"),
        ("tasks.nodes.source.root=", "empty path"),
        ("candidates.nodes-gcn.parent=/etc", "absolute path"),
        ("tasks.taxi.topic=graphs", "no src/hour9/graphs/taxi.py"),
        ("candidates.nodes-gcn.task=nonexist", "no task 'nonexist'; there are sentiment"),
        ("candidates.nodes-gcn.task=taxi", "its task 'taxi' is of rl"),
        ("candidates.nodes-gcn.seed=99999999999999999999999", "less than 4294967296"),
        ("tasks.taxi.thresholds.floor=.nan", "finite number"),
        ("candidates.taxi-qlearning.discount=1", "less than 1"),
        ("candidates.cartpole-dqn.replay=4", "replay must hold n_step transitions of each"),
        ("candidates.cartpole-dqn.parent=models/taxi", "starts from no other's weights: set it to"),
        ("candidates.nodes-gcn.seed", "is not key=value"),
        ("candidates.nodes-gcn.seed=[", "is no YAML value"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_cure_and_nothing_is_written(
    project, assignment, message
):
    before = Path("params.yaml").read_bytes()
    with pytest.raises(BadSetting, match=message):
        set_params(["candidates.nodes-gcn.seed=5", assignment])
    assert Path("params.yaml").read_bytes() == before


def test_the_way_back_from_a_value_to_none_can_be_typed(project):
    before = Path("params.yaml").read_text()
    (line,) = set_params(["tasks.sentiment.thresholds.counterfactual=0.05"])
    set_params([line.split("--set ")[1].rstrip(")")])
    assert Path("params.yaml").read_text() == before


@pytest.mark.parametrize("text", ["", "hello", "[1, 2]", "tasks: null", "tasks: {"])
def test_a_broken_file_is_refused_in_words(project, text):
    Path("params.yaml").write_text(text)
    for look in (check_file, lambda: set_params([]), lambda: set_params(["a.b=1"])):
        with pytest.raises(BadSetting, match=r"params\.yaml"):
            look()


def test_our_way_to_write_a_null_stays_ours(project):
    """DVC writes dvc.lock with the same library, in the same process."""
    set_params(["tasks.nodes.thresholds.group_gap=0.5"])
    text = io.StringIO()
    YAML().dump({"nothing": None}, text)
    assert text.getvalue() == "nothing:\n"


def test_nothing_to_set_leaves_a_file_written_by_hand_as_it_is(project):
    text = Path("params.yaml").read_text().replace("seed: 0", "seed:   0")
    Path("params.yaml").write_text(text)
    assert set_params([]) == []
    assert Path("params.yaml").read_text() == text


def test_every_mistake_is_named_at_once(project):
    with pytest.raises(BadSetting) as caught:
        set_params(["tasks.nodes.sourec.kind=path", "candidates.taxi-qlearning.sead=1"])
    assert "sourec" in str(caught.value)
    assert "sead" in str(caught.value)


def test_a_missing_knob_is_named(project):
    params = read_params()
    del params["candidates"]["nodes-gcn"]["seed"]
    with pytest.raises(BadSetting, match=r"candidates.nodes-gcn: lacks seed"):
        check_params(params)


def test_a_name_that_looks_like_a_number_stays_a_name(project):
    set_params(["tasks.nodes.source.name=2024"])
    assert read_params()["tasks"]["nodes"]["source"]["name"] == "2024"


@pytest.mark.parametrize("section", ["weights", "tasks", "candidates"])
@pytest.mark.parametrize("name", ["a$(touch PWNED)", "a b", "", "../../../x", "-x", "a\n"])
def test_a_name_that_is_more_than_a_name_to_a_shell_or_a_path_is_refused(project, section, name):
    params = read_params()
    params[section][name] = next(iter(params[section].values()))
    with pytest.raises(BadSetting, match=rf"(?s){section}\..*: a name is of the letters a-z"):
        check_params(params)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"candidates: {}", r"params\.yaml: tasks holds no settings"),
        (b"tasks: null\ncandidates: {}", r"params\.yaml: tasks holds no settings"),
        (b"tasks: {}\ncandidates: {a: null}", r"params\.yaml: candidates\.a holds no settings"),
        (b"tasks: {}\nprobes: \xff", r"params\.yaml is no UTF-8: line 2"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, r"params\.yaml is nested too deeply"),
    ],
)
def test_what_no_command_can_go_on_with_is_one_line(project, text, said):
    Path("params.yaml").write_bytes(text)
    with pytest.raises(BadSetting, match=said) as caught:
        read_params()
    assert "\n" not in str(caught.value)


def test_signs_beyond_ascii_stay_what_they_are_in_every_locale(project):
    text = Path("params.yaml").read_text() + "# → ü\n"
    Path("params.yaml").write_text(text)
    change = "from hour9.config import set_params; set_params(['candidates.nodes-gcn.seed=5'])"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", change], check=True, env=os.environ | ascii_only)
    assert Path("params.yaml").read_bytes().endswith("# → ü\n".encode())
