"""Random generators keyed by (seed, purpose, step), so that no state has to be saved."""

import hashlib

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, step: int = 0) -> int:
    """Derives the seed of one stream: the first 63 bits of SHA-256 of (seed, purpose, step).

    A stream does not depend on earlier ones, so a run resumed at step n samples exactly the
    numbers that the uninterrupted run samples there.

    Args:
        seed: The experiment's seed, any integer.
        purpose: Use of the numbers, such as ``"noise"``.
        step: Counter within the purpose, >= 0.

    Returns:
        Integer in [0, 2**63).
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_rng(
    seed: int, purpose: str, step: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """Returns a new torch generator for (seed, purpose, step) on ``device``."""
    rng = torch.Generator(device=device)
    rng.manual_seed(derive_seed(seed, purpose, step))
    return rng


def numpy_rng(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """Returns a new numpy generator for (seed, purpose, step)."""
    return np.random.default_rng(derive_seed(seed, purpose, step))
