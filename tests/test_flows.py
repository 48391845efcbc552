"""The flows' own decisions; what they call is tested where it stands."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from prefect.states import Completed, Crashed, Failed, Pending
from tests.conftest import ROOT

from hour9 import dag, run


@pytest.fixture
def flows(monkeypatch) -> SimpleNamespace:
    """The modules, read as a deployment reads them, without Prefect's engine around them."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    from flows import monitor, pipeline, promotion

    logger = SimpleNamespace(info=lambda _: None, warning=lambda _: None)
    for module in (monitor, pipeline, promotion):
        monkeypatch.setattr(module, "get_run_logger", lambda: logger)
    for module in (monitor, promotion):
        monkeypatch.setattr(module, "create_markdown_artifact", lambda *_, **__: None)
    return SimpleNamespace(monitor=monitor, pipeline=pipeline, promotion=promotion)


@pytest.mark.parametrize("yes", [True, False])
def test_a_yes_is_for_the_version_that_was_shown(flows, monkeypatch, yes):
    asked, promoted = [], []
    here = flows.promotion
    monkeypatch.setattr(here.promotion, "alias", lambda task, name: "7")
    monkeypatch.setattr(here.promotion, "preview", lambda task, number: asked.append(number) or "")
    monkeypatch.setattr(here.promotion, "promote", lambda *said: promoted.append(said) or "done")

    def person(*, key: str, **_: object) -> SimpleNamespace:
        asked.append(key)
        return SimpleNamespace(yes=yes, who="anna")

    monkeypatch.setattr(here, "suspend_flow_run", person)
    if yes:
        here.promote.fn("taxi", approval="required")
        assert promoted == [("taxi", "7", "", "anna")]
    else:
        with pytest.raises(here.promotion.Refused, match="anna said no to taxi version 7"):
            here.promote.fn("taxi", approval="required")
        assert promoted == []
    assert asked == ["7", "version-7"]


def test_any_title_of_a_picture_makes_a_key_that_prefect_takes(flows):
    from flows.artifacts import key_of
    from prefect.client.schemas.actions import ArtifactCreate

    for title in ("nodes-gat-In_two_dimensions,_by_class", "a (b) = ½, ", "The_worst_mistakes"):
        assert ArtifactCreate(key=key_of(title), type="image", data="x").key


def test_names_that_prefect_would_refuse_become_keys_of_its_kind(flows, monkeypatch, tmp_path):
    from flows import artifacts
    from prefect.client.schemas.actions import ArtifactCreate

    keys: list[str] = []
    for name in ("table", "markdown", "link", "image"):
        monkeypatch.setattr(
            artifacts, f"create_{name}_artifact", lambda *_, key, **__: keys.append(key)
        )
    row = {"task": "my_task", "candidate": "my_Task_gcn", "verdict": "pass"}
    page = tmp_path / "index.html"
    page.touch()
    monkeypatch.setenv(artifacts.ADDRESS, "http://here")
    monkeypatch.setattr(artifacts, "judged", lambda: [row])
    monkeypatch.setattr(artifacts, "first_page", lambda task: page)
    for part, said in (("summary", {}), ("verdicts", ""), ("pictures", [])):
        monkeypatch.setattr(artifacts, part, lambda _, said=said: said)
    artifacts.publish(["my_Task_gcn"])
    found = SimpleNamespace(verdict="fine", why="", text=lambda: "")
    monkeypatch.setattr(flows.monitor.watching, "monitor", lambda *_: found)
    shown = lambda *_, key, **__: keys.append(key)  # noqa: E731
    monkeypatch.setattr(flows.monitor, "create_markdown_artifact", shown)
    flows.monitor.monitor.fn("my_task", "file")
    assert keys == ["candidates", "my-task-gcn", "report", "data-docs-my-task", "monitor-my-task"]
    assert all(ArtifactCreate(key=key, type="markdown", data="x").key for key in keys)


@pytest.mark.parametrize(
    ("verdict", "retrain", "started"),
    [
        ("retrain", "auto", ["pipeline/rl"]),
        ("retrain", "no", []),
        ("watch", "auto", []),
        ("fine", "auto", []),
    ],
)
def test_only_a_verdict_of_retrain_starts_the_topics_deployment(
    flows, monkeypatch, verdict, retrain, started
):
    here, seen = flows.monitor, []
    found = SimpleNamespace(verdict=verdict, why="", text=lambda: "")
    monkeypatch.setattr(here.watching, "monitor", lambda task, file: found)
    monkeypatch.setattr(here, "run_deployment", lambda name, timeout: seen.append(name))
    assert here.monitor.fn("taxi", "requests.jsonl", retrain) == verdict
    assert seen == started


def test_what_the_registry_lacks_is_registered_by_a_run_of_the_ui_too(flows, monkeypatch, tmp_path):
    here = flows.pipeline
    monkeypatch.chdir(tmp_path)  # nothing was registered in it
    chosen = [dag.Stage(name, ()) for name in ("judge@q", "register@taxi", "register@nodes")]
    assert here.to_force(chosen, ["register@nodes"]) == ["register@taxi", "report"]
    assert here.to_force(chosen, ["register@nodes", "register@taxi"]) == []
    monkeypatch.setattr(here.run, "RegistryCheck", lambda _: SimpleNamespace(behind=list))
    assert here.to_force(chosen, []) == []
    monkeypatch.setenv(here.run.FORCE, "register@nodes")  # `hour9 run` has asked before
    assert here.to_force(chosen, []) == ["register@nodes"]


