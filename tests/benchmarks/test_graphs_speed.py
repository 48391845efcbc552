"""What is compared is the same training: without chance, both sides learn the same weights."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from graphs_speed import EXAMPLES, L2, Example, our_training
from hour9.graphs.nodes import TASK
from hour9.task import Source

UPDATES = 50


@pytest.mark.parametrize("architecture", EXAMPLES)
def test_fifty_updates_give_the_model_of_pygs_layers(architecture):
    """The penalty is ours on both sides; PyG's examples put it on other parameters, too."""
    shares = ("feature_dropout", "hidden_dropout", "attention_dropout")
    known = type(EXAMPLES[architecture]).model_fields
    off = {share: 0.0 for share in shares if share in known}
    settings = EXAMPLES[architecture].model_copy(update=off)
    tables = TASK.ingest(Source(root="src/hour9/graphs/digits.py", size=400))
    model, epoch = our_training(settings, tables)
    theirs = Example(settings, tables, seed=0)
    pairs = [(model.first, theirs.model.first), (model.second, theirs.model.second)]
    with torch.no_grad():
        for layer, other in pairs:
            other.lin.weight.copy_(layer.weight.T)
            if architecture == "gat":
                other.att_dst.copy_(layer.score_to[None])
                other.att_src.copy_(layer.score_of[None])
    penalised = theirs.model.first.lin.weight
    rest = [p for p in theirs.model.parameters() if p is not penalised]
    groups = [{"params": [penalised], "weight_decay": L2}, {"params": rest}]
    theirs.optimizer = torch.optim.Adam(groups, lr=settings.learning_rate)
    before = model.first.weight.detach().clone()
    for _ in range(UPDATES):
        epoch()
        theirs.epoch()
    for layer, other in pairs:
        torch.testing.assert_close(layer.weight, other.lin.weight.T, atol=1e-4, rtol=0)
        torch.testing.assert_close(layer.bias, other.bias, atol=1e-4, rtol=0)
    assert (model.first.weight - before).abs().max() > 0.1
