import pytest
import torch

from hour9.engine.device import NoSuchDevice, pick_device, pick_precision, prepare_threads

CPU = torch.device("cpu")


def test_threads_are_as_many_as_the_candidate_says():
    """Its bytes depend on the number."""
    before = torch.get_num_threads()
    try:
        prepare_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_cpu_computes_in_single_precision_unless_it_is_told_otherwise():
    names = [pick_precision(name, CPU) for name in ("auto", "fp32", "bf16")]
    assert names == ["no", "no", "bf16"]


def test_what_this_machine_has_not_is_refused_with_a_cure(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    with pytest.raises(NoSuchDevice, match="set device to auto or cpu"):
        pick_device("cuda")
    with pytest.raises(NoSuchDevice, match="set precision to auto, fp32 or bf16"):
        pick_precision("fp16", CPU)
