"""The parameters of the pipeline: models of ``params.yaml``, and its only reader.

``python -m pipeline check`` checks the file and says so; ``--schema`` prints its JSON
schema; ``--mark FILE`` writes a constant file for DVC's stage ``check``.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

PARAMS_FILE = Path("params.yaml")

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Rate = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Device = Literal["auto", "cpu", "cuda"]


class ParamsError(ValueError):
    """``params.yaml`` is not usable; the message has one line per fault."""


class Section(BaseModel):
    """Strict, frozen, finite, and closed to unknown keys."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class PrepareParams(Section):
    """Which images to learn from."""

    dataset: Literal["mnist", "fashion_mnist", "kmnist", "digits"]
    """Data set by name; digits is scikit-learn's embedded one and needs no download."""
    fallback: Literal["digits", "none"]
    """What to take when the data set is neither on disk nor reachable; none: an error."""
    download_timeout: Annotated[float, Field(gt=0, le=3600)]
    """Seconds without a new byte after which a download is given up."""
    validation_size: Annotated[int, Field(ge=0)]
    """Training images held out, to choose parameters by without looking at test images."""


class CodeParams(Section):
    """One of the two codes."""

    dim: Annotated[int, Field(ge=1, le=4096)]
    """Dimensions of the code."""
    variational: bool
    """Whether the code has a mean and a variance and is sampled, or is taken as it is."""
    shared_variance: bool
    """Whether all images share one learned variance per dimension, or each has its own."""


class TransportParams(Section):
    """Size of the class transport, which takes the class out of the unspecified code."""

    layers: Annotated[int, Field(ge=0, le=64, multiple_of=2)]
    """Coupling layers; 0 for no transport."""
    hidden: Annotated[int, Field(ge=1, le=4096)]
    """Units in the hidden layers of a coupling."""


class ModelParams(Section):
    """Structure of encoder and decoder."""

    base_channels: Annotated[int, Field(ge=1, le=1024)]
    """Feature maps of the first convolution; they double in each next one."""
    specified: CodeParams
    """The code of what is shown."""
    unspecified: CodeParams
    """The code of how it looks."""
    transport: TransportParams
    """The map that takes the class out of the latter."""

    @model_validator(mode="after")
    def _noise_is_the_same_for_all(self) -> Self:
        style = self.unspecified
        if self.transport.layers and style.variational and not style.shared_variance:
            raise PydanticCustomError(
                "transport",
                "0 with a variance of each image's own, which the transport leaves alone and which "
                "tells the class, or model.unspecified.shared_variance: true",
            )
        return self


class WeightParams(Section):
    """Factor of each term of the objective; 0 switches the term off."""

    reconstruction: Weight
    """Squared error of an image drawn from its own codes, summed over pixels."""
    partner: Weight
    """The same with the specified code of another image of its class."""
    specified_kl: Weight
    """KL of the specified posterior from the prior, nats."""
    unspecified_kl: Weight
    """KL of the unspecified posterior from the prior, nats."""
    adversarial: Weight
    """Discriminator, on images with the style of one image and the identity of another."""
    adversarial_prior: Weight
    """Discriminator, on images with a style drawn from the prior."""
    confusion: Weight
    """Critic that guesses the class from the unspecified code."""
    style_cycle: Weight
    """Distance of a prior style from what is encoded of the image drawn from it."""
    cycle: Weight
    """Distance between what is encoded of two images of one prior style."""
    pair_kernel: Weight
    """Likeness of the styles of images of one class, beyond that of any two."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not any(flat(self).values()):
            raise PydanticCustomError("all_zero", "one weight or more above 0")
        return self


class TransportFitParams(Section):
    """How to fit the class transport, once encoder and decoder are trained."""

    images: Annotated[int, Field(ge=100)]
    """Training images, at most, whose codes it is fitted to; a stratified choice."""
    steps: Count
    """Updates."""
    batch: Annotated[int, Field(ge=2, le=1000000)]
    """Codes per update."""
    lr: Rate
    """Adam's step size at the start."""
    alignment: Weight
    """Weight of the term that has a change of style mean one thing in all classes."""
    changes: Count
    """Changes of style that it is measured on."""
    images_per_change: Annotated[int, Field(ge=2, le=10000)]
    """Images that each change is tried on."""


