"""Names under which MLflow keeps a run's curves and results, so that its page shows curves first.

The page *Model metrics* has a section for what precedes the slash of a name, in alphabetical order,
and sections of names without a slash come last. So a curve gets the group below before its name,
and of the results only the headlines become metrics: the rest exists once and is in the run's
artifact ``metrics.json``.
"""

from typing import Any

from vaegan.evaluation.metrics import HEADLINES, described_keys

CURVES = {
    "curves 1 images": ("partner_loss", "reconstruction_loss"),
    "curves 2 codes": (
        "specified_kl_loss", "unspecified_kl_loss", "cycle_loss", "style_cycle_loss",
        "pair_kernel_loss",
    ),
    "curves 3 discriminator": (
        "adversarial_loss", "adversarial_prior_loss", "discriminator_loss",
        "discriminator_accuracy",
    ),
    "curves 4 critic": ("confusion_loss", "critic_loss", "critic_accuracy"),
    "curves 5 training": ("generator_loss", "lr", "images_per_second"),
}  # fmt: skip
NAMES = {name: f"{group}/{name}" for group, names in CURVES.items() for name in names}
SAMPLES = "curves 1 images/samples"  # the grid of sample images


def logged(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics of a training step by the names that the store keeps them under."""
    return {NAMES.get(name, name): value for name, value in metrics.items()}


def headlines(results: dict[str, Any]) -> dict[str, float]:
    """The results that people compare, in the order of the table METRICS."""
    return {key: float(results[key]) for key, _ in described_keys(HEADLINES, results)}
