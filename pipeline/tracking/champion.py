"""The champion of a data set: the registered version that passes the gates and is the best of them.

``python -m pipeline champion`` lists the versions and what was said of each; ``--set N`` moves
the alias by hand, for instance back to the version before.
"""

import argparse
import json
import math
import sys
from typing import Any

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from pipeline.artifacts.paths import repository
from pipeline.tracking.registry import NAME, version_of
from pipeline.tracking.store import StoreError, connect
from vaegan.evaluation.metrics import CHAMPION_METRICS

ALIAS = "champion"  # of the main data set; those of the others have its name behind a dash
MAIN_DATASET = "mnist"
JUDGED_TAG, REASON_TAG, DATASET_TAG = "judged", "champion", "dataset"
TEST, PASSED = "test", "passed"
# By what a champion may be chosen, and whether less of it is better.
CHOOSABLE = {metric.key: metric.better == "lower" for metric in CHAMPION_METRICS}


def alias(dataset: str) -> str:
    """The alias of a data set's champion; champions of two data sets never meet."""
    return ALIAS if dataset == MAIN_DATASET else f"{ALIAS}-{dataset}"


def consider(digest: str, results: dict[str, Any]) -> str | None:
    """Makes a model's version the champion of its data set if it passes and is the best.

    What was decided, and why, is the version's tag ``champion``.

    Args:
        digest: Of the model's weights.
        results: The content of ``reports/metrics.json``: metrics, and in words ``dataset``,
            ``split``, ``protocol``, ``gates`` and ``champion_by``.

    Returns:
        The same in a sentence; None where no version has these weights.
    """
    client, mine = MlflowClient(), version_of(digest)
    if mine is None:
        return None
    dataset, by = results["dataset"], results["champion_by"]
    record = {"protocol": results["protocol"]} | {name: results.get(name) for name in CHOOSABLE}
    # One at a time: of two that are judged at once, the better one is champion in the end.
    with FileLock(repository() / "mlruns" / ".champion.lock"):
        champion = champion_of(dataset)
        refusal = _refusal(mine, champion, results)
        if champion is not None and champion.version == mine.version:
            if refusal is not None:
                return f"version {mine.version} stays the champion of {dataset}, though {refusal}"
            said = champion.tags.get(REASON_TAG, f"champion of {dataset}")
        elif refusal is None:
            after = "" if champion is None else f", after version {champion.version}"
            said = f"champion of {dataset}{after}: {by} {results[by]:.4f}"
        else:
            said = f"not champion: {refusal}"
        # The alias last: whoever has it has its record.
        client.set_model_version_tag(NAME, mine.version, JUDGED_TAG, json.dumps(record))
        client.set_model_version_tag(NAME, mine.version, REASON_TAG, said)
        if refusal is None:
            client.set_registered_model_alias(NAME, alias(dataset), mine.version)
    return f"version {mine.version}: {said}"


def champion_of(dataset: str) -> ModelVersion | None:
    """The champion of a data set, None where there is none."""
    client = MlflowClient()
    try:
        aliases = client.get_registered_model(NAME).aliases
    except MlflowException as error:
        if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            return None
        raise  # a store that does not answer has not said that there is none
    number = aliases.get(alias(dataset))
    return None if number is None else client.get_model_version(NAME, str(number))


def gates_passed(metrics: dict[str, float], word: str, gates: dict[str, tuple[str, float]]) -> str:
    """Says "passed", or the first gate that is not, in words.

    Args:
        metrics: By name.
        word: The verdict, which has to be "sound".
        gates: ``(">=" or "<=", bound)`` by metric.
    """
    if word != "sound":
        return f"the verdict is {word}"
    for name, (relation, bound) in gates.items():
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            return f"{name} is {value}, expected a number {relation} {bound}"
        if not (value >= bound if relation == ">=" else value <= bound):
            return f"{name} is {value:.4f}, expected {relation} {bound}"
    return PASSED


def _refusal(
    mine: ModelVersion, champion: ModelVersion | None, results: dict[str, Any]
) -> str | None:
    """Why a version does not take the champion's place; None if it does."""
    by = results["champion_by"]
    value = results.get(by)
    if results["split"] != TEST:
        return f"it was judged by {results['split']} images"
    if results["gates"] != PASSED:
        return str(results["gates"])
    if not isinstance(value, int | float) or not math.isfinite(value):
        return f"{by} is {value}, expected a number"
    if champion is None or champion.version == mine.version:
        return None
    try:
        record = json.loads(champion.tags[JUDGED_TAG])
        protocol, theirs = record["protocol"], float(record[by])
    except (KeyError, TypeError, ValueError):
        return (
            f"version {champion.version}, the champion, has no {by} to compare with; to let this "
            f"one take its place: python -m pipeline champion --set {mine.version}"
        )
    if protocol != results["protocol"]:
        return (
            f"version {champion.version}, the champion, was judged by another protocol; to let "
            f"this one take its place: python -m pipeline champion --set {mine.version}"
        )
    if value < theirs if CHOOSABLE[by] else value > theirs:
        return None
    return f"{by} {value:.4f} is no better than {theirs:.4f} of version {champion.version}"


def put(version: str) -> str:
    """Makes a version champion of its data set by hand; returns what was done.

    Raises:
        ValueError: there is no such version, or it names no data set.
    """
    client = MlflowClient()
    try:
        dataset = client.get_model_version(NAME, version).tags[DATASET_TAG]
    except MlflowException as error:
        raise ValueError(f"--set: got {version}, expected a version of {NAME}") from error
    except KeyError as error:
        raise ValueError(f"version {version} of {NAME} does not say its data set") from error
    client.set_registered_model_alias(NAME, alias(dataset), version)
    client.set_model_version_tag(NAME, version, REASON_TAG, f"champion of {dataset}, set by hand")
    return f"version {version} is now the champion of {dataset}"


def listed() -> list[str]:
    """A line per version, the newest first."""
    client = MlflowClient()
    versions = client.search_model_versions(f"name = '{NAME}'", order_by=["version_number DESC"])
    lines = []
    for version in versions:
        dataset = version.tags.get(DATASET_TAG, "?")
        names = client.get_model_version(NAME, version.version).aliases
        marks = f" [{', '.join(names)}]" if names else ""
        said = version.tags.get(REASON_TAG, "not judged yet")
        lines.append(f"version {version.version}{marks} ({dataset}): {said}")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m pipeline champion", description=__doc__)
    parser.add_argument("--set", metavar="VERSION", help="make this version the champion")
    options = parser.parse_args(argv)
    try:
        connect()
        print(put(options.set) if options.set else "\n".join(listed()))
    except (ValueError, StoreError, MlflowException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
