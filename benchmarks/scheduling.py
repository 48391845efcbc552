"""What the flow costs and what it gains, against `dvc repro` on the same stages.

python benchmarks/scheduling.py [--steps 18000000] [--rounds 3] [--short]

One candidate of one taxi: nothing can run side by side, and what the flow takes longer is its
overhead. Two equal taxis of one thread each, on two cores: what it takes less is its gain, with
one candidate each, and with two (the project's topics have 9, 6 and 3). A candidate learns for
about 27 seconds, as the project's do on average: `hour9 run` says of each how long it took.
Whole commands are timed by the wall, in turns, in an empty project: so on a quiet machine. Both
fork their stages from one warm process and find a Prefect server; what a server costs to start is
printed beside.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from operator import sub
from pathlib import Path

from ruamel.yaml import YAML

from hour9.servers import HOST, free_port, process, wait_for
from hour9.stage import ENVIRONMENT, LOGS, WARM
from hour9.warm import WarmProcess
from record import Row, record

ROOT = Path(__file__).parents[1]
FILES = (".dvc/config", ".dvcignore", "dvc.yaml", "prefect.yaml", "requirements.lock")
MADE = ("dvc.lock", ".dvc/cache", ".dvc/tmp", ".hour9", "data", "models", "reports", "mlruns")
COMMANDS = {"dvc": ("dvc", "repro"), "flow": ("hour9", "run")}


def main() -> None:
    """Measure both, and say what they must reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=18_000_000, help="of each agent's training")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each command")
    parser.add_argument("--short", action="store_true", help="once, and hardly any training")
    asked = parser.parse_args()
    steps, rounds = (50_000, 1) if asked.short else (asked.steps, asked.rounds)
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        prepare(Path.cwd())
        os.environ |= {"PYTHONPATH": f"{scratch}/src", **ENVIRONMENT}
        port, started = str(free_port()), time.monotonic()
        with process("prefect", "server", "start", "--no-services", "--host", HOST, "--port", port):
            os.environ["PREFECT_API_URL"] = f"http://{HOST}:{port}/api"
            wait_for(f"http://{HOST}:{port}/api/health")
            print(f"a Prefect server starts in {time.monotonic() - started:.0f} s", flush=True)
            with WarmProcess() as warm:
                os.environ |= {WARM: str(warm.socket), LOGS: ".hour9/logs"}
                rows = [
                    compare(taxis, candidates, steps, rounds)
                    for taxis, candidates in ((1, 1), (2, 1), (2, 2))
                ]
    if not asked.short:
        record(rows)


def prepare(folder: Path) -> None:
    """A project without git that has a second taxi, equal to the first."""
    for name in ("src", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    (folder / ".venv").symlink_to(sys.prefix)
    module = (folder / "src/hour9/rl/taxi.py").read_text()
    assert module.count('name="taxi"') == 1
    twin = module.replace('name="taxi"', 'name="taxi2"')
    (folder / "src/hour9/rl/taxi2.py").write_text(twin)


def compare(taxis: int, candidates: int, steps: int, rounds: int) -> Row:
    """Both commands on so many equal tasks of so many candidates; a row of the results."""
    write_params(taxis, candidates, steps)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    trained: dict[str, list[float]] = {name: [] for name in COMMANDS}
    order = list(COMMANDS)
    for _ in range(rounds):
        for name in order:
            seconds[name].append(timed(*COMMANDS[name]))
            trained[name] += seconds_of_training()
        order.reverse()
    ours, peer = (statistics.median(seconds[name]) for name in ("flow", "dvc"))
    goal = "overhead, at most 10 %" if taxis == 1 else "at least 1.7 times"
    what = f"{taxis} task{'s' * (taxis > 1)} of {candidates}: {goal}"
    print(
        f"{what:35} hour9 run {ours:6.1f} s, dvc repro {peer:6.1f} s: "
        f"{100 * (ours / peer - 1):+.1f} %, {peer / ours:.2f} times  "
        f"(flow {said(seconds['flow'])}; dvc {said(seconds['dvc'])})",
        flush=True,
    )
    training = {name: statistics.median(values) for name, values in trained.items()}
    longer = training["flow"] / training["dvc"]
    print(
        f"    one training took {longer:.2f} times as long in the flow as in dvc repro", flush=True
    )
    if taxis == 1:
        rest = {
            name: statistics.median(map(sub, seconds[name], trained[name])) for name in COMMANDS
        }
        print(
            f"    all but the training: {rest['flow']:.1f} against {rest['dvc']:.1f} s; were the "
            f"trainings equal, {100 * (rest['flow'] - rest['dvc']) / peer:+.1f} %",
            flush=True,
        )
    return Row(
        name=f"flow, {taxis} equal task{'s' * (taxis > 1)} of {candidates}",
        ours=round(ours, 1),
        peer=round(peer, 1),
        peer_name="dvc repro",
        unit="seconds",
        ratio=round(peer / ours, 3),
        runs=rounds,
    )


def seconds_of_training() -> list[float]:
    """Seconds of each training of the last run, by its own watch: side by side, they may slow each
    other, and what that costs is the machine's."""
    spans = [json.loads(line) for line in Path(".hour9/timeline.jsonl").read_text().splitlines()]
    return [span["end"] - span["start"] for span in spans if span["kind"] == "train"]


def said(seconds: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in seconds)


def write_params(taxis: int, candidates: int, steps: int) -> None:
    """params.yaml with so many taxis of so many candidates, and nothing else."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(ROOT / "params.yaml")
    task, candidate = params["tasks"]["taxi"], params["candidates"]["taxi-qlearning"]
    names = ["taxi", "taxi2"][:taxis]
    params["weights"] = {}
    params["tasks"] = {name: task | {"reference": f"{name}-qlearning"} for name in names}
    params["candidates"] = {
        f"{name}-qlearning{number or ''}": candidate
        | {"task": name, "parent": f"data/{name}", "seed": number}
        | {"steps": steps, "check_every": steps // 10}
        for name in names
        for number in range(candidates)
    }
    with Path("params.yaml").open("w") as file:
        yaml.dump(params, file)


def timed(tool: str, *arguments: str) -> float:
    """Wall seconds of a command in an empty project."""
    for name in MADE:
        shutil.rmtree(name, ignore_errors=True)
    Path("dvc.lock").unlink(missing_ok=True)
    Path(".hour9/logs").mkdir(parents=True)
    Path(".hour9/dvc").mkdir(mode=0o700)
    started = time.monotonic()
    done = subprocess.run(
        [str(Path(sys.executable).with_name(tool)), *arguments], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
