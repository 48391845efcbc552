"""What the benchmarks share: two ways to one result, timed in turns, and the file of results."""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results.json"

Call = Callable[[], object]


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


@dataclass(frozen=True)
class Pair:
    """Two ways to the same result."""

    name: str
    ours: Call
    peer: Call
    peer_name: str
    repeat: int = 1
    """Calls in a row at each turn, as in a training: one call alone finds the peer's data in the
    processor's cache, not its own."""


def measure(pair: Pair, rounds: int) -> Row:
    """A row of the results; who goes first alternates."""
    times: dict[Call, list[float]] = {pair.ours: [], pair.peer: []}
    calls = [pair.ours, pair.peer]
    for call in calls * 2:  # warm up
        call()
    for _ in range(rounds):
        for call in calls:
            start = time.process_time()
            for _ in range(pair.repeat):
                call()
            times[call].append(1000 * (time.process_time() - start) / pair.repeat)
        calls.reverse()
    ours, peer = np.array(times[pair.ours]), np.array(times[pair.peer])
    low, high = np.percentile(peer / ours, [25, 75])
    ratio = float(np.median(peer) / np.median(ours))
    print(
        f"{pair.name:45} ours {np.median(ours):8.2f} ms, {pair.peer_name} "
        f"{np.median(peer):8.2f} ms: {ratio:.2f} ({low:.2f} to {high:.2f})",
        flush=True,
    )
    return Row(
        name=pair.name,
        ours=round(float(np.median(ours)), 3),
        peer=round(float(np.median(peer)), 3),
        peer_name=pair.peer_name,
        unit="CPU ms, one thread",
        ratio=round(ratio, 3),
        runs=rounds,
    )


def compare(
    name: str,
    ours: list[float],
    peer: list[float],
    peer_name: str,
    unit: str,
    less_is_better: bool = False,
) -> Row:
    """A row of the results: what both reach, means over the runs.

    Of several runs the standard deviations are printed, and where the difference of the means is
    with 95 % confidence (Welch 1947: nothing is paired, and the spreads may differ).
    """
    us, them = float(np.mean(ours)), float(np.mean(peer))
    print(f"{name:45} ours {us:8.2f}, {peer_name} {them:8.2f} {unit}", flush=True)
    if len(ours) > 1:
        from scipy.stats import ttest_ind

        low, high = ttest_ind(ours, peer, equal_var=False).confidence_interval(0.95)
        print(
            f"{'':45} ± {np.std(ours, ddof=1):.2f} and ± {np.std(peer, ddof=1):.2f} over "
            f"{len(ours)} runs; difference {us - them:+.2f} [{low:+.2f}, {high:+.2f}]",
            flush=True,
        )
    rounded = round(us, 3), round(them, 3)
    ratio = round(them / us if less_is_better else us / them, 3)
    return Row(name, *rounded, peer_name, unit, ratio, len(ours))


def multiplies_bf16() -> bool:
    """Whether the processor does so itself: emulated, bf16 is many times slower than fp32."""
    return torch.cpu._is_avx512_bf16_supported()


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
