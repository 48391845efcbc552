"""What MLflow runs when it loads a version: this file, over safetensors. It holds no weights.

A version answers with the code it was made with, also where the process holds another version or
a newer hour9: the code travels as an artifact and is imported aside.
"""

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PythonModel

ALONE = threading.RLock()
"""`sys.modules` belongs to all threads: one of them at a time may put another package there."""


class Candidate(PythonModel):
    """A trained candidate behind MLflow's one interface: a table in, a table out, row by row."""

    def load_context(self, context) -> None:
        """Let the task build its answering function from the model folder."""
        self.context = context
        with self.task() as task:
            self.answer = task.answer(Path(context.artifacts["model"]))

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Requests to answers. What is wrong with a request is said to whoever sent it."""
        try:
            return self.answer(model_input)
        except ValueError as error:
            raise MlflowException(str(error), error_code=BAD_REQUEST) from error

    def explain(self, text: str) -> list[tuple[str, float]]:
        """The words of a text, each with what it added to the answer. Imports what that needs."""
        with self.task() as task:
            if task.explain is None:
                raise ValueError(f"the task '{task.name}' explains no answers")
            return task.explain(Path(self.context.artifacts["model"]))(text)

    @contextmanager
    def task(self) -> Iterator:
        """Inside the block the task of the version's own code, and `import hour9` means that."""
        config = self.context.model_config
        with code_of(Path(self.context.artifacts["code"])):
            yield importlib.import_module(f"hour9.{config['topic']}.{config['task']}").TASK


@contextmanager
def code_of(folder: Path) -> Iterator[None]:
    """Inside the block `import hour9` means the package in this folder; after it, what it was."""
    with ALONE:
        others = {name: module for name, module in [*sys.modules.items()] if is_ours(name)}
        for name in others:
            del sys.modules[name]
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            for name in [name for name in sys.modules if is_ours(name)]:
                del sys.modules[name]
            sys.modules.update(others)


def is_ours(name: str) -> bool:
    """Whether a module belongs to hour9."""
    return name == "hour9" or name.startswith("hour9.")


set_model(Candidate())
