"""The check of the GPU, on what is at hand: the CPU against itself."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gpu_check


@pytest.fixture
def nodes(stage) -> str:
    """The data of a candidate that is soon trained."""
    stage("ingest", "nodes")
    stage("validate", "nodes")
    return "nodes-gcn"


def test_a_candidate_agrees_with_itself_and_bf16_is_another_arithmetic(nodes, monkeypatch, capsys):
    assert gpu_check.agrees(nodes, "cpu", updates=3)
    exact, rounded = capsys.readouterr().out.splitlines()
    assert "fp32: loss within 0.0e+00 of the CPU's (agrees)" in exact
    assert "bf16" in rounded

    monkeypatch.setitem(gpu_check.TOLERANCE, "bf16", 0.0)
    assert not gpu_check.agrees(nodes, "cpu", updates=3)
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize("candidate", ["nodes-gat", "nodes-mpnn"])
def test_sparse_products_with_learnt_weights_compute_in_bf16_too(candidate, nodes):
    assert gpu_check.agrees(candidate, "cpu", updates=2)


def test_what_cannot_be_checked_is_said(project, monkeypatch, capsys):
    for name, words in (("taxi-qlearning", "on the CPU alone"), ("vision-vit", "make run first")):
        assert gpu_check.agrees(name, "cuda", updates=3)
        assert words in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_check.py"])
    assert gpu_check.main() == 0
    assert "no GPU here" in capsys.readouterr().out


def test_a_gpt_says_its_share_of_the_arithmetic(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda model: model)  # minutes
    gpu_check.utilisation(torch.device("cpu"))
    for line in capsys.readouterr().out.splitlines():
        assert "tokens/s" in line
        assert "% of a matrix product's" in line
