"""What the benchmarks share: the rows of benchmarks/results.json."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Row:
    """A line of benchmarks/results.json; a ratio over 1 means that ours is better."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    runs: int


def machine() -> str:
    """'AMD EPYC, 2 cores, AVX512'."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def record(rows: list[Row]) -> None:
    """Say where and when they were measured; replace those of the same name, keep the others."""
    here = {"machine": machine(), "date": date.today().isoformat()}
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    new = {row["name"]: row for row in [*old, *({**asdict(row), **here} for row in rows)]}
    RESULTS.write_text(json.dumps(list(new.values()), indent=1) + "\n")
