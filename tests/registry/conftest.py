"""A registry of the test's own, with one small trained task in it."""

from collections.abc import Iterator

import pytest
from mlflow import MlflowClient
from tests.conftest import QUICK

from hour9.config import set_params


@pytest.fixture
def registered(project, stage):
    """The taxi task, up to the registry."""
    set_params(QUICK)
    for kind in ("ingest", "validate"):
        stage(kind, "taxi")
    for kind in ("train", "evaluate", "judge"):
        stage(kind, "taxi-qlearning")
    stage("register", "taxi")
    return stage


@pytest.fixture
def client(project, monkeypatch) -> Iterator[MlflowClient]:
    """A client of the project's store; `connect` keeps one for the life of a process."""
    from hour9.registry import tracking

    # Absolute: MLflow keeps an engine for each address, and the next test's folder is another.
    monkeypatch.setattr(tracking, "STORE", f"sqlite:///{project}/mlruns/mlflow.db")
    tracking.connect.cache_clear()
    yield tracking.connect()
    tracking.connect.cache_clear()
