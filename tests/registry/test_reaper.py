"""A run is closed when what worked at it is gone, and no sooner."""

from hour9 import sweep
from hour9.registry import reaper
from hour9.registry.tracking import FLOW_VARIABLE, take_over


def test_a_killed_sweep_is_closed_with_its_trials_and_not_what_a_worker_still_trains(
    client, monkeypatch
):
    def trial(number: int, parent: str) -> str:
        with sweep.child_run("nodes-gcn", number, {}, {"task": "nodes"}, parent) as run:
            return run

    def statuses(*runs: str) -> list[str]:
        return [client.get_run(run).info.status for run in runs]

    with sweep.parent_run("nodes-gcn", 2, 0) as parent:
        here, elsewhere = trial(0, parent), trial(1, parent)
        with monkeypatch.context() as worker:
            worker.setattr("socket.gethostname", lambda: "worker")
            worker.setenv(FLOW_VARIABLE, "a-flow-run")
            take_over(elsewhere, "trial@nodes-gcn.1")
        assert reaper.reap() == []
    client.update_run(parent, status="RUNNING")  # as kill -9 leaves it: its lock is gone
    assert len(reaper.reap()) == 2
    assert statuses(parent, here, elsewhere) == ["KILLED", "KILLED", "RUNNING"]
    reaper.reap(lambda flow_run: flow_run == "a-flow-run")
    assert statuses(elsewhere) == ["KILLED"]
