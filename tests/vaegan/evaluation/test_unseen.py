"""Swaps between classes that a model was not trained on, by decoders whose score is known."""

import numpy as np
import pytest

from tests.vaegan.evaluation.test_images import Oracle
from vaegan.data import LabelledImages
from vaegan.evaluation.classifier import train_classifier
from vaegan.evaluation.description import Instruments
from vaegan.evaluation.factors import Factor
from vaegan.evaluation.unseen import one_shot_pairs, unseen_metrics


def test_each_identity_is_shown_by_one_image_and_never_in_its_own_style():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 20))
    identities, styles = one_shot_pairs(labels, 5000, np.random.default_rng(0))
    assert (labels[identities] != labels[styles]).all()
    assert len(set(identities)) == 5
    assert len(set(labels[identities])) == 5
    assert set(styles) == set(range(100)) - set(identities)
    asked = np.bincount(labels[identities]) / 5000
    assert asked == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["one class", "one image of each"])
def test_where_no_swap_is_possible_an_error_says_so(labels):
    with pytest.raises(ValueError, match="two classes, and a second image"):
        one_shot_pairs(np.array(labels), 10, np.random.default_rng(0))


def test_an_oracle_shows_unseen_identities_and_a_model_that_ignores_them_does_not(bars):
    """Two of the four classes of bars are unseen: the classifier knows them as classes 2 and 3."""
    classifier = train_classifier(bars, steps=60, seed=0)
    held_out = bars.labels >= 2
    images, labels = bars.images[held_out], bars.labels[held_out] - 2
    places = np.arange(len(labels), dtype=np.float32)[:, None]
    codes = {"specified_mean": places, "unspecified_mean": places, "labels": labels}
    side = np.arange(len(labels)) % 2
    instruments = Instruments(
        classifier, False, {"side": train_classifier(LabelledImages(images, side, 2), 1, 0)}
    )

    def measured(by: str) -> dict[str, float]:
        factors = {"side": Factor(2, side, side)}
        oracle = Oracle(images, by)
        return unseen_metrics(oracle, instruments, images, codes, 2, 500, 0, factors)[0]

    kept, lost = measured("identity"), measured("style")
    assert kept["unseen/identity_accuracy"] > 0.95
    assert kept["unseen/style_source_rate"] < 0.05
    assert lost["unseen/identity_accuracy"] < 0.05
    assert lost["unseen/style_source_rate"] > 0.9
    assert kept["unseen/classifier_accuracy"] > 0.9
    assert kept["unseen/chance"] == pytest.approx(0.5, abs=0.1)
    assert {"unseen/side_swap_accuracy", "unseen/side_classifier_accuracy"} <= kept.keys()
