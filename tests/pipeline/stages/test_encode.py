"""The stage encode refuses codes that are no numbers."""

from types import SimpleNamespace

import pytest
import torch

from pipeline.stages.encode import encode_split
from vaegan.model.codes import Codes, Posterior


def test_a_code_that_is_not_finite_stops_and_names_the_image(bars):
    def encode(images: torch.Tensor) -> Codes:
        mean = images.flatten(1)[:, :2].clone()
        mean[3, 1] = float("nan")
        return Codes(Posterior(images.flatten(1)[:, :2]), Posterior(mean))

    batches = encode_split(SimpleNamespace(encode=encode), bars, 100, torch.device("cpu"))
    with pytest.raises(FloatingPointError, match="unspecified_mean of image 3 is not finite"):
        next(batches)
