import ast
import shutil
import subprocess
import sys
import threading
from contextlib import chdir
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from dvc.lock import make_lock
from dvc.utils.serialize import YAMLFileCorruptedError
from ruamel.yaml import YAML
from tests.conftest import copy_project, stay_in

from hour9 import dag
from hour9.params import Refused, UnknownName, read_params
from hour9.registry.lineage import dvc_md5
from hour9.run import Run

ROOT = Path(__file__).parent.parent
SOURCE = Path(find_spec("hour9").origin).parent  # type: ignore[union-attr, arg-type]


@cache
def imports(module: str) -> set[str]:
    """First-party modules that a module's source names, anywhere in it, packages included."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "hour9" and (file_of(name) or package_of(name)):
                parts = name.split(".")
                found.update(".".join(parts[: i + 1]) for i in range(len(parts)))
    return found


def file_of(module: str) -> bool:
    return SOURCE.joinpath(*module.split(".")[1:]).with_suffix(".py").exists()


def package_of(module: str) -> bool:
    return SOURCE.joinpath(*module.split(".")[1:], "__init__.py").exists()


@cache
def closure(module: str) -> set[str]:
    """Everything a module imports, transitively, itself included."""
    seen: set[str] = set()
    todo = {module}
    while todo:
        current = todo.pop()
        seen.add(current)
        todo |= imports(current) - seen
    return seen


def modules_of(stage: dag.Stage) -> set[str]:
    """What running a stage imports: the launcher, its module, and what those load by name."""
    params = read_params()
    loaded = {"hour9.stage", "hour9.warm", f"hour9.{stage.kind}"}
    section = params["candidates"].get(stage.subject) or params["tasks"].get(stage.subject)
    if section and stage.kind != "judge":
        loaded.add(f"hour9.{section['topic']}.{section.get('task', stage.subject)}")
        loaded.add(f"hour9.{section['topic']}.settings")
    return set().union(*map(closure, loaded))


def declared(stage: dag.Stage) -> list[str]:
    with dag.open_repo() as repo:
        found = repo.stage.load_one(path="dvc.yaml", name=stage.name)
        return [dep.def_path for dep in found.deps]


KINDS = ["weights", "ingest", "validate", "train", "evaluate", "judge", "register", "report"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_stage_declares_every_module_that_it_imports(project, kind):
    of_kind = [stage for stage in dag.stages() if stage.kind == kind]
    assert of_kind
    for stage in of_kind:
        paths = [Path(name) for name in declared(stage)]
        assert Path("requirements.lock") in paths
        for module in modules_of(stage):
            place = Path("src", *module.split("."))
            place = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            covered = any(path in (place, *place.parents) for path in paths)
            assert covered, f"{stage.name} imports {module} and does not declare it"


def test_a_training_is_named_by_all_the_code_that_its_stage_declares(project):
    """Else what was edited meanwhile would be written down with a model of what it was before."""
    from hour9.train import CODE

    candidates, tasks = (read_params()[name] for name in ("candidates", "tasks"))
    for stage in dag.stages():
        if stage.kind == "train":
            section = candidates[stage.subject]
            topic = tasks[section["task"]]["topic"]
            named = {f"src/hour9/{name}" for name in (*CODE, topic)}
            others = {
                f"data/{section['task']}",
                section["parent"],
                "requirements.lock",
                "params.yaml",
            }
            assert set(declared(stage)) - others == named


def test_the_closure_check_sees_imports_inside_functions():
    assert "hour9.registry.tracking" in imports("hour9.train")


def test_the_order_is_that_of_a_serial_run(project):
    names = [stage.name for stage in dag.stages()]
    for stage in dag.stages():
        assert all(names.index(need) < names.index(stage.name) for need in stage.needs)


def test_asked_in_a_process_of_its_own_dvc_says_the_same(project):
    this = Run()
    this.ask()
    assert (this.stages, this.stale) == (dag.stages(), dag.stale())


def test_what_dvc_cannot_read_is_said_where_it_was_asked_for(project):
    Path("dvc.yaml").write_text("stages: [")
    this = Run()
    this.ask()
    with pytest.raises(YAMLFileCorruptedError, match=r"dvc\.yaml"):
        _ = this.stages


def test_a_candidate_brings_its_task_and_its_weights_along(project):
    chosen = [s.name for s in dag.select(dag.stages(), candidate="sentiment-bert")]
    assert chosen == [
        "weights@minilm",
        "ingest@sentiment",
        "validate@sentiment",
        "train@sentiment-bert",
        "evaluate@sentiment-bert",
        "judge@sentiment-bert",
        "register@sentiment",
        "report",
    ]


def test_a_candidate_brings_its_parent_along_but_not_its_parent_s_verdict(project):
    chosen = [s.name for s in dag.select(dag.stages(), candidate="sentiment-int8")]
    assert chosen == [
        "weights@minilm",
        "ingest@sentiment",
        "validate@sentiment",
        "train@sentiment-bert",
        "train@sentiment-int8",
        "evaluate@sentiment-int8",
        "judge@sentiment-int8",
        "register@sentiment",
        "report",
    ]


def test_an_unknown_task_is_answered_with_those_that_exist(project):
    with pytest.raises(UnknownName, match=r"no task 'node' .* sentiment, textgen, nodes"):
        dag.select(dag.stages(), task="node")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every out has some content that DVC committed as if its stage had run."""
    folder = copy_project(tmp_path_factory.mktemp("finished") / "project")
    with chdir(folder):
        with dag.open_repo() as repo:
            for stage in repo.index.stages:
                for out in stage.outs:
                    path = Path(out.def_path)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if path.suffix:
                        path.write_text(f"{path}\n")
                    else:
                        path.mkdir(exist_ok=True)
                        (path / "table.parquet").write_text(f"{path}\n")
            repo.commit(force=True)
        dag.sort_lock(stage.name for stage in dag.stages())
    return folder


