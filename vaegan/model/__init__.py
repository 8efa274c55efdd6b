"""The model: configuration, codes, networks and class transport."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaegan.model.vae import DisentanglingVAE

__all__ = ["DisentanglingVAE"]


def __getattr__(name: str) -> Any:
    """Imports the model on first access, since configurations need no torch."""
    if name == "DisentanglingVAE":
        from vaegan.model.vae import DisentanglingVAE

        return DisentanglingVAE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
