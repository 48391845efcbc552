"""The flows' own decisions; what they call is tested where it stands."""

from types import SimpleNamespace

import pytest
from tests.conftest import ROOT


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


def test_what_the_registry_lacks_is_registered_by_a_run_of_the_ui_too(flows, monkeypatch):
    here = flows.pipeline
    monkeypatch.setattr(here.run, "RegistryCheck", lambda _: SimpleNamespace(agrees=lambda: False))
    assert here.to_force({"task": "taxi"}) == ["register@taxi", "report"]
    monkeypatch.setenv(here.FORCE, "register@nodes")  # `hour9 run` has asked before
    assert here.to_force({"task": "taxi"}) == ["register@nodes"]
    monkeypatch.delenv(here.FORCE)
    monkeypatch.setattr(here.run, "RegistryCheck", lambda _: SimpleNamespace(agrees=lambda: True))
    assert here.to_force({"task": "taxi"}) == []


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
