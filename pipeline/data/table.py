"""A CSV file with the class of each image, and perhaps its split, group and known style."""

import csv
import io
from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from pipeline.data.listing import (
    SPLIT_NAMES,
    Item,
    Listing,
    check_label,
    list_pictures,
    natural_key,
    normal_form,
    shown,
    some,
    split_folders,
)
from pipeline.data.tree import Tree

FILE, LABEL, SPLIT, GROUP = "file_name", "label", "split", "group"
NEEDED, OPTIONAL = (FILE, LABEL), (SPLIT, GROUP)
DELIMITERS = ",;\t"

Row = dict[str, str]


def is_table(tree: Tree, name: str) -> bool:
    """Whether a file is a CSV that has the needed columns."""
    try:
        _, header, _ = _read(tree, name)
    except ValueError:
        return False
    return set(NEEDED) <= set(header)


def from_table(tree: Tree, table: str) -> Listing:
    """Lists the images of a table; columns beyond the known ones are style factors.

    Every value stays text. The table and the folder have to list the same images.

    Raises:
        ValueError: there is no such file, or it is no table with the needed columns.
    """
    place, header, rows = _read(tree, table)
    if lacking := [column for column in NEEDED if column not in header]:
        raise ValueError(
            f"{place} has the columns {some(header)}, expected {FILE}, {LABEL}, perhaps "
            f"{SPLIT} and {GROUP}, and a column per known style factor; {lacking[0]} is missing"
        )
    if len(set(header)) < len(header) or "" in header:
        raise ValueError(f"{place} has a column without a name or twice: {some(header)}")
    factors = tuple(column for column in header if column not in NEEDED + OPTIONAL)
    listing = Listing(f"the table {table}", factor_names=factors, faults=dict(tree.faults))
    pictures = list_pictures(tree, listing)
    listing.others["csv"] -= 1  # the table itself
    listing.others += type(listing.others)()
    folder = str(PurePosixPath(table).parent)
    find = _finder(tree.files, pictures, "" if folder == "." else f"{folder}/")
    splits = {} if SPLIT in header else split_folders(tree, listing)
    problems: dict[str, list[str]] = defaultdict(list)
    found: dict[str, int] = {}
    for line, row in rows:
        if row is None:
            problems["a number of fields other than the header's"].append(f"line {line}")
            continue
        written = f"line {line}: {row[FILE]}"
        matches = find(row[FILE])
        if len(matches) != 1:
            problem = "several files that fit" if matches else "no such file"
            problems[problem].append(written)
            continue
        name = matches[0]
        if name in found:
            problems["a file of an earlier row"].append(f"{written} (line {found[name]})")
            continue
        found[name] = line
        given = splits.get(name.split("/", 1)[0]) if splits else None
        listing.items.append(_item(name, row, given, factors, written, problems))
    for problem, places in problems.items():
        listing.faults[f"{place} ({problem})"] = f"{len(places):,} rows: {some(places)}"
    if missing := [name for name in pictures if name not in found]:
        listing.faults[f"{place} (images without a row)"] = f"{len(missing):,}: {some(missing)}"
    for label in {item.label for item in listing.items if item.label}:
        check_label(f"{place}: the class {shown(label)}", label, listing)
    listing.items.sort(key=lambda item: natural_key(item.name))
    return listing


def _item(
    name: str,
    row: Row,
    split: str | None,
    factors: tuple[str, ...],
    written: str,
    problems: dict[str, list[str]],
) -> Item:
    """An image of a row; what the row lacks is added to the problems."""
    label = normal_form(row[LABEL])
    if not label:
        problems["an empty label"].append(written)
    if SPLIT in row:
        split = SPLIT_NAMES.get(row[SPLIT].casefold())
        if split is None:
            problems["a split other than train, validation, test or unseen"].append(
                f"{written} ({row[SPLIT] or 'empty'})"
            )
    for factor in factors:
        if not row[factor]:
            problems[f"an empty {factor}"].append(written)
    values = tuple(normal_form(row[factor]) for factor in factors)
    return Item(name, label, split, row.get(GROUP, ""), values)


def _read(tree: Tree, table: str) -> tuple[str, list[str], list[tuple[int, Row | None]]]:
    """The file's name for messages, its header, and its rows by line; None for a broken row.

    Raises:
        ValueError: there is no such file, or it is no text with a header.
    """
    place = shown(table)
    if table not in tree.files:
        raise ValueError(f"prepare.labels: got {place}, expected a file in {tree.path}")
    content = tree.read(table)
    try:
        text = content.decode(
            "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"{place} is not UTF-8: save it as CSV in UTF-8 ({error})") from error
    first = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [column.strip() for column in next(records, [])]
        rows: list[Any] = []
        for record in records:
            if any(field.strip() for field in record):  # an empty line is no row
                whole = len(record) == len(header)
                row = dict(zip(header, map(str.strip, record), strict=True)) if whole else None
                rows.append((records.line_num, row))
    except csv.Error as error:
        raise ValueError(f"{place} is no CSV: {error}") from error
    return place, header, rows


def _finder(files: list[str], pictures: list[str], folder: str) -> Callable[[str], list[str]]:
    """A function from a name in the table to the files it may mean, exact ones before others.

    Names are relative to the table's folder, may be in either of Unicode's normal forms, and may
    lack the extension.
    """
    exact, normal, stems = set(files), defaultdict(list), defaultdict(list)
    for file in files:
        normal[normal_form(file)].append(file)
    for file in pictures:
        stems[str(PurePosixPath(normal_form(file)).with_suffix(""))].append(file)

    def find(name: str) -> list[str]:
        path = folder + str(PurePosixPath(name.replace("\\", "/")))
        if folder + name in exact:
            return [folder + name]
        return normal.get(normal_form(path)) or stems.get(normal_form(path)) or []

    return find