class TrainParams(Section):
    """How to train."""

    seed: Seed
    """Seed of weights, batches and noise."""
    steps: Count
    """Updates of encoder and decoder; steps, not epochs, so a small data set trains as long."""
    pairs: Annotated[int, Field(ge=2, le=65536)]
    """Pairs of images of one class in each step."""
    lr: Rate
    """Adam's step size of encoder and decoder at its highest; it rises, then falls as a cosine."""
    discriminator_lr: Rate
    """The same for the discriminator."""
    critic_lr: Rate
    """The same for the critic."""
    critic_steps: Annotated[int, Field(ge=1, le=100)]
    """Updates of the critic in each step."""
    supervision: Literal["labels", "pairs"]
    """What is known of a training image: its class, or only that the two of a pair are of one."""
    mismatched: bool
    """Whether the discriminator is also shown real images of another identity as fakes."""
    real_target: Annotated[float, Field(gt=0.5, le=1)]
    """What the discriminator is to say of a real image; below 1 it is never quite sure."""
    warmup_steps: Annotated[int, Field(ge=0)]
    """Steps over which the step sizes rise."""
    report_every: Count
    """Steps between reports; each has a point of the curves, a sample grid and a checkpoint."""
    device: Device
    """Where to train; auto: a CUDA device if there is one."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Of convolutions; auto: bfloat16 on processors with instructions for it, else float32."""
    threads: Threads
    """CPU threads; another number gives other rounding, so it never follows the machine."""
    weights: WeightParams
    """Factor of each term of the objective."""
    transport: TransportFitParams
    """How to fit the class transport."""

    @model_validator(mode="after")
    def _asks_no_labels_where_none_are_known(self) -> Self:
        if self.supervision == "pairs" and self.weights.confusion:
            raise PydanticCustomError(
                "labels", "weights.confusion: 0 with supervision: pairs, as its critic needs labels"
            )
        return self


class EncodeParams(Section):
    """How to encode the data set."""

    batch_size: Count
    """Images per pass."""
    device: Device
    """Where to encode."""
    threads: Threads
    """CPU threads."""


class ClassifierParams(Section):
    """How to train the classifier, a classifier of real images by which drawn ones are judged."""

    seed: Seed
    """Seed of its weights and batches."""
    steps: Count
    """Batches of 128 images."""
    device: Device
    """Where to train it."""
    threads: Threads
    """CPU threads."""


class GateParams(Section):
    """What a model must reach to become the champion of its data set."""

    transfer: Annotated[float, Field(ge=0, le=1)]
    """Share of swaps that show the identity asked for (swap/identity_accuracy), at least."""
    specified: Annotated[float, Field(ge=0, le=1)]
    """Accuracy of a linear probe of the specified code (specified/probe_accuracy), at least."""
    leakage: Annotated[float, Field(ge=0, le=1)]
    """Accuracy of the strongest probe of the style's means (leakage/mean), at most."""


class EvaluateParams(Section):
    """How to judge a model."""

    seed: Seed
    """Seed of the probes and of the choice of swaps."""
    split: Literal["test", "validation"]
    """Which images are judged by; validation: those that prepare.validation_size held out."""
    test_images: Annotated[int, Field(ge=100)]
    """Images of the split, at most, that all is measured on; a stratified choice."""
    probe_images: Annotated[int, Field(ge=100)]
    """Training codes, at most, that probes are fitted on; likewise."""
    swaps: Annotated[int, Field(ge=100)]
    """Swapped images of each kind that are drawn to be judged."""
    degenerate_below: Annotated[float, Field(ge=0, le=1)]
    """Identity transfer below which a model is called degenerate, in words."""
    gates: GateParams
    """What a champion must reach."""
    champion_by: Literal["leakage/mean", "swap/identity_accuracy", "reconstruction/mse"]
    """The metric in which it must be better than the champion before it."""
    device: Device
    """Where to draw and judge images."""
    threads: Threads
    """CPU threads."""


