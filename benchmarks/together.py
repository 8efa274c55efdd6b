"""Several default trainings at once against one alone, and the cost of threads that sleep.

Each training runs in its own process. ``OMP_WAIT_POLICY=PASSIVE``, the pipeline's default on
processors without bfloat16 instructions, makes waiting OpenMP threads sleep; spinning is libgomp's
own default, 300,000 spins before a thread sleeps. All constellations are measured in turn, several
times, over an interval in which all of their processes are running. Throughput of several is their
sum; ratios are medians over rounds.
"""

import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.defaults import make_trainer
from benchmarks.measure import SPINNING, Result
from vaegan.training.trainer import Trainer

SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
SECONDS, ROUNDS, WARM_UP = 4.0, 6, 5  # of an interval; intervals of each; steps before the first
# Number of processes and whether their threads spin.
CONSTELLATIONS = ((1, False), (2, False), (3, False), (1, True), (2, True))


def rate(step: Callable[[], object], stopped: Callable[[], bool], images: int) -> float:
    """Returns images per second of steps until ``stopped``, without the last step.

    The last step may end after the other processes have stopped.
    """
    times = [time.perf_counter()]
    while len(times) < 3 or not stopped():
        step()
        times.append(time.perf_counter())
    return images * (len(times) - 2) / (times[-2] - times[0])


def serve() -> None:
    """Trains between two lines on standard input, and answers each pair with a rate."""
    trainer = make_trainer(Trainer)
    for _ in range(WARM_UP):
        trainer.train_step()
    print("ready", flush=True)

    def stopped() -> bool:
        return bool(select.select([sys.stdin], [], [], 0)[0])

    while sys.stdin.readline():
        print(rate(trainer.train_step, stopped, 2 * trainer.config.pairs), flush=True)
        sys.stdin.readline()


class Training:
    """A process that trains on demand."""

    def __init__(self, spinning: bool) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.together"],
            env=os.environ | (SPINNING if spinning else SLEEPING),
            stdin=pipe,
            stdout=pipe,
            text=True,
        )

    def tell(self, line: str) -> None:
        """Starts or stops the training."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Waits for the next line.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"a training ended with status {self.process.wait()}")
        return line


def measure(trainings: list[Training]) -> float:
    """Runs trainings at once; returns the sum of their images per second."""
    for training in trainings:
        training.tell("go")
    time.sleep(SECONDS)
    for training in trainings:
        training.tell("stop")
    return sum(float(training.answer()) for training in trainings)


def results(rates: dict[tuple[int, bool], list[float]]) -> list[Result]:
    """Returns the rows for the images per second of each constellation, round by round."""

    def ratio(above: tuple[int, bool], below: tuple[int, bool]) -> float:
        return statistics.median(a / b for a, b in zip(rates[above], rates[below], strict=True))

    alone, least = (1, False), (">=", 0.95)
    return [
        Result("images per second, one training alone", statistics.median(rates[alone])),
        Result("two at once, sum / one alone", ratio((2, False), alone), target=least),
        Result("three at once, sum / one alone", ratio((3, False), alone), target=least),
        Result("one alone, sleeping / spinning threads", ratio(alone, (1, True)), target=least),
        Result("two at once, sum / one alone, spinning threads", ratio((2, True), (1, True))),
    ]


def run() -> list[Result]:
    """Measures on the prepared data set: five processes, started one after the other."""
    with ExitStack() as stack:
        pools: dict[bool, list[Training]] = {False: [], True: []}
        for count, spinning in ((3, False), (2, True)):
            for _ in range(count):
                training = Training(spinning)
                stack.enter_context(training.process)
                stack.callback(training.process.kill)
                training.answer()
                pools[spinning].append(training)
        rates: dict[tuple[int, bool], list[float]] = {key: [] for key in CONSTELLATIONS}
        for _ in range(ROUNDS):
            for count, spinning in CONSTELLATIONS:
                rates[count, spinning].append(measure(pools[spinning][:count]))
            for pool in pools.values():  # processes differ a little in speed, all take their turn
                pool.append(pool.pop(0))
            print({key: round(found[-1]) for key, found in rates.items()}, flush=True)
    return results(rates)


if __name__ == "__main__":
    serve()
