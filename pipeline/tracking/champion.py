"""Chooses the champion of each data set: the best registered version that passes the gates.

``python -m pipeline champion`` lists the versions with the decision on each; ``--set N`` moves the
alias by hand, for instance back to the previous version. A version that missed a gate, or was never
evaluated, is refused; ``--force`` sets it, and records what spoke against it.
"""

import argparse
import json
import math
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)

from pipeline.artifacts.paths import repository
from pipeline.tracking import registry
from pipeline.tracking.registry import DATASET_TAG, NAME, version_of
from pipeline.tracking.store import connect, one_line, reason
from vaegan.evaluation.metrics import CHAMPION_METRICS

ALIAS = "champion"  # on the main data set; on others with a suffix, such as champion-digits
MAIN_DATASET = "mnist"
SCORES_TAG, REASON_TAG, FORCED_TAG = "judged", "champion", "champion.forced"
WORDS = ("verdict", "gates", "split")  # of the results, that decide on a promotion by hand
TEST, PASSED, SOUND = "test", "passed", "sound"
NO_VERSION = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}
# Metrics by which a champion may be chosen; true if lower is better.
CHOOSABLE = {metric.key: metric.better == "lower" for metric in CHAMPION_METRICS}


@dataclass(frozen=True)
class Evaluation:
    """The part of ``reports/metrics.json`` that decides on a champion.

    Attributes:
        dataset: Name of the data set.
        split: Images that the metrics were measured on.
        protocol: Digest of how they were measured; only equal ones are compared.
        failed_gate: The first gate that was missed, as a sentence; None if all were passed.
        chosen_by: The metric in which a champion must be better than the previous one.
        scores: Value of each metric that may choose a champion; None where it is missing.
    """

    dataset: str
    split: str
    protocol: str
    failed_gate: str | None
    chosen_by: str
    scores: dict[str, float | None]

    @classmethod
    def from_results(cls, results: dict[str, Any]) -> Self:
        """Reads the content of ``reports/metrics.json``."""
        return cls(
            results["dataset"],
            results["split"],
            results["protocol"],
            None if results["gates"] == PASSED else results["gates"],
            results["champion_by"],
            {name: results.get(name) for name in CHOOSABLE},
        )


def alias(dataset: str) -> str:
    """Alias of a data set's champion; each data set has its own."""
    return ALIAS if dataset == MAIN_DATASET else f"{ALIAS}-{registry.alias_word(dataset)}"


def consider(digest: str, results: dict[str, Any]) -> str | None:
    """Makes a model's version the champion of its data set if it passes and is the best.

    The decision and its reason are kept in the version's tag ``champion``.

    Args:
        digest: Digest of the model's weights.
        results: The content of ``reports/metrics.json``.

    Returns:
        The decision as a sentence; None if no version has these weights.
    """
    client, mine = MlflowClient(), version_of(digest)
    if mine is None:
        return None
    evaluation = Evaluation.from_results(results)
    dataset, by = evaluation.dataset, evaluation.chosen_by
    # One at a time: of two models that are considered at once, the better one ends as champion.
    with FileLock(repository() / "mlruns" / ".champion.lock"):
        champion = champion_of(dataset)
        refusal = _refusal(mine, champion, evaluation)
        if champion is not None and champion.version == mine.version:
            if refusal is not None:
                return f"version {mine.version} stays the champion of {dataset}, though {refusal}"
            # It may have been measured anew, by another protocol.
            score = f"{by} {evaluation.scores[by]:.4f}"
            reason = champion.tags.get(REASON_TAG, f"champion of {dataset}")
            decision = re.sub(r"[a-z_]+/[a-z_]+ [\d.]+$", score, reason)
        elif refusal is None:
            after = "" if champion is None else f", after version {champion.version}"
            decision = f"champion of {dataset}{after}: {by} {evaluation.scores[by]:.4f}"
        else:
            decision = f"not champion: {refusal}"
        # The alias comes last, so a champion always has its scores.
        scores = json.dumps({"protocol": evaluation.protocol} | evaluation.scores)
        words = {name: results[name] for name in WORDS if name in results}
        for tag, value in (words | {SCORES_TAG: scores, REASON_TAG: decision}).items():
            client.set_model_version_tag(NAME, mine.version, tag, value)
        if refusal is None:
            client.set_registered_model_alias(NAME, alias(dataset), mine.version)
    return f"version {mine.version}: {decision}"


def champion_of(dataset: str) -> ModelVersion | None:
    """Returns the champion of a data set, None if there is none."""
    client = MlflowClient()
    try:
        aliases = client.get_registered_model(NAME).aliases
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise  # a store that fails to answer does not mean that there is no champion
    number = aliases.get(alias(dataset))
    return None if number is None else client.get_model_version(NAME, str(number))


