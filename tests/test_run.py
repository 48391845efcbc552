"""What a run holds of its machine."""

import pytest

from hour9 import run


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "has_gpu", lambda: True)
    monkeypatch.setattr(run, "GPU_LOCK", tmp_path / "gpu.lock")
    monkeypatch.setattr(run, "GPU_POLL", 0)


@pytest.mark.parametrize("second", ["train@nodes-gat", "trial@nodes-gcn.3"])
def test_a_gpu_trains_one_candidate_at_a_time(gpu, second):
    """Whoever waits asks whether to go on, and whoever ended makes room."""
    asked = iter([False, True])
    with run.gpu_turn("train@nodes-gcn"):
        with run.gpu_turn("evaluate@nodes-mpnn"):
            pass  # it waits for nobody
        with pytest.raises(run.Stopped), run.gpu_turn(second, lambda: next(asked)):
            pytest.fail("two at once")
    with run.gpu_turn(second, lambda: True):
        pass


def test_where_there_is_no_gpu_nobody_waits(gpu, monkeypatch):
    monkeypatch.setattr(run, "has_gpu", lambda: False)
    with run.gpu_turn("train@nodes-gcn"), run.gpu_turn("train@nodes-gat", lambda: True):
        pass
