import dataclasses

import pytest
import torch

from tests.vaegan.training.conftest import generated
from vaegan.training.config import ObjectiveWeights
from vaegan.training.generation import IMAGES, generate
from vaegan.training.trainer import Trainer

SIZES = {"own": 2, "partner": 2, "swapped": 1, "sampled": 1, "crossed": 1}  # images per pair


@pytest.fixture
def pairs_only(model_config, training_config, bars) -> Trainer:
    """A trainer that knows no classes; its only adversary is the discriminator."""
    weights = dict.fromkeys((f.name for f in dataclasses.fields(ObjectiveWeights)), 0.0)
    weights |= {"partner": 1.0, "adversarial": 1.0, "adversarial_prior": 1.0}
    config = dataclasses.replace(
        training_config, weights=ObjectiveWeights(**weights), supervision="pairs"
    )
    return Trainer(model_config, config, bars)


def test_generated_images_pair_codes_and_labels_as_documented(trainer):
    trainer.train_step()
    trainer.model.eval()  # so that one image's code does not depend on its batch
    batch, images, _ = generated(trainer)
    pairs = trainer.config.pairs
    assert batch.pairs == pairs
    assert torch.equal(batch.labels[:pairs], batch.labels[pairs:])
    assert (batch.other_labels != batch.labels[:pairs]).all()
    s = batch.codes.specified.mean
    assert s.shape == (2 * pairs, 5)
    if not trainer.model.config.specified.variational:
        # Decoded again from the codes, on their own: each image is the decoder's of its pair.
        again = trainer.model.decode(s.roll(pairs, 0), batch.unspecified)
        torch.testing.assert_close(again, images["partner"], rtol=1e-4, atol=1e-4)


def test_each_kind_of_image_is_decoded_from_its_documented_codes(trainer):
    """One pass gives each kind what a pass of its own would give, in whatever company."""
    trainer.model.eval()
    batch, _, _ = generated(trainer)
    pairs, s, z = batch.pairs, batch.specified, batch.unspecified
    wanted = {
        "own": (s, z),
        "partner": (torch.cat([s[pairs:], s[:pairs]]), z),
        "swapped": (s[:pairs][batch.other], z[:pairs]),
        "sampled": (s[:pairs][batch.other], batch.noise),
        "crossed": (s[:pairs], batch.noise),
    }
    assert set(wanted) == set(IMAGES)
    images = generate(trainer.model.decoder, batch, wanted)
    for name, codes in wanted.items():
        assert len(images[name]) == SIZES[name] * pairs
        torch.testing.assert_close(images[name], trainer.model.decoder(*codes))


def test_only_the_images_named_are_decoded_and_in_the_tables_order(trainer, monkeypatch):
    batch, _, _ = generated(trainer)
    decoder, sizes = trainer.model.decoder, []
    forward = decoder.forward
    monkeypatch.setattr(decoder, "forward", lambda s, z: sizes.append(len(s)) or forward(s, z))
    assert list(generate(decoder, batch, ["crossed", "own"])) == ["own", "crossed"]
    assert sizes == [3 * batch.pairs]
    assert generate(decoder, batch, []) == {}
    assert len(sizes) == 1


def test_the_discriminator_is_conditioned_on_the_requested_class(trainer, monkeypatch):
    """With numbers for features, a logit tells which image was asked after which class."""
    batch, images, _ = generated(trainer)
    pairs = trainer.config.pairs
    real, fake = torch.arange(2.0 * pairs), torch.arange(2.0 * pairs) + 1000
    features = iter(
        [(batch.images, real), (torch.cat([images["swapped"], images["sampled"]]), fake)]
    )

    def number(images):
        expected, answer = next(features)
        assert torch.equal(images, expected)
        return answer

    monkeypatch.setattr(trainer.discriminator, "features", number)
    monkeypatch.setattr(trainer.discriminator, "logits", lambda x, labels: 100 * x + labels)
    logits = trainer._discriminate(batch, images)
    assert torch.equal(logits.real, 100 * real[pairs:] + batch.labels[pairs:])
    assert torch.equal(logits.mismatched, 100 * real[:pairs] + batch.other_labels)
    assert list(logits.fake) == ["swapped", "sampled"]
    assert torch.equal(logits.fake["swapped"], 100 * fake[:pairs] + batch.other_labels)
    assert torch.equal(logits.fake["sampled"], 100 * fake[pairs:] + batch.other_labels)


def test_the_discriminator_is_conditioned_on_an_image_of_the_identity(pairs_only, monkeypatch):
    batch, images, _ = generated(pairs_only)
    pairs = pairs_only.config.pairs
    assert torch.equal(batch.other, torch.arange(pairs).roll(-1))
    real, fake = torch.arange(2.0 * pairs), torch.arange(2.0 * pairs) + 1000
    answers = iter([real, fake])
    monkeypatch.setattr(pairs_only.discriminator, "features", lambda images: next(answers))
    monkeypatch.setattr(pairs_only.discriminator, "logits", lambda x, shown: 10000 * x + shown)
    logits = pairs_only._discriminate(batch, images)
    anchors, partners = real.chunk(2)
    asked = partners[batch.other]
    assert torch.equal(logits.real, 10000 * partners + anchors)
    assert torch.equal(logits.mismatched, 10000 * anchors + asked)
    assert torch.equal(logits.fake["swapped"], 10000 * fake[:pairs] + asked)
    assert torch.equal(logits.fake["sampled"], 10000 * fake[pairs:] + asked)


@pytest.mark.parametrize("supervision", ["labels", "pairs"])
def test_a_share_of_the_pairs_gives_the_images_of_discriminator_and_cycle_terms(
    model_config, training_config, bars, supervision, monkeypatch
):
    weights = dict.fromkeys(vars(training_config.weights), 1.0)
    weights["confusion"] = 1.0 if supervision == "labels" else 0.0
    config = dataclasses.replace(
        training_config,
        weights=ObjectiveWeights(**weights),
        supervision=supervision,
        adversarial_share=0.375,
    )
    trainer = Trainer(model_config, config, bars)
    seen = []
    features = trainer.discriminator.features
    monkeypatch.setattr(
        trainer.discriminator, "features", lambda images: seen.append(images) or features(images)
    )
    batch, images, logits = generated(trainer)
    assert (batch.pairs, batch.adversarial_pairs) == (16, 6)
    assert {name: len(made) for name, made in images.items()} == {
        "own": 32, "partner": 32, "swapped": 6, "sampled": 6, "crossed": 6,
    }  # fmt: skip
    # The first anchors and their own partners, not the first images of the batch.
    assert torch.equal(seen[0], torch.cat([batch.images[:6], batch.images[16:22]]))
    assert len(logits.real) == len(logits.mismatched) == 6
    losses = trainer.train_step()
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_a_share_never_leaves_fewer_than_two_pairs(training_config):
    config = dataclasses.replace(training_config, pairs=4, adversarial_share=0.01)
    assert config.adversarial_pairs == 2
