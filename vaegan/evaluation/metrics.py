"""The metrics."""

# The metrics that matter first: in metrics.json, and so in tables of experiments, in this order.
FIRST_METRICS: tuple[str, ...] = (
    "leakage/mean",
    "leakage/posterior",
    "leakage/sampled",
    "specified/probe_accuracy",
    "swap/identity_accuracy",
    "swap/prior_identity_accuracy",
    "swap/style_kept_slant",
    "swap/style_kept_thickness",
    "swap/style_kept_width",
    "reconstruction/mse",
    "specified/style_r2",
    "latent/active_units",
    "latent/kl",
)
