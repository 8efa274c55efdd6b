"""Several default trainings at once against one alone, with and without turns.

Each training runs in its own process. By default trainings on the same cores take turns
(:mod:`vaegan.turns`). All constellations are measured in turn, several times, over an interval in
which all of their processes are running. Throughput of several is their sum; ratios are medians
over rounds.
"""

import itertools
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from benchmarks.defaults import make_trainer
from benchmarks.measure import Result
from vaegan.training.trainer import Trainer
from vaegan.turns import in_turns

SECONDS, ROUNDS, WARM_UP = 6.0, 6, 5  # of an interval; intervals of each; steps before the first
# Number of processes and whether they take turns.
CONSTELLATIONS = ((1, True), (2, True), (3, True), (1, False), (2, False))


def rate(
    step: Callable[[], object], stopped: Callable[[], bool], images: int, loop: Iterable[int]
) -> float:
    """Returns images per second of the steps of a loop until ``stopped``, without the last step.

    The last step may end after the other processes have stopped.
    """
    times = [time.perf_counter()]
    for _ in loop:
        step()
        times.append(time.perf_counter())
        if len(times) > 2 and stopped():
            break
    return images * (len(times) - 2) / (times[-2] - times[0])


def serve(turns: bool) -> None:
    """Trains between two lines on standard input, and answers each pair with a rate."""
    trainer = make_trainer(Trainer)
    for _ in range(WARM_UP):
        trainer.train_step()
    print("ready", flush=True)

    def stopped() -> bool:
        return bool(select.select([sys.stdin], [], [], 0)[0])

    while sys.stdin.readline():
        loop = in_turns(itertools.count()) if turns else itertools.count()
        print(rate(trainer.train_step, stopped, 2 * trainer.config.pairs, loop), flush=True)
        del loop  # gives the tokens back
        sys.stdin.readline()


class Training:
    """A process that trains on demand."""

    def __init__(self, turns: bool) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.together", *["turns"] * turns],
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

    alone, least = (1, True), (">=", 0.95)
    return [
        Result("images per second, one training alone", statistics.median(rates[alone])),
        Result("two at once, sum / one alone", ratio((2, True), alone), target=least),
        Result("three at once, sum / one alone", ratio((3, True), alone), target=least),
        Result("one alone, with / without turns", ratio(alone, (1, False)), target=least),
        Result("two at once, sum / one alone, without turns", ratio((2, False), (1, False))),
    ]


def run() -> list[Result]:
    """Measures on the prepared data set: five processes, started one after the other."""
    with ExitStack() as stack:
        pools: dict[bool, list[Training]] = {True: [], False: []}
        for count, turns in ((3, True), (2, False)):
            for _ in range(count):
                training = Training(turns)
                stack.enter_context(training.process)
                stack.callback(training.process.kill)
                training.answer()
                pools[turns].append(training)
        rates: dict[tuple[int, bool], list[float]] = {key: [] for key in CONSTELLATIONS}
        for _ in range(ROUNDS):
            for count, turns in CONSTELLATIONS:
                rates[count, turns].append(measure(pools[turns][:count]))
            for pool in pools.values():  # processes differ a little in speed, all take their turn
                pool.append(pool.pop(0))
            print({key: round(found[-1]) for key, found in rates.items()}, flush=True)
    return results(rates)


if __name__ == "__main__":
    serve(turns=sys.argv[1:] == ["turns"])
