import dataclasses

import numpy as np
import pandas as pd

from benchmarks import frontier
from pipeline.artifacts.dataset import Split
from pipeline.stages.prepare import hold_out
from vaegan.evaluation.classifier import train_classifier
from vaegan.training.trainer import Trainer


def test_held_out_images_equal_those_of_the_prepare_stage(bars, monkeypatch):
    monkeypatch.setattr(frontier, "HELD_OUT", 50)
    train, out = frontier.held_out(bars)
    splits = hold_out({"train": Split.from_images(bars), "test": Split.from_images(bars)}, 50)
    for ours, name in ((train, "train"), (out, "validation")):
        (images,) = splits[name].blocks()
        assert np.array_equal(ours.images, images)
        assert np.array_equal(ours.labels, splits[name].labels)


def test_a_point_has_all_metrics_and_the_figure_has_a_line_per_divergence(
    bars, model_config, training_config
):
    config = dataclasses.replace(training_config, steps=4)
    trainer = Trainer(model_config, config, bars)
    list(trainer.run())
    classifier = train_classifier(bars, steps=5, seed=0)
    found = frontier.measured(trainer.model.eval(), classifier, bars, bars)
    assert set(found) == {
        "leakage/mean",
        "swap/style_kept_slant",
        "swap/style_kept_thickness",
        "swap/style_kept_width",
        "swap/identity_accuracy",
        "reconstruction/mse",
    }
    rows = [
        {"unspecified_kl": divergence, "alignment": alignment} | found
        for divergence in (0.7, 1.0)
        for alignment in (0.0, 1.0)
    ]
    panels = frontier.plot(pd.DataFrame(rows)).axes
    assert [len(axes.lines) for axes in panels] == [2, 2, 2, 2]