def _refusal(
    mine: ModelVersion, champion: ModelVersion | None, evaluation: Evaluation
) -> str | None:
    """Returns why a version does not become champion, None if it does."""
    by, value = evaluation.chosen_by, evaluation.scores[evaluation.chosen_by]
    if evaluation.split != TEST:
        return f"it was evaluated on {evaluation.split} images"
    if evaluation.failed_gate is not None:
        return evaluation.failed_gate
    if value is None or not math.isfinite(value):
        return f"{by} is {value}, expected a number"
    if champion is None or champion.version == mine.version:
        return None
    try:
        record = json.loads(champion.tags[SCORES_TAG])
        protocol, theirs = record["protocol"], float(record[by])
    except (KeyError, TypeError, ValueError):
        obstacle = f"has no {by} to compare with"
    else:
        if protocol == evaluation.protocol:
            if value < theirs if CHOOSABLE[by] else value > theirs:
                return None
            return f"{by} {value:.4f} is no better than {theirs:.4f} of version {champion.version}"
        obstacle = "was evaluated by another protocol"
    return (
        f"version {champion.version}, the champion, {obstacle}; to let this one take its place: "
        f"python -m pipeline champion --set {mine.version}"
    )


def promote(number: str, force: bool = False) -> tuple[str, str | None]:
    """Makes a version champion of its data set by hand.

    Args:
        number: Of the version.
        force: Whether to promote it against objections, which its tag ``champion.forced`` records.

    Returns:
        A sentence that says so, and the objections, None if there were none.

    Raises:
        ValueError: there is no such version, its data set is unknown, it cannot be loaded, or
            there are objections.
    """
    client = MlflowClient()
    try:
        version = client.get_model_version(NAME, number)
    except MlflowException as error:
        if error.error_code not in NO_VERSION:
            raise
        known = ", ".join(str(version.version) for version in registry.list_versions()[:20])
        raise ValueError(
            f"--set: got {number}, expected a version of {NAME}: {known or 'there is none yet'}"
        ) from error
    dataset = version.tags.get(DATASET_TAG)
    if dataset is None:
        raise ValueError(f"version {number} of {NAME} does not say its data set")
    try:
        fault = registry.damage(version)
        if fault is None:
            registry.load(f"models:/{NAME}/{number}")
    except Exception as error:
        fault = reason(error)
    if fault is not None:
        raise ValueError(
            f"version {number} cannot be loaded ({fault}): python -m pipeline track restores it if "
            "a copy of its model is on disk"
        )
    objections = "; ".join(_objections(version)) or None
    if objections and not force:
        raise ValueError(
            f"version {number} is not made champion of {dataset}: {objections}. "
            f"python -m pipeline champion --set {number} --force does it all the same"
        )
    decision = f"champion of {dataset}, set by hand"
    if objections:
        decision += f" with --force, although {objections}"
        client.set_model_version_tag(NAME, number, FORCED_TAG, objections)
    elif FORCED_TAG in version.tags:
        client.delete_model_version_tag(NAME, number, FORCED_TAG)
    client.set_model_version_tag(NAME, number, REASON_TAG, decision)
    client.set_registered_model_alias(NAME, alias(dataset), number)
    said = f"version {number} is now the champion of {dataset}: models:/{NAME}@{alias(dataset)}"
    return said, objections


def _objections(version: ModelVersion) -> list[str]:
    """Reasons against a version as champion, from its last evaluation."""
    known = version.tags
    if not set(WORDS) <= known.keys():  # evaluated before versions had these tags: its run has them
        with suppress(MlflowException):  # the run was deleted for good
            known = MlflowClient().get_run(str(version.run_id)).data.tags | known
    if SCORES_TAG not in version.tags:
        return ["it was never evaluated"]
    if "verdict" not in known:
        decision = version.tags.get(REASON_TAG, "its verdict is unknown")
        return [] if decision.startswith(ALIAS) else [decision.removeprefix("not champion: ")]
    found = []
    if known["verdict"] != SOUND:
        found.append(f"its verdict is {known['verdict']}")
    elif known.get("gates", PASSED) != PASSED:
        quick = known["gates"].startswith("not applied")
        why = "it was evaluated quickly only" if quick else f"it missed a gate: {known['gates']}"
        found.append(why)
    if known.get("split", TEST) != TEST:
        found.append(f"it was evaluated on {known['split']} images")
    return found


def list_versions() -> list[str]:
    """Describes each version in a line: number, aliases, data set, decision; newest first."""
    lines = []
    for version in registry.list_versions():
        dataset = version.tags.get(DATASET_TAG, "?")
        marks = f" [{', '.join(sorted(version.aliases))}]" if version.aliases else ""
        decision = version.tags.get(REASON_TAG, "not evaluated yet")
        lines.append(f"version {version.version}{marks} ({dataset}): {decision}")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline champion", description=__doc__)
    parser.add_argument("--set", metavar="VERSION", help="make this version the champion")
    parser.add_argument(
        "--force", action="store_true", help="with --set: whatever speaks against it"
    )
    options = parser.parse_args(argv)
    if options.force and not options.set:
        parser.error("--force is for --set VERSION")
    try:
        connect()
        with one_line():
            if options.set is None:
                print("\n".join(list_versions()) or "there is no version yet; dvc repro makes one")
                return 0
            said, objections = promote(options.set, options.force)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if objections:
        print(f"WARNING: {objections}", file=sys.stderr)
    print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
