"""What MLflow runs when it loads a version: this file, over safetensors. It holds no weights."""

import importlib
from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Candidate(PythonModel):
    """A trained candidate behind MLflow's one interface: a table in, a table out, row by row."""

    def load_context(self, context) -> None:
        """Let the task build its answering function from the model folder."""
        config = context.model_config
        module = importlib.import_module(f"hour9.{config['topic']}.{config['task']}")
        self.answer = module.TASK.answer(Path(context.artifacts["model"]))

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        """Requests to answers."""
        return self.answer(model_input)


set_model(Candidate())
