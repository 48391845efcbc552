"""What a tree beside this one needs to train again. Whole reproductions: test_promotion.py."""

from pathlib import Path

from hour9.registry.reproduce import link_sources

PARAMS = """
probes: ../probes.txt
weights: {minilm: {root: ../../weights}}
tasks:
  nodes: {source: {root: ../cora}}
  taxi: {source: {root: src/environments.py}}
  dates: {source: {root: ../gone}}
"""


def test_all_that_lies_outside_the_project_leads_there_from_another_tree_too(tmp_path, monkeypatch):
    here, tree = tmp_path / "deep/project", tmp_path / "scratch/deep/project"
    for folder in (here, tree, tmp_path / "deep/cora", tmp_path / "weights"):
        folder.mkdir(parents=True)
    (tmp_path / "deep/probes.txt").write_text("she")
    (tree / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(here)
    link_sources(tree)
    for root in ("../probes.txt", "../../weights", "../cora"):
        assert (tree / root).resolve() == Path(root).resolve()
    assert sorted(path.name for path in tree.iterdir()) == ["params.yaml"]
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "scratch", "weights"}
