"""Stage classifier: trains the independent classifier that evaluates generated images.

It depends on the real images only, so one classifier serves all models of a data set.
"""

from typing import TYPE_CHECKING, Any

from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.files import atomic_folder
from pipeline.artifacts.paths import CLASSIFIER
from vaegan.data import as_tensor, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.classifier import classify, train_classifier

if TYPE_CHECKING:  # no stage computes with the code of these
    from vaegan.evaluation.config import ClassifierConfig

AT_ONCE = 1000  # test images


def run(params: "ClassifierConfig") -> dict[str, Any]:
    """Writes ``classifier/``: weights, and the accuracy on real test images.

    Returns:
        Name of the data set (``dataset``) and the accuracy in [0, 1] (``accuracy``).

    Raises:
        ArtifactError: the prepared data set is missing or damaged.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    device = resolve_device(params.device)
    trained = train_classifier(dataset.train, params.steps, params.seed, device)
    right = 0
    for start in range(0, len(dataset.test), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        images = to_unit_range(as_tensor(dataset.test.images[rows], device))
        right += int((classify(trained, images).classes == dataset.test.labels[rows]).sum())
    accuracy = right / len(dataset.test)
    with atomic_folder(CLASSIFIER) as folder:
        trained.save(folder, {"dataset": dataset.name, "test_accuracy": accuracy})
    return {"dataset": dataset.name, "accuracy": accuracy}
