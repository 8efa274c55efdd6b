"""Trainers of small models in every variant that has to train, and what tests ask of them."""

import dataclasses

import pytest
import torch
from torch import Tensor

from vaegan.model.config import CodeConfig
from vaegan.rng import torch_rng
from vaegan.training.generation import DiscriminatorLogits, EncodedBatch
from vaegan.training.trainer import Trainer

Generated = tuple[EncodedBatch, dict[str, Tensor], DiscriminatorLogits | None]


@pytest.fixture(params=["both sampled", "shared variance", "plain style", "plain identity"])
def model_config(request, model_config):
    """The variants that have to train: each code with a variance, one for all, or without."""
    change = {
        "both sampled": {},
        "shared variance": {"unspecified": CodeConfig(3, True, shared_variance=True)},
        "plain style": {"unspecified": CodeConfig(3, False, False)},
        "plain identity": {"specified": CodeConfig(5, False, False)},
    }[request.param]
    return dataclasses.replace(model_config, **change)


@pytest.fixture
def trainer(model_config, training_config, bars) -> Trainer:
    return Trainer(model_config, training_config, bars)


def generated(trainer: Trainer) -> Generated:
    """The next step's batch, generated images and logits; no player moves."""
    rng = torch_rng(trainer.config.seed, "batch", trainer.step, trainer.device)
    batch, images = trainer._generate(rng)
    return batch, images, trainer._discriminate(batch, images)


def snapshot(trainer: Trainer, name: str) -> dict[str, Tensor]:
    """Parameters and buffers of a player, copied."""
    return {
        f"{index}/{key}": value.clone()
        for index, module in enumerate(trainer.players[name].modules)
        for key, value in module.state_dict().items()
    }


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}
