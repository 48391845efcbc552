"""MLflow's scoring server around a model as the registry packs it, in the test's own process."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from starlette.testclient import TestClient

from hour9.ask import as_asked
from hour9.registry import model as served_code
from hour9.registry.versions import answering_code
from hour9.task import Tables, Task

Made = tuple[Task, Path, Tables]
"""A task, a model folder of it, and its tables."""


def served(
    topic: str, made: Iterable[Made], folder: Callable[[str], Path]
) -> dict[str, TestClient]:
    """A client of each task's server; `folder` makes one by name."""
    from mlflow.pyfunc import scoring_server

    found = {}
    with answering_code(topic) as code:
        for task, model, tables in made:
            example = task.example(tables)
            package = folder(f"{task.name}-version") / "v"
            mlflow.pyfunc.save_model(
                package,
                python_model=str(Path(served_code.__file__)),
                artifacts={"model": str(model), "code": str(code)},
                model_config={"topic": topic, "task": task.name},
                signature=mlflow.models.infer_signature(example, task.answer(model)(example)),
                input_example=example,
                pip_requirements=[],
            )
            loaded = mlflow.pyfunc.load_model(str(package))
            application = scoring_server.init(loaded)
            application.state.model = loaded
            found[task.name] = TestClient(application, raise_server_exceptions=False)
    return found


def ask(server: TestClient, *requests: dict) -> tuple[int, str]:
    """Status and words; NaN and lone surrogates travel as Python writes them."""
    body = json.dumps({"dataframe_records": requests})
    answer = server.post("/invocations", content=body, headers={"content-type": "application/json"})
    return answer.status_code, answer.text


def answers(words: str) -> pd.DataFrame:
    """The rows of an answer."""
    return pd.DataFrame(json.loads(words)["predictions"])


def readme_example(task: str) -> dict[str, Any]:
    """The request that the README shows for a task."""
    (example,) = re.findall(rf"^{task} +(\{{.*\}})$", Path("README.md").read_text(), re.M)
    return json.loads(example)


def each(requests: dict[str, list]) -> list[tuple[str, Any, str]]:
    """For `parametrize`: the task, what it is sent, and what its answer must say."""
    return [(task, sent, said) for task, pairs in requests.items() for sent, said in pairs]


def refuses(server: TestClient, sent: dict, said: str) -> None:
    """A 4xx, in these words."""
    status, words = ask(server, sent)
    assert 400 <= status < 500, words
    assert said in words


def answers_the_readme(server: TestClient, task: str) -> None:
    """What the README shows has an answer, over HTTP and by `hour9 predict`, and it is the same."""
    status, words = ask(server, readme_example(task))
    assert status == 200, words
    model = server.app.state.model
    asked = as_asked(pd.DataFrame([readme_example(task)]), model.metadata.get_input_schema())
    answer = model.predict(asked)
    assert answer.to_dict("records") == answers(words).to_dict("records")
