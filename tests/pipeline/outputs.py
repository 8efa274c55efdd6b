"""Outputs of all stages, small: results as evaluate writes them, and a folder that has all."""

import json

import pytest
import torch

from pipeline.artifacts.codes import write_codes
from pipeline.artifacts.dataset import read_dataset
from pipeline.artifacts.paths import CLASSIFIER, METRICS, MODEL
from pipeline.stages.encode import encode_split
from vaegan.evaluation.classifier import Classifier
from vaegan.model.vae import DisentanglingVAE, weights_digest


def results(model: str) -> dict[str, object]:
    """Metrics as the stage evaluate writes them, as far as the report reads them."""
    return {
        "verdict": "sound",
        "leakage/mean": 0.2244,
        "specified/probe_accuracy": 0.9922,
        "swap/identity_accuracy": 0.98784,
        "swap/style_kept_slant": 0.8963,
        "swap/style_kept_thickness": 0.8546,
        "swap/style_kept_width": 0.70813,
        "reconstruction/mse": 0.0150745,
        "leakage/chance": 0.25,
        "leakage/mean_logistic": 0.25,
        "leakage/mean_perceptron": 0.625,
        "leakage/mean_bits": 0.216,
        "control/permuted": 0.2501,
        "leakage/excess": 0.4,
        "interval/swap/identity_accuracy_low": 0.9855,
        "interval/swap/identity_accuracy_high": 0.99,
        "gate/identity": "passed",
        "gate/leakage": "missed",
        "champion_by": "leakage/mean",
        "gates": "class gone from z: <0.2244>",
        "dataset": "bars",
        "split": "test",
        "protocol": "1",
        "left_out": "nothing",
        "model/digest": model,
    }


@pytest.fixture
def measured(workspace):
    """A folder in which every stage has left its outputs, all of one model."""
    dataset, model = read_dataset(), DisentanglingVAE.load(MODEL)
    batches = encode_split(model, dataset.test, 64, torch.device("cpu"))
    digest = weights_digest(MODEL)
    write_codes("test", batches, len(dataset.test), digest)
    CLASSIFIER.mkdir()
    torch.manual_seed(0)
    Classifier(dataset.test.image_shape, 4).eval().save(CLASSIFIER, {})
    METRICS.parent.mkdir(exist_ok=True)
    METRICS.write_text(json.dumps(results(digest)))
    return workspace
