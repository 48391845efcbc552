"""What a tree beside this one needs to train again. Whole reproductions: test_promotion.py."""

from pathlib import Path

from hour9.registry import reproduce

PARAMS = """
probes: ../probes.txt
weights: {minilm: {root: ../../weights}}
tasks:
  nodes: {source: {root: ../cora}}
  taxi: {source: {root: src/environments.py}}
  dates: {source: {root: ../gone}}
  mine: {source: {root: data/mine}}
  tracked: {source: {root: data/tracked}}
candidates: {}
"""


def test_all_that_no_commit_holds_is_found_from_another_tree_too(tmp_path, monkeypatch):
    here, tree = tmp_path / "deep/project", tmp_path / "scratch/deep/project"
    data = here / "data/mine", here / "data/tracked"
    for folder in (*data, tree, tmp_path / "deep/cora", tmp_path / "weights"):
        folder.mkdir(parents=True)
    (tree / "data").mkdir()
    (tree / "data/tracked.dvc").touch()  # DVC brings it
    (tmp_path / "deep/probes.txt").write_text("she")
    (tree / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(here)
    told = []
    monkeypatch.setattr(reproduce, "dvc", lambda *command: told.append(command))
    reproduce.bring_sources(tree)
    assert told == [(tree, "checkout", "--allow-missing", "data/tracked.dvc")]
    for root in ("../probes.txt", "../../weights", "../cora", "data/mine"):
        assert (tree / root).resolve() == Path(root).resolve()
    assert sorted(path.name for path in tree.iterdir()) == ["data", "params.yaml"]
    assert {path.name for path in (tree / "data").iterdir()} == {"mine", "tracked.dvc"}
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "scratch", "weights"}
