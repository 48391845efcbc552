"""A registry of the test's own, with one small trained task in it."""

import pytest
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
