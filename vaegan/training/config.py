"""Configuration of the training: section ``train`` of the parameters."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from vaegan.bounds import Count, Device, Rate, Seed, Threads, Weight


@dataclass(frozen=True)
class ObjectiveWeights:
    """Factor of each term in the loss of encoder and decoder; 0 switches the term off.

    Raises:
        ValueError: every weight is 0, or one is negative.
    """

    reconstruction: Weight
    """Squared error of an image decoded from its own codes, summed over pixels."""
    partner: Weight
    """Squared error of an image decoded with the specified code of another image of its class."""
    specified_kl: Weight
    """KL divergence of the specified posterior from the prior N(0, I), nats."""
    unspecified_kl: Weight
    """KL divergence of the unspecified posterior from the prior N(0, I), nats."""
    adversarial: Weight
    """Discriminator loss of images with the style of one image and the identity of another."""
    adversarial_prior: Weight
    """Discriminator loss of images with a style sampled from the prior."""
    confusion: Weight
    """Loss against the critic, which classifies the unspecified code."""
    style_cycle: Weight
    """Distance of a prior style from the code of the image generated with it."""
    cycle: Weight
    """Distance between the styles encoded from two images generated with one prior style."""
    pair_kernel: Weight
    """Kernel similarity of the styles of two images of one class, beyond that of any two."""

    def __post_init__(self) -> None:
        values = asdict(self).values()
        if min(values) < 0 or max(values) == 0:
            raise ValueError(f"got {asdict(self)}, expected weights >= 0, one or more above 0")


@dataclass(frozen=True)
class TransportFitConfig:
    """How to fit the class transport once encoder and decoder are trained."""

    images: Annotated[int, Ge(100)]
    """Training images, at most, whose codes it is fitted to; a stratified choice."""
    images_per_class: Annotated[int, Ge(2)]
    """Training images per class, on average, below which the model gets no transport."""
    steps: Count
    """Updates."""
    batch: Annotated[int, Interval(ge=2, le=1_000_000)]
    """Codes per update, including those that alignment is measured on."""
    lr: Rate
    """Adam's step size at the start; it falls as a cosine."""
    alignment: Weight
    """Weight of the term that gives a change of style one meaning in all classes."""
    changes: Count
    """Changes of style that alignment is measured on."""
    images_per_change: Annotated[int, Interval(ge=2, le=10_000)]
    """Images that each change is applied to."""
    style_changes: Literal["auto", "strokes", "pictures", "none"]
    """Changes: of strokes, of pictures, or none; auto: strokes if the images are grey strokes."""
    mirror: bool
    """Whether a change of pictures may mirror them; not if left and right differ in meaning."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Raises:
        ValueError: the critic, which learns from labels, has a weight where none are known.
    """

    seed: Seed
    """Seed of weights, batches and noise."""
    steps: Count
    """Updates of encoder and decoder; steps, not epochs, so a small data set trains as long."""
    pairs: Annotated[int, Interval(ge=2, le=65_536)]
    """Pairs of images of one class per step; the encoder sees twice as many images."""
    adversarial_share: Annotated[float, Interval(gt=0, le=1)]
    """Share of the pairs that give the images which discriminator and cycle terms need."""
    lr: Rate
    """Adam's peak step size of encoder and decoder; it rises linearly, then falls as a cosine."""
    discriminator_lr: Rate
    """Adam's peak step size of the discriminator."""
    critic_lr: Rate
    """Adam's peak step size of the critic."""
    critic_steps: Annotated[int, Interval(ge=1, le=100)]
    """Updates of the critic per step."""
    supervision: Literal["labels", "pairs"]
    """Knowledge about training images: their classes, or only that those of a pair share one."""
    mismatched: bool
    """Whether the discriminator is also shown real images of another identity as fakes."""
    real_target: Annotated[float, Interval(gt=0.5, le=1)]
    """The discriminator's target for real images; below 1 is one-sided label smoothing."""
    warmup_steps: Annotated[int, Ge(0)]
    """Steps over which the step sizes rise."""
    report_every: Count
    """Steps between reports; each has a point of the curves, a sample grid and a checkpoint."""
    device: Device
    """Device to train on; auto: CUDA, else Apple's GPU if it works, else the CPU."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Precision of convolutions; auto: bfloat16 on hardware with instructions for it."""
    threads: Threads
    """CPU threads of the process; another number rounds differently, so there is no auto."""
    weights: ObjectiveWeights
    """Factor of each term of the objective."""
    transport: TransportFitConfig
    """How to fit the class transport."""

    @property
    def adversarial_pairs(self) -> int:
        """Number of these pairs, two or more."""
        return max(2, round(self.adversarial_share * self.pairs))

    def __post_init__(self) -> None:
        if self.supervision == "pairs" and self.weights.confusion:
            raise ValueError(
                f"got weights.confusion: {self.weights.confusion}, expected 0 with supervision: "
                "pairs, as its critic needs labels"
            )
