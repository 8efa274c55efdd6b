"""Stage judge: the independent classifier that drawn images are judged by.

It learns from real images only, so it is trained once while models come and go.
"""

import sys

from pipeline.artifacts import JUDGE, Dataset, read_dataset
from pipeline.files import whole_folder
from pipeline.params import JudgeParams
from pipeline.stage import run_stage
from vaegan.data import as_tensor, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.judge import look_at, train_judge


def judge(dataset: Dataset, params: JudgeParams) -> None:
    """Writes ``judge/``: weights, and how well it does on real test images."""
    configure_torch(params.threads)
    device = resolve_device(params.device)
    trained = train_judge(dataset.train, params.steps, params.seed, device)
    test = to_unit_range(as_tensor(dataset.test.images, device))
    right = float((look_at(trained, test).classes == dataset.test.labels).mean())
    with whole_folder(JUDGE) as folder:
        trained.save(folder, {"dataset": dataset.name, "test_accuracy": right})
    print(f"the judge is right on {right:.2%} of real test images of {dataset.name}")


def main() -> int:
    """The stage; returns its exit status."""
    return run_stage(lambda params: judge(read_dataset(), params.judge))


if __name__ == "__main__":
    sys.exit(main())
