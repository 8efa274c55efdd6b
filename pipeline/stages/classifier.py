"""Stage classifier: the independent classifier that drawn images are judged by.

It learns from real images only, so it is trained once while models come and go.
"""

import sys

from pipeline.artifacts.dataset import Dataset, read_dataset
from pipeline.artifacts.files import whole_folder
from pipeline.artifacts.paths import CLASSIFIER
from pipeline.stage import run_stage
from vaegan.data import as_tensor, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.classifier import classify, train_classifier
from vaegan.evaluation.config import ClassifierConfig

AT_ONCE = 1000  # test images


def classifier(dataset: Dataset, params: ClassifierConfig) -> None:
    """Writes ``classifier/``: weights, and how well it does on real test images."""
    configure_torch(params.threads)
    device = resolve_device(params.device)
    trained = train_classifier(dataset.train, params.steps, params.seed, device)
    right = 0
    for start in range(0, len(dataset.test), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        images = to_unit_range(as_tensor(dataset.test.images[rows], device))
        right += int((classify(trained, images).classes == dataset.test.labels[rows]).sum())
    accuracy = right / len(dataset.test)
    with whole_folder(CLASSIFIER) as folder:
        trained.save(folder, {"dataset": dataset.name, "test_accuracy": accuracy})
    print(f"the classifier is right on {accuracy:.2%} of real test images of {dataset.name}")


def main() -> int:
    """The stage; returns its exit status."""
    return run_stage(lambda params: classifier(read_dataset(), params.classifier))


if __name__ == "__main__":
    sys.exit(main())
