"""Describes a model as the list of layers that the page's scripts run, and collects its weights."""

from typing import Any

import numpy as np
from torch import nn

from vaegan.model.networks import Head, Upsampling
from vaegan.model.vae import DisentanglingVAE

UNUSED = ("num_batches_tracked", "logvar")  # the page uses the means of the codes


def describe(model: DisentanglingVAE) -> dict[str, Any]:
    """Describes the layers of a model, in order, with the names of their weights.

    Returns:
        JSON values. A layer is ``name``, ``kind`` ("convolution", "upsampling" or "linear"), what
        that needs, ``norm``, the name of the batch normalisation after it, if there is one, and
        ``relu``.

    Raises:
        ValueError: the page cannot run one of the layers.
    """
    config, decoder = model.config, model.decoder
    heads = {"specified": model.encoder.specified, "unspecified": model.encoder.unspecified}
    return {
        "image_shape": list(config.image_shape),
        "dims": [config.specified.dim, config.unspecified.dim],
        "class_count": config.class_count,
        "encoder": _layers([], model.encoder.trunk, "encoder.trunk"),
        "heads": [_head(head, f"encoder.{name}") for name, head in heads.items()],
        "decoder": _layers(
            [{"name": "decoder.linear", "kind": "linear"}], decoder.trunk, "decoder.trunk"
        ),
        "decoder_shape": list(decoder.shape),
        "transport": _transport(model),
    }


def weights(model: DisentanglingVAE) -> dict[str, np.ndarray]:
    """Returns the arrays that the page needs, by their names in the model.

    A head that gives means and variances loses the rows of the variances.
    """
    arrays = {
        name: value.float().cpu().numpy()
        for name, value in model.state_dict().items()
        if name.rpartition(".")[2] not in UNUSED
    }
    for name in ("specified", "unspecified"):
        for part in ("weight", "bias"):
            key = f"encoder.{name}.linear.{part}"
            arrays[key] = arrays[key][: getattr(model.config, name).dim]
    return arrays


def _layers(
    before: list[dict[str, Any]], trunk: nn.Sequential, prefix: str
) -> list[dict[str, Any]]:
    """Appends the layers of a trunk to those before it; a normalisation belongs to the last one."""
    layers = before
    for index, module in trunk.named_children():
        name = f"{prefix}.{index}"
        match module:
            case Upsampling():
                extra = list(module.output_padding)
                layers.append({"name": name, "kind": "upsampling", "extra": extra})
            case nn.Conv2d():
                stride, padding = module.stride[0], module.padding[0]
                layers.append({"name": name, "kind": "convolution"})
                layers[-1] |= {"stride": stride, "padding": padding}
            case nn.BatchNorm2d():
                layers[-1]["norm"] = name
            case nn.ReLU():
                layers[-1]["relu"] = True
            case nn.Flatten():
                pass
            case _:
                raise ValueError(f"the explorer cannot run {name}, a {type(module).__name__}")
    return layers


def _head(head: Head, name: str) -> dict[str, Any]:
    layer = {"name": f"{name}.linear", "kind": "linear"}
    return layer if head.code.variational else layer | {"norm": f"{name}.normalise"}


def _transport(model: DisentanglingVAE) -> dict[str, Any] | None:
    """Names of the linear layers of each coupling; None without a transport."""
    if model.transport is None:
        return None
    return {
        "couplings": [
            [
                f"transport.couplings.{number}.layers.{index}"
                for index, layer in coupling.layers.named_children()  # type: ignore[union-attr]
                if isinstance(layer, nn.Linear)
            ]
            for number, coupling in enumerate(model.transport.couplings)
        ]
    }
