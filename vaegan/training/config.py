"""Configuration of the training."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ObjectiveWeights:
    """The factor of each term in the loss of encoder and decoder; 0 switches a term off.

    Attributes:
        reconstruction: Squared error of an image drawn from its own codes.
        partner: Squared error of an image drawn from its own style and the specified
            code of another image of its class.
        specified_kl: KL of the specified posterior from N(0, I), nats.
        unspecified_kl: KL of the unspecified posterior from N(0, I), nats.
        adversarial: Discriminator, on images with the style of another image.
        adversarial_prior: Discriminator, on images with a style drawn from the prior.
        confusion: Critic that guesses the class from the unspecified code.
        style_cycle: Distance of a prior style from what is encoded of the image drawn from it.
        cycle: Distance between what is encoded of two images of one prior style.
        pair_kernel: Likeness of the styles of images of one class, beyond that of any two.

    Raises:
        ValueError: every weight is 0, or one is negative.
    """

    reconstruction: float
    partner: float
    specified_kl: float
    unspecified_kl: float
    adversarial: float
    adversarial_prior: float
    confusion: float
    style_cycle: float
    cycle: float
    pair_kernel: float

    def __post_init__(self) -> None:
        values = asdict(self).values()
        if min(values) < 0 or max(values) == 0:
            raise ValueError(f"weights must be >= 0 and one of them > 0, got {asdict(self)}")


@dataclass(frozen=True)
class TransportTraining:
    """How a class transport is fitted.

    Attributes:
        images: Training images, at most, whose codes it is fitted to.
        steps: Updates, >= 1.
        batch: Codes per update, those among them that alignment is measured on.
        lr: Adam's step size at the start; it falls as a cosine.
        alignment: Weight of the term that has a change of style mean one thing in all classes.
        changes: Changes of style that it is measured on, >= 1.
        images_per_change: Images that each of them is tried on, >= 2.
        seed: Of weights and batches.
        precision: ``"float32"`` or ``"bfloat16"``, in which the layers of the couplings are
            computed while it is fitted; weights and losses stay float32.
    """

    images: int
    steps: int
    batch: int
    lr: float
    alignment: float
    changes: int
    images_per_change: int
    seed: int
    precision: str = "float32"


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        seed: Of every random stream.
        steps: Updates of encoder and decoder, >= 1.
        pairs: Pairs of images per step; the encoder sees twice as many images.
        lr: Adam's step size of encoder and decoder at its highest.
        discriminator_lr: That of the discriminator.
        critic_lr: That of the critic.
        critic_steps: Updates of the critic per step, >= 1.
        warmup_steps: Steps over which the step sizes rise linearly from 0.
        report_every: Steps between reports.
        precision: ``"float32"`` or ``"bfloat16"`` (autocast; weights and losses stay float32).
        weights: Of the terms.
        classes_known: Whether labels are used, or only that the images of a pair are of one class.
        mismatched: Whether the discriminator is shown real images of another identity as fakes.
        real_target: What it should say of real images, in (0, 1].
        transport: How to fit the class transport of a model that has one.

    Raises:
        ValueError: the critic, which learns from labels, is asked for where none are known.
    """

    seed: int
    steps: int
    pairs: int
    lr: float
    discriminator_lr: float
    critic_lr: float
    critic_steps: int
    warmup_steps: int
    report_every: int
    precision: str
    weights: ObjectiveWeights
    classes_known: bool = True
    mismatched: bool = True
    real_target: float = 1.0
    transport: TransportTraining | None = None

    def __post_init__(self) -> None:
        if self.weights.confusion and not self.classes_known:
            raise ValueError("confusion needs a critic, which learns from labels: 0 without them")
