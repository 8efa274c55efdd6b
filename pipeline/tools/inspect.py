"""Checks own images as the stage ``prepare`` would, writes nothing, and proposes parameters.

``python -m pipeline inspect PATH`` prints the classes, sizes and modes, everything that is left
out or cannot be used, and a section ``prepare`` for ``params.yaml``. The options are keys of that
section, with their values; the others are those of ``params.yaml``. Exit status: 0 if the proposed
section can be used as it is, 1 if the images have faults.
"""

import argparse
import json
import re
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from pipeline.data.checks import proposed_size, size_fault
from pipeline.data.config import FOLDER, FOLDERS, PrepareConfig
from pipeline.data.listing import shown
from pipeline.data.opening import factor_values, told
from pipeline.data.own import OwnImages, judge, look, tables
from pipeline.data.tree import list_tree
from pipeline.params import PARAMS_FILE, ParamsError, load_params
from pipeline.tools.presets import apply_changes

OPTIONS = (
    ("labels", "image_size", "fit", "channels", "background", "invert", "kind", "test_fraction")
    + ("min_images", "unreadable", "duplicates", "validation_size")
)  # fmt: skip
MOST_CLASSES = 40  # a line each; of more, the others are counted


def inspect(path: Path, config: PrepareConfig) -> tuple[OwnImages, PrepareConfig]:
    """Looks at images; returns what is found, and the section completed by it.

    Raises:
        ValueError: there are no images.
    """
    tree = list_tree(path)
    if config.labels == FOLDERS and (found := tables(tree)):
        config = replace(config, labels=found[0])
    images = look(path, config, None)
    sizes = Counter(seen.size for seen in images.seen if not seen.fault)
    if config.image_size == "auto" and sizes and size_fault(sizes):
        config = replace(config, image_size=proposed_size(sizes))
    judge(images, config)
    conversion = images.conversion
    return images, replace(
        config, channels=conversion.channels, invert=conversion.invert, kind=images.kind
    )


def report(images: OwnImages, config: PrepareConfig) -> list[str]:
    """Lines about the images."""
    seen = [found for found in images.seen if not found.fault]
    lines = [
        f"{images.tree.path}: {images.listing.layout}",
        f"images: {len(images.seen):,}, of which {len(images.seen) - len(seen):,} unreadable",
        f"formats: {_counted(found.kind or 'array' for found in seen)}",
        f"modes: {_counted(found.mode for found in seen)}",
        f"without colour: {sum(found.gray for found in seen):,}",
        f"width x height: {_counted('{1} x {0}'.format(*found.size) for found in seen)}",
    ]
    lines += _classes("classes, in this order", images.class_names, images)
    if images.unseen_classes:
        words = "unseen classes, held out of the training"
        lines += _classes(words, images.unseen_classes, images)
    if images.splits:
        divided = (f"{name} {len(rows):,}" for name, rows in images.splits.items())
        lines.append(f"splits: {', '.join(divided)}")
        used = np.concatenate(list(images.splits.values()))
        for name, values in factor_values(images, used).items():
            lines.append(f"known style factor {name}: {len(values):,} values")
    return lines + told(images)


def _classes(words: str, names: list[str], images: OwnImages) -> list[str]:
    """Lines with the images of each class."""
    counts = Counter(item.label for item in images.listing.items)
    lines = [f"{words}: {len(names):,}"]
    lines += [f"  {counts[name]:7,}  {shown(name)}" for name in names[:MOST_CLASSES]]
    if rest := [counts[name] for name in names[MOST_CLASSES:]]:
        lines.append(
            f"  {sum(rest):7,}  in {len(rest):,} more, {min(rest):,} to {max(rest):,} each"
        )
    return lines


def _counted(values: object, most: int = 8) -> str:
    """Counts of values, the most frequent first."""
    counts = Counter(values)  # type: ignore[call-overload]
    more = [f"{len(counts) - most:,} others"] if len(counts) > most else []
    return ", ".join([f"{value} {count:,}" for value, count in counts.most_common(most)] + more)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 if the images or an option cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m pipeline inspect", description=__doc__)
    parser.add_argument("path", metavar="PATH", help="a folder, or a .zip or .npz file")
    for key in OPTIONS:
        parser.add_argument(f"--{key.replace('_', '-')}", metavar="VALUE")
    options = parser.parse_args(argv)
    yaml = YAML(typ="safe", pure=True)
    changes = {"prepare.dataset": FOLDER, "prepare.path": options.path}
    given = {key: getattr(options, key) for key in OPTIONS}
    try:
        changes |= {f"prepare.{k}": yaml.load(v) for k, v in given.items() if v is not None}
        config = apply_changes(changes, load_params(PARAMS_FILE), Path("inspect")).prepare
        images, config = inspect(Path(options.path), config)
    except (ParamsError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(report(images, config)))
    if images.faults:
        print(f"\n{len(images.faults):,} faults:", *images.faults, sep="\n", file=sys.stderr)
    print("\nproposed section of params.yaml:\n")
    print("prepare:")
    for key, value in asdict(config).items():
        # JSON is YAML; text without special characters needs no quotes.
        plain = isinstance(value, str) and re.fullmatch(r"[\w./-]+", value)
        print(f"  {key}: {value if plain else json.dumps(value, ensure_ascii=False)}")
    return 1 if images.faults else 0


if __name__ == "__main__":
    sys.exit(main())
