"""Configuration of the stages themselves: section ``encode`` of the parameters."""

from dataclasses import dataclass

from vaegan.bounds import Count, Device, Threads


@dataclass(frozen=True)
class EncodeConfig:
    """How to encode the data set."""

    batch_size: Count
    """Images per pass."""
    device: Device
    """Device to encode on; auto: CUDA, else Apple's GPU if it works, else the CPU."""
    threads: Threads
    """CPU threads."""