@pytest.fixture
def everything_ran(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for a test, and the working directory in the copy."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    stay_in(folder, monkeypatch)
    return folder


def test_a_helper_of_graphs_touches_graphs_alone(everything_ran):
    """Committed as they stand, then one file edited: DVC must see it, and nothing else."""
    assert dag.stale() == {}
    helper = everything_ran / "src/hour9/graphs/gcn.py"
    helper.write_text(helper.read_text() + "# edited\n")
    params = read_params()
    of_graphs = {
        n for n, s in {**params["tasks"], **params["candidates"]}.items() if s["topic"] == "graphs"
    }
    stale = {name.partition("@")[2] for name in dag.stale()}
    assert stale == of_graphs


def test_dvc_hashes_a_folder_as_we_do(everything_ran):
    lock = YAML(typ="safe").load(Path("dvc.lock"))
    (out,) = [o for o in lock["stages"]["validate@nodes"]["outs"]]
    assert dvc_md5(everything_ran / out["path"]) == out["md5"]


def test_the_lock_is_sorted_into_the_serial_order(everything_ran):
    right = Path("dvc.lock").read_bytes()
    yaml = YAML()
    shuffled = yaml.load(right.decode())
    shuffled["stages"] = dict(reversed(list(shuffled["stages"].items())))
    yaml.dump(shuffled, Path("dvc.lock"))
    dag.sort_lock(stage.name for stage in dag.stages())
    assert Path("dvc.lock").read_bytes() == right


def test_threads_take_turns_at_dvcs_lock_without_asking_the_disk_again(everything_ran, monkeypatch):
    """DVC's own lock sleeps for half a second where it finds itself taken."""
    order: list[str] = []
    asked = threading.Event()

    class Threads:
        lock = threading.Lock()

        def acquire(self) -> None:
            if self.lock.locked():
                asked.set()
            self.lock.acquire()

        def release(self) -> None:
            self.lock.release()

    def second() -> None:
        with dag.open_repo() as repo, repo.lock:
            order.append("second")

    monkeypatch.setattr(dag.InTurn, "threads", Threads())
    monkeypatch.setattr("dvc.lock.time", None)  # a sleep would fail
    thread = threading.Thread(target=second)
    with dag.open_repo() as repo, repo.lock:
        thread.start()
        assert asked.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_the_outs_of_the_last_good_run_come_back(everything_ran):
    before = dvc_md5(everything_ran / "data/nodes")
    shutil.rmtree(everything_ran / "data/nodes")
    dag.restore("validate@nodes")
    assert dvc_md5(everything_ran / "data/nodes") == before


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (
            "failed to run: python -m hour9.stage train a, exited with -9",
            "signal 9, as where memory",
        ),
        ("failed to run: python -m hour9.stage train a, exited with 137", "signal 9, as where mem"),
        ("failed to run: python -m hour9.stage train a, exited with 143", "signal 15"),
        ("failed to run: python -m hour9.stage train a, exited with 1", ""),
        ("output 'models/9' does not exist", ""),
    ],
)
def test_of_a_stage_that_was_killed_it_is_said(why, said):
    assert said in "".join(dag.death(why))
    assert bool(said) == bool(dag.death(why))