class VisualizeParams(Section):
    """How to draw the figures."""

    seed: Seed
    """Seed of the t-SNE and of which images are shown."""
    grid_images: Annotated[int, Field(ge=1, le=400)]
    """Images in the original and the generated grid."""
    swap_styles: Annotated[int, Field(ge=1, le=20)]
    """Rows of the swap grid."""
    sweep_steps: Annotated[int, Field(ge=2, le=41)]
    """Positions from -3 to 3 standard deviations in each row of the style sweep."""
    tsne_images: Annotated[int, Field(ge=50, le=10000)]
    """Test images in the t-SNE, at most."""
    tsne_perplexity: Annotated[float, Field(gt=1, le=500)]
    """Perplexity of the t-SNE; lowered to a third of the images where there are few."""
    threads: Threads
    """CPU threads."""


class Params(Section):
    """The whole of ``params.yaml``: one section per stage, and one for the model."""

    prepare: PrepareParams
    model: ModelParams
    train: TrainParams
    encode: EncodeParams
    classifier: ClassifierParams
    evaluate: EvaluateParams
    visualize: VisualizeParams

    @model_validator(mode="after")
    def _judges_by_images_that_are_there(self) -> Self:
        if self.evaluate.split == "validation" and not self.prepare.validation_size:
            raise PydanticCustomError(
                "no_validation",
                "evaluate.split: got 'validation', expected 'test' as long as "
                "prepare.validation_size is 0",
            )
        return self


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Reads and checks a parameters file, YAML 1.2 as DVC writes it.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds a wrong, missing or unknown
            key; one line per fault, each with the key, its value and what is allowed.
    """
    return checked(read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file.

    Raises:
        ParamsError: the file is missing or is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text())
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ParamsError(f"{path}: is not YAML: {text}") from error


def checked(content: Any, path: Path) -> Params:
    """Parameters from the content of a file, checked.

    Args:
        content: Nested mappings.
        path: Where it is from, for the message.

    Raises:
        ParamsError: as :func:`load_params`.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = [f"{path}: {_fault(fault)}" for fault in error.errors()]
        raise ParamsError("\n".join(lines)) from error


def _fault(fault: Any) -> str:
    """One line on one fault of pydantic's: key, value, what is allowed."""
    key = ".".join(map(str, fault["loc"])) or "the whole file"
    if fault["type"] == "missing":
        return f"{key}: is missing"
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key (value {_short(fault['input'])}); remove it or mend its name"
    if fault["type"] == "no_validation":
        return str(fault["msg"])
    allowed = fault["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{key}: got {_short(fault['input'])}, expected {allowed}{_field_help(fault['loc'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _field_help(location: tuple[Any, ...]) -> str:
    """The description of the field at a location, in brackets; nothing where there is none."""
    model: Any = Params
    description = None
    for name in location:
        info = getattr(model, "model_fields", {}).get(name)
        if info is None:
            return ""
        model, description = info.annotation, info.description
    return f" ({description})" if description else ""


def flat(params: BaseModel, prefix: str = "") -> dict[str, Any]:
    """All values by dotted key, such as ``train.weights.partner``, in the order of the file."""
    values: dict[str, Any] = {}
    for name in type(params).model_fields:
        value = getattr(params, name)
        if isinstance(value, BaseModel):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, or 1 after one line per fault on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pipeline check", description=__doc__)
    parser.add_argument("--schema", action="store_true", help="print the JSON schema and stop")
    parser.add_argument("--mark", type=Path, metavar="FILE", help="write a constant file if valid")
    options = parser.parse_args(arguments)
    if options.schema:
        print(json.dumps(Params.model_json_schema(), indent=2))
        return 0
    try:
        params = load_params()
    except ParamsError as error:
        print(error, file=sys.stderr)
        return 1
    if options.mark:
        options.mark.parent.mkdir(parents=True, exist_ok=True)
        options.mark.write_text("valid\n")
    print(f"{PARAMS_FILE} is valid: {len(flat(params))} values")
    return 0


if __name__ == "__main__":
    sys.exit(main())