def test_what_went_well_is_shared_with_the_team_though_another_stage_failed(flows, monkeypatch):
    here, pushed = flows.pipeline, []
    stages = [dag.Stage("train@taxi-a", ()), dag.Stage("train@taxi-b", ())]
    this = SimpleNamespace(stages=stages, stale={})
    ended = {"train@taxi-a": "done in 1 s"}, {"train@taxi-b": "it diverged"}
    for name, value in ((here.run.FORCE, "report"), (here.PUSH, "true"), (here.FLOW_VARIABLE, "")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(here.run, "one_run", lambda _: nullcontext(this))
    monkeypatch.setattr(here.run, "warmed", nullcontext)
    monkeypatch.setattr(here, "run_all", lambda *_: ended)
    monkeypatch.setattr(here.dag, "sort_lock", lambda _: None)
    monkeypatch.setattr(here.dag, "push", lambda names, runs: pushed.extend(names))
    with pytest.raises(here.PipelineFailed, match="train@taxi-b failed\nit diverged"):
        here.pipeline.fn()
    assert pushed == ["train@taxi-a"]

    def push(names: list[str], runs: bool) -> None:
        raise dag.NoRemote("dvc push: no space is left")

    monkeypatch.setattr(here.dag, "push", push)
    with pytest.raises(here.PipelineFailed, match="train@taxi-b failed\nit diverged"):
        here.pipeline.fn()


def test_of_stages_that_ended_badly_all_are_named_and_none_that_only_waited(flows, monkeypatch):
    here = flows.pipeline
    states = {
        "train@a": Completed(data="unchanged"),
        "train@b": Failed(message="it diverged", data=RuntimeError("it diverged")),
        "train@c": Crashed(message="killed", data=RuntimeError("killed")),
        "judge@b": Pending(name="NotReady"),
    }

    def submit(name: str, *_: object, return_state: bool) -> SimpleNamespace:
        return SimpleNamespace(wait=list, state=states[name], result=lambda: states[name].data)

    monkeypatch.setattr(here, "run_stage", SimpleNamespace(submit=submit))
    plan = here.Plan(run.Slots(1))
    done, failed = here.run_all([dag.Stage(name, ()) for name in states], plan, [], [])
    assert done == {"train@a": "unchanged"}
    assert failed == {"train@b": "it diverged", "train@c": "killed"}


def test_a_task_that_cannot_be_guarded_leaves_no_other_unguarded(flows, monkeypatch):
    guarded = []

    def guard(task: str) -> str:
        guarded.append(task)
        if task == "nodes":
            raise OSError("the package is gone")
        return f"{task}: put back"

    monkeypatch.setattr(flows.promotion.promotion, "with_models", lambda: ["nodes", "taxi"])
    monkeypatch.setattr(flows.promotion.promotion, "guard", guard)
    with pytest.raises(flows.promotion.promotion.Refused, match="nodes is not guarded"):
        flows.promotion.guard.fn()
    assert guarded == ["nodes", "taxi"]


def test_however_a_run_ends_badly_its_trainings_are_closed(flows):
    from flows.pipeline import pipeline
    from flows.reaper import close_trainings
    from flows.stage import stage

    for flow in (pipeline, stage):
        for hooks in (
            flow.on_failure_hooks,
            flow.on_crashed_hooks,
            flow.on_cancellation_hooks,
        ):
            assert hooks == [close_trainings]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "everything"),
        ({"topic": "rl", "candidate": "cartpole-dqn"}, "rl/cartpole-dqn"),
        (
            {"settings": ["candidates.nodes-gcn.learning_rate=0.02"]},
            "everything learning_rate=0.02",
        ),
        ({"task": "sentiment", "settings": ["a.root=../data/sst2"]}, "sentiment root=../data/sst2"),
    ],
)
def test_a_run_is_named_after_what_it_does(flows, monkeypatch, given, name):
    unchosen = {"topic": "all", "task": "all", "candidate": "all", "settings": []}
    run = SimpleNamespace(flow_run=SimpleNamespace(parameters=unchosen | given))
    monkeypatch.setattr(flows.pipeline, "runtime", run)
    assert flows.pipeline.run_name() == name


def test_a_pool_that_nobody_serves_is_refused_where_nothing_is_stale_too(flows, monkeypatch):
    here = flows.pipeline

    def refuse(pool: str) -> None:
        raise here.dispatch.NotSent(here.dispatch.nobody_serves(pool))

    monkeypatch.setenv(here.FLOW_VARIABLE, "")
    monkeypatch.setattr(here.dispatch, "commit_to_send", lambda settings: "a" * 40)
    monkeypatch.setattr(here.dispatch, "check_served", refuse)
    monkeypatch.setattr(here.run, "one_run", lambda say: pytest.fail("it began"))
    with pytest.raises(here.dispatch.NotSent, match="no deployment stage/nope; ls"):
        here.pipeline.fn(pool="nope; ls")
