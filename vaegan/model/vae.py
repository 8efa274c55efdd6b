"""The trained thing a user holds: encode, decode, reconstruct, swap, sample; save and load."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from vaegan.model.codes import Codes, Posterior
from vaegan.model.config import ModelConfig
from vaegan.model.networks import Decoder, Encoder
from vaegan.model.transport import ClassTransport

WEIGHTS_FILE = "weights.safetensors"
CONFIG_FILE = "model.json"
FORMAT = 2  # of CONFIG_FILE; 1 had no digest of the weights


class DisentanglingVAE(nn.Module):
    """Encoder and decoder together: the generator, once its adversaries are gone.

    With a class transport between them: ``encoder`` and ``decoder`` play the adversarial game
    without it, ``encode`` and ``decode`` are what a user calls.

    Methods that take images want float32 (B, C, H, W) in [0, 1] on the model's device,
    and use the means of the posteriors unless they are given a generator to sample with.
    They run in whatever mode the model is in; :meth:`load` returns one in eval mode.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.transport = None
        if config.transport is not None:
            dims = config.specified.dim, config.unspecified.dim
            self.transport = ClassTransport(*dims, config.class_count, config.transport)

    def encode(self, images: Tensor) -> Codes:
        """Posteriors of both codes, after the class transport if there is one.

        Raises:
            ValueError: the images are not (B, C, H, W) of the model's own image shape.
        """
        if tuple(images.shape[1:]) != self.config.image_shape:
            raise ValueError(
                f"this model takes images (B, {', '.join(map(str, self.config.image_shape))}), "
                f"got {tuple(images.shape)}"
            )
        codes = self.encoder(images)
        if self.transport is None:
            return codes
        s, z = self.transport.separate(codes.specified.mean, codes.unspecified.mean)
        return Codes(Posterior(s, codes.specified.logvar), Posterior(z, codes.unspecified.logvar))

    def decode(self, specified: Tensor, unspecified: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] from specified (B, S) and unspecified (B, Z) codes."""
        if self.transport is not None:
            unspecified = self.transport.restore_style(specified, unspecified)
        return self.decoder(specified, unspecified)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Each image drawn again from the means of its own codes, (B, C, H, W) in [0, 1]."""
        return self.swap(images, images)

    def swap(self, identities: Tensor, styles: Tensor) -> Tensor:
        """What image i of ``identities`` shows, in the style of image i of ``styles``.

        Swapping an image with itself is its reconstruction.
        """
        return self.decode(
            self.encode(identities).specified.mean, self.encode(styles).unspecified.mean
        )

    def sample(self, identities: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """What each image shows, in a style drawn from the prior N(0, I).

        For a model whose unspecified code is not variational there is no prior that it was
        pulled to, and the images are as good as its adversary made them.
        """
        specified = self.encode(identities).specified.mean
        shape = len(specified), self.config.unspecified.dim
        noise = torch.randn(shape, generator=rng, device=specified.device, dtype=specified.dtype)
        return self.decode(specified, noise)

    def save(self, folder: Path, about: dict[str, Any] | None = None) -> None:
        """Writes ``weights.safetensors`` and ``model.json`` (structure and ``about``) in a folder.

        Args:
            folder: Made if it does not exist.
            about: What should travel with the model, as JSON values.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # Contiguous: safetensors keeps values, not the channels-last layout of training.
        weights = {name: value.contiguous().cpu() for name, value in self.state_dict().items()}
        # Not save_file, which makes files that only their owner can read.
        content = safetensors.torch.save(weights)
        (folder / WEIGHTS_FILE).write_bytes(content)
        text = {
            "format": FORMAT,
            "structure": self.config.to_dict(),
            "weights_sha256": hashlib.sha256(content).hexdigest(),
            "about": about or {},
        }
        (folder / CONFIG_FILE).write_text(json.dumps(text, indent=2, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> "DisentanglingVAE":
        """Reads what :meth:`save` wrote; no code in the files is ever run.

        Returns:
            The model in eval mode on ``device``, its weights not to be trained on.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or the two do not belong together.
        """
        model = cls(read_config(folder))
        path = folder / WEIGHTS_FILE
        expected, found = read_description(folder)["weights_sha256"], weights_digest(folder)
        if found != expected:
            raise ValueError(
                f"{path} is damaged, or of another model than {CONFIG_FILE}: its SHA-256 is "
                f"{found}, expected {expected}"
            )
        try:
            model.load_state_dict(safetensors.torch.load_file(path))
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
        except RuntimeError as error:
            raise ValueError(
                f"{path} holds the weights of another structure than {CONFIG_FILE}: {error}"
            ) from error
        return model.to(device).eval().requires_grad_(False)


def read_description(folder: Path) -> dict[str, Any]:
    """The content of ``model.json``: structure, digest of the weights, what is told ``about`` it.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not JSON of this format.
    """
    path = folder / CONFIG_FILE
    try:
        text = json.loads(path.read_text())
        if text["format"] != FORMAT:
            raise ValueError(f"format {text['format']}, expected {FORMAT}")
        return {name: text[name] for name in ("structure", "weights_sha256", "about")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe a model: {error}") from error


def read_config(folder: Path) -> ModelConfig:
    """The structure that ``model.json`` describes.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_description`.
    """
    try:
        return ModelConfig.from_dict(read_description(folder)["structure"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG_FILE} does not describe a model: {error}") from error


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights file in a model's folder, in hexadecimal: its name by content."""
    with (folder / WEIGHTS_FILE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