@pytest.mark.parametrize("half", ["", '{"write": {"/tmp'])
def test_a_note_of_dvcs_whose_writer_was_killed_stops_nobody(project, half):
    note = Path(".dvc/tmp/rwlock")
    note.parent.mkdir(exist_ok=True)
    note.write_text(half)
    assert "ingest@taxi" in dag.stale(["ingest@taxi"])


def test_a_note_that_dvc_is_writing_is_left_to_it(project, monkeypatch):
    note, seen, really = Path(".dvc/tmp/rwlock"), threading.Event(), dag.is_whole
    note.parent.mkdir(exist_ok=True)

    def is_whole(path: Path) -> bool:
        whole = really(path)
        seen.set()
        return whole

    monkeypatch.setattr(dag, "is_whole", is_whole)
    opening = threading.Thread(target=lambda: dag.open_repo().close())
    with make_lock(".dvc/tmp/rwlock.lock"):  # as its writer holds it
        note.write_text("")
        opening.start()
        assert seen.wait(60)
        note.write_text('{"write": {}, "read": {}}')
    opening.join(60)
    assert note.exists()


def test_what_dvc_add_named_is_referenced(project):
    place = Path("mine/deep")
    place.mkdir(parents=True)
    (place / "labels.csv").write_text("a,b")
    with dag.open_repo() as repo:
        repo.add(str(place / "labels.csv"))
    assert dag.unreferenced([]) == []
    (place / "labels.csv.dvc").unlink()
    assert len(dag.unreferenced([])) == 1


def test_what_commits_name_is_referenced_though_git_is_told_to_show_no_differences(project):
    (place := Path("mine")).mkdir()
    (place / "labels.csv").write_text("a,b")
    with dag.open_repo() as repo:
        repo.add("mine/labels.csv")
    Path(".gitattributes").write_text("*.dvc -diff\n")
    for command in (
        ["init", "-q"],
        ["add", "mine/labels.csv.dvc"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "1"],
    ):
        subprocess.run(["git", *command], check=True)
    (place / "labels.csv.dvc").unlink()
    assert dag.unreferenced([]) == []


def test_where_git_does_not_answer_nothing_is_called_unreferenced(project):
    Path(".git").write_text("no repository")
    with pytest.raises(Refused, match="what older commits name is unknown"):
        dag.unreferenced([])


def test_a_name_in_params_reaches_no_shell(project):
    """What the `hour9` command refuses, plain `dvc repro` still meets."""
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("  taxi:", "  taxi$(touch PWNED):"))
    dvc = [Path(sys.prefix) / "bin/dvc", "repro", "--single-item", "ingest@taxi$(touch PWNED)"]
    done = subprocess.run(dvc, capture_output=True, text=True)
    assert "-m hour9.stage ingest 'taxi$(touch PWNED)'" in done.stdout  # it was asked
    assert not Path("PWNED").exists()


def test_the_committed_lock_is_that_of_the_committed_code(project):
    """Whoever changes code that a stage runs brings dvc.lock up to date: `make run`."""
    lock = YAML(typ="safe").load(ROOT / "dvc.lock")
    outdated = {
        dep["path"]
        for stage in lock["stages"].values()
        for dep in stage["deps"]
        if (project / dep["path"]).exists() and dvc_md5(project / dep["path"]) != dep["md5"]
    }
    assert not outdated, "run `make run` and commit dvc.lock"
    assert list(lock["stages"]) == [stage.name for stage in dag.stages()]


def test_what_the_run_cache_does_not_compare_is_named_for_itself():
    """It leaves keys called `size` or `nfiles` out of every mapping: docs/decisions/15."""
    lock = YAML(typ="safe").load(ROOT / "dvc.lock")
    hidden = 0
    for name, stage in lock["stages"].items():
        params = stage.get("params", {}).get("params.yaml", {})
        for key in {f"{at}.{k}" for at, value in params.items() for k in skipped(value)}:
            assert key in params, f"{name} needs the parameter {key}"
            hidden += 1
    assert hidden == len(read_params()["tasks"])  # each has a source with a size


def skipped(value: object) -> list[str]:
    """The keys of a mapping that the run-cache skips, at any depth."""
    if not isinstance(value, dict):
        return []
    own = [key for key in value if key in ("size", "nfiles")]
    return own + [f"{key}.{found}" for key, part in value.items() for found in skipped(part)]
