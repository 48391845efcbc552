"""How well the candidates of `molecules` do on real sets, beside a machine blind to structure.

MUTAG and PROTEINS: stratified 10-fold cross-validation. Within the training part of a fold, five
members are trained, each with another fifth to validate on; the fifths choose the epoch and, by
the members' likelihood on them, the settings. The ensemble of the members answers for the test
fold, which nothing has seen. ESOL: random 80/10/10 splits, an ensemble over seeds.

    python benchmarks/molecules_quality.py --root ../shared/data/tudataset --name MUTAG
    python benchmarks/molecules_quality.py --root ../shared/data/tudataset --name PROTEINS
    python benchmarks/molecules_quality.py --root ../shared/data/moleculenet/graphs_npz --name esol
    python benchmarks/molecules_quality.py --short          # seconds, on the embedded molecules

What is done is kept in .hour9/molecules_quality, so that an interrupted run goes on.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and its libraries when they are loaded
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # by NumPy

import argparse
import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import load_settings
from hour9.graphs.molecule_tables import to_graphs
from hour9.graphs.molecules import TASK, counts, estimates, has_classes, support_vectors
from hour9.engine.weights import load_model
from hour9.params import STATE, read_params
from hour9.task import Source, Tables, without_test

DONE = STATE / "molecules_quality"
FOLDS, MEMBERS = 10, 5
PUBLISHED = {"MUTAG": "GIN 89.4 (Xu et al. 2019)", "PROTEINS": "GIN 76.2 (Xu et al. 2019)"}
