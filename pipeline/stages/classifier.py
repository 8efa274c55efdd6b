"""Stage classifier: trains the independent classifiers that evaluate generated images.

They depend on the real images only, so they serve all models of a data set. One tells the classes;
each known style factor of the data set has another one. If classes were held out of the training,
a last one also tells these.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.artifacts.classifiers import factor_classifier, factor_splits
from pipeline.artifacts.dataset import UNSEEN, read_dataset
from pipeline.artifacts.files import atomic_folder
from pipeline.artifacts.paths import CLASSIFIER
from vaegan.data import LabelledImages, as_tensor, every_second, to_unit_range
from vaegan.devices import configure_torch, resolve_device
from vaegan.evaluation.classifier import Classifier, classify, train_classifier

if TYPE_CHECKING:  # no stage computes with the code of these
    from vaegan.evaluation.config import ClassifierConfig

AT_ONCE = 1000  # test images


def accuracy_on(classifier: Classifier, data: LabelledImages, device: torch.device) -> float:
    """Share of real images whose label a classifier predicts."""
    right = 0
    for start in range(0, len(data), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        images = to_unit_range(as_tensor(data.images[rows], device))
        right += int((classify(classifier, images).classes == data.labels[rows]).sum())
    return right / len(data)


def with_unseen(train: LabelledImages, unseen: LabelledImages) -> LabelledImages:
    """Training images, and half of those of unseen classes, which follow the other classes.

    The evaluation measures on the other half, see :func:`vaegan.data.every_second`.
    """
    rows = every_second(unseen.labels)
    return LabelledImages(
        np.concatenate([train.images, unseen.images[rows]]),
        np.concatenate([train.labels, train.class_count + unseen.labels[rows]]),
        train.class_count + unseen.class_count,
    )


def run(params: "ClassifierConfig") -> dict[str, Any]:
    """Writes ``classifier/``: weights, and the accuracy on real test images.

    The classifiers of known style factors are in ``factors/`` below it, and the one of unseen
    classes is in ``unseen/``.

    Returns:
        Name of the data set (``dataset``), the accuracy in [0, 1] (``accuracy``) and that of the
        classifier of each factor (``factors``).

    Raises:
        ArtifactError: the prepared data set is missing or damaged.
    """
    dataset = read_dataset()
    configure_torch(params.threads)
    device = resolve_device(params.device)
    tests = factor_splits(dataset, "test")
    accuracies = {}
    with atomic_folder(CLASSIFIER) as folder:
        trained = train_classifier(dataset.train, params.steps, params.seed, device)
        accuracy = accuracy_on(trained, dataset.test, device)
        trained.save(folder, {"dataset": dataset.name, "test_accuracy": accuracy})
        for word, train in factor_splits(dataset, "train").items():
            place = factor_classifier(word, folder)
            place.mkdir(parents=True)
            trained = train_classifier(train, params.steps, params.seed, device)
            accuracies[word] = accuracy_on(trained, tests[word], device)
            about = {"dataset": dataset.name, "factor": word, "test_accuracy": accuracies[word]}
            trained.save(place, about)
        if UNSEEN in dataset.splits:
            (folder / UNSEEN).mkdir()
            both = with_unseen(dataset.train, dataset.splits[UNSEEN])
            trained = train_classifier(both, params.steps, params.seed, device)
            trained.save(folder / UNSEEN, {"dataset": dataset.name})
    return {"dataset": dataset.name, "accuracy": accuracy, "factors": accuracies}
