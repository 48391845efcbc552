"""Live progress in the terminal, fed by Prefect's own task logs: one source, whoever looks."""

import logging
import sys
import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

TASKS = "prefect.task_runs"


class Board(logging.Handler):
    """A line for each stage that ends, and below, on a terminal, what runs right now."""

    def __init__(self, total: int, on_first: Callable[[], None] = lambda: None):
        super().__init__(logging.INFO)
        self.total = total
        self.ended = 0
        self.began = time.monotonic()
        self.running: dict[str, tuple[float, str]] = {}
        self.on_first: Callable[[], None] | None = on_first
        self.console = Console(file=sys.stdout, highlight=False)
        self.live = Live(
            get_renderable=self.draw,
            console=self.console,
            refresh_per_second=2,
            redirect_stderr=False,
        )

    def __enter__(self) -> "Board":
        logging.getLogger(TASKS).addHandler(self)
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(TASKS).removeHandler(self)
        if self.console.is_terminal:
            self.live.stop()

    def draw(self) -> Group:
        """What runs, how far it is, since when."""
        now = time.monotonic()
        head = f"{self.ended}/{self.total} stages · {now - self.began:.0f} s"
        lines = [
            f"  {stage:<28} {now - since:5.0f} s  {last}"
            for stage, (since, last) in list(self.running.items())
        ]
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in [head, *lines]))

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line of a stage."""
        stage = getattr(record, "task_run_name", "")
        line = record.getMessage()
        if not stage or line.startswith("Finished in state"):
            return
        if self.on_first:
            self.on_first()
            self.on_first = None
        if line.startswith("Task run failed"):
            self.running.pop(stage, None)
            self.say(stage, "failed")
        elif line == "starts":
            self.running[stage] = (time.monotonic(), "")
        elif line == "unchanged" or line.startswith("done in"):
            self.ended += 1
            _, last = self.running.pop(stage, (0.0, ""))
            self.say(stage, f"{line}{'  ' + last if last else ''}")
        else:
            since, _ = self.running.get(stage, (time.monotonic(), ""))
            self.running[stage] = (since, line)
            if not self.console.is_terminal:
                self.say(stage, line)

    def say(self, stage: str, line: str) -> None:
        """Print above what is live."""
        elapsed = time.monotonic() - self.began
        self.console.print(Text(f"{elapsed:5.0f} s  {stage:<28} {line}"), soft_wrap=True)
