"""The model: encode, decode, reconstruct, swap, sample; save and load."""

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from vaegan.model.codes import Codes, Posterior
from vaegan.model.config import ModelStructure
from vaegan.model.networks import Decoder, Encoder
from vaegan.model.transport import ClassTransport

WEIGHTS_FILE = "weights.safetensors"
CONFIG_FILE = "model.json"
FORMAT = 2  # version of CONFIG_FILE; 1 had no digest of the weights


class DisentanglingVAE(nn.Module):
    """Encoder, decoder and, optionally, a class transport between them.

    ``encoder`` and ``decoder`` are trained without the transport; ``encode`` and ``decode``
    apply it.

    Methods that take images expect float32 (B, C, H, W) in [0, 1] on the model's device and use
    the means of the posteriors. They run in the model's present mode; :meth:`load` returns a
    model in eval mode.
    """

    def __init__(self, config: ModelStructure) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.transport = None
        if config.transport.layers:
            dims = config.specified.dim, config.unspecified.dim
            self.transport = ClassTransport(*dims, config.class_count, config.transport)

    def encode(self, images: Tensor) -> Codes:
        """Returns the posteriors of both codes, after the class transport if there is one.

        Raises:
            ValueError: the images are not (B, C, H, W) of the model's image shape.
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
        """Decodes codes (B, S) and (B, Z), as of :meth:`encode`, to images in [0, 1]."""
        if self.transport is not None:
            unspecified = self.transport.restore_style(specified, unspecified)
        return self.decoder(specified, unspecified)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Decodes each image from the means of its own codes, (B, C, H, W) in [0, 1]."""
        return self.swap(images, images)

    def swap(self, identities: Tensor, styles: Tensor) -> Tensor:
        """Generates the identity of each image of the first batch in a style of the second.

        Row i of the result combines row i of both.
        Swapping an image with itself is its reconstruction.
        """
        return self.decode(
            self.encode(identities).specified.mean, self.encode(styles).unspecified.mean
        )

    def sample(self, identities: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Generates each image's identity in a style sampled from the prior N(0, I).

        An unspecified code that is not variational was not trained towards the prior; only the
        ``adversarial_prior`` term makes such images realistic.
        """
        specified = self.encode(identities).specified.mean
        shape = len(specified), self.config.unspecified.dim
        noise = torch.randn(shape, generator=rng, device=specified.device, dtype=specified.dtype)
        return self.decode(specified, noise)

    def save(self, folder: Path, about: dict[str, Any] | None = None) -> None:
        """Writes ``weights.safetensors`` and ``model.json`` (structure and ``about``) to a folder.

        Args:
            folder: Created if it does not exist.
            about: Further facts about the model, as JSON values.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # Contiguous, since safetensors stores no channels-last layout.
        weights = {name: value.contiguous().cpu() for name, value in self.state_dict().items()}
        # Not save_file, which writes files that only their owner can read.
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
        """Loads a model that :meth:`save` wrote; the files contain no code.

        Returns:
            The model in eval mode on ``device``, without gradients.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or the files belong to different models.
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
    """Reads ``model.json``: ``structure``, ``weights_sha256`` and ``about``.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not JSON of this format.
    """
    path = folder / CONFIG_FILE
    try:
        text = json.loads(path.read_text())
        if text["format"] != FORMAT:
            raise ValueError(f"format {text['format']}, expected {FORMAT}")
        return {name: text[name] for name in ("structure", "weights_sha256", "about")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe a model: {error}") from error


def read_config(folder: Path) -> ModelStructure:
    """Reads the structure of a model from ``model.json``.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_description`.
    """
    try:
        return ModelStructure.from_dict(read_description(folder)["structure"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / CONFIG_FILE} does not describe a model: {error}") from error


def weights_digest(folder: Path) -> str:
    """Returns the SHA-256 of a model's weights file, in hexadecimal; it identifies the model."""
    with (folder / WEIGHTS_FILE).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
