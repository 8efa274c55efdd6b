"""The files of a folder or of a zip archive, by their path as written."""

import lzma
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

# Files and folders of operating systems and tools; so is every name that begins with a dot.
SYSTEM = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "__pycache__", "lost+found")
) | {"$recycle.bin", "system volume information"}
MOST_BYTES = 1 << 30  # of an image file: above, none of a usable size
ENCRYPTED = 1  # flag of a member of a zip archive
# Damage of a zip archive, and what Python cannot unpack, each by the library that notices it.
ARCHIVE_FAULTS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError)


def is_system(name: str) -> bool:
    """Whether a file or folder belongs to an operating system or a tool, not to the images."""
    return name.startswith(".") or name.casefold() in SYSTEM


@dataclass
class Tree:
    """The files of a folder or an archive, system files left out.

    Attributes:
        path: The folder or the archive.
        prefix: Folder in the archive that all its files are in, with a slash at the end, or "".
        files: Paths below the prefix, with slashes.
        folders: Paths of all folders below the prefix.
        linked: Paths of folders that are symbolic links; they were followed.
        system: Number of system files and folders that were left out.
        faults: What cannot be used: the reason by path.
    """

    path: Path
    prefix: str = ""
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)
    system: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            ValueError: it cannot be read, or is no image by its size.
        """
        try:
            if self.archive is None:
                # Plain calls of the system: of a small file, opening takes longer than decoding.
                handle = os.open(f"{self.path}/{name}", os.O_RDONLY)
                try:
                    size = os.fstat(handle).st_size
                    content = b"" if size > MOST_BYTES else os.read(handle, size)
                    while 0 < len(content) < size and (more := os.read(handle, size)):
                        content += more
                finally:
                    os.close(handle)
            else:
                size = self.archive.getinfo(self.prefix + name).file_size
                content = b"" if size > MOST_BYTES else self.archive.read(self.prefix + name)
        except ARCHIVE_FAULTS as error:
            raise ValueError(f"cannot be read: {reason_of(error)}") from error
        if size > MOST_BYTES:
            raise ValueError(f"has {size:,} bytes, expected at most {MOST_BYTES:,}")
        return content

    def open(self, name: str) -> BinaryIO:
        """Opens a file to read, with seeking."""
        if self.archive is None:
            return open(f"{self.path}/{name}", "rb")  # faster than to build a Path
        return cast(BinaryIO, self.archive.open(self.prefix + name))

    @cached_property
    def archive(self) -> zipfile.ZipFile | None:
        """The open archive; None for a folder."""
        return None if self.path.is_dir() else zipfile.ZipFile(self.path)

    def __getstate__(self) -> dict[str, object]:
        """Another process opens the archive by itself, and needs no lists."""
        return {"path": self.path, "prefix": self.prefix}


def reason_of(error: Exception) -> str:
    """The reason of one of ``ARCHIVE_FAULTS``, without the name of a file."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def list_tree(path: Path) -> Tree:
    """Lists a folder or a zip archive.

    Raises:
        ValueError: there is no such folder or file, or the archive is damaged or unsafe.
    """
    if path.is_dir():
        tree = Tree(path)
        _walk(tree, path, "", ())
        return tree
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is neither a folder nor a .zip or .npz file")
    return _list_archive(path)


def _walk(tree: Tree, folder: Path, below: str, above: tuple[tuple[int, int], ...]) -> None:
    """Lists a folder; ``above`` identifies the folders that it is in, which a loop returns to."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        place = os.stat(folder)
    except OSError as error:
        tree.faults[below or str(folder)] = f"cannot be listed: {error.strerror}"
        return
    here = place.st_dev, place.st_ino
    if here in above:
        tree.faults[below] = "is a symbolic link to a folder that it lies in"
        return
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if is_system(entry.name):
            tree.system += 1
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:  # a link to itself
            tree.faults[name] = f"cannot be followed: {error.strerror}"
            continue
        if is_folder:
            tree.folders.append(name)
            if entry.is_symlink():
                tree.linked.append(name)
            _walk(tree, folder / entry.name, name, (*above, here))
        elif is_file:
            tree.files.append(name)
        else:
            kind = "a broken symbolic link" if entry.is_symlink() else "no regular file"
            tree.faults[name] = f"is {kind}"


def _list_archive(path: Path) -> Tree:
    """Lists a zip archive; nothing of it is ever unpacked to a disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (ValueError, *ARCHIVE_FAULTS) as error:  # ValueError: of names in no encoding
        raise ValueError(f"{path} is not a whole zip archive: {reason_of(error)}") from error
    tree = Tree(path)
    seen: Counter[str] = Counter()
    for member in members:
        name = member.filename.rstrip("/")
        parts = PurePosixPath(name).parts or ("..",)
        if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
            raise ValueError(f"{path}: {name!r} is no path within the archive")
        if any(map(is_system, parts)):
            tree.system += 1
        elif member.is_dir():
            tree.folders.append(name)
        elif stat.S_ISLNK(member.external_attr >> 16):
            tree.faults[name] = "is a symbolic link within an archive"
        elif member.flag_bits & ENCRYPTED:
            tree.faults[name] = "is encrypted"
        else:
            seen[name] += 1
            if seen[name] == 2:
                tree.faults[name] = "is in the archive twice"
            tree.files.append(name)
    tree.files = list(dict.fromkeys(tree.files))
    parents = {str(p) for name in tree.files for p in PurePosixPath(name).parents} - {"."}
    tree.folders = sorted(parents | set(tree.folders))
    _strip_common_folder(tree)
    return tree


def _strip_common_folder(tree: Tree) -> None:
    """Moves the prefix below folders that hold the whole archive, as most archives have one.

    A folder that images lie in directly is a class and stays.
    """
    while True:
        tops = {name.split("/", 1)[0] for name in tree.files + tree.folders}
        top = next(iter(tops), "")
        inner = {name.split("/", 2)[1] for name in tree.folders if name.startswith(f"{top}/")}
        if len(tops) != 1 or top in tree.files:
            return
        others = [name for name in tree.files if name.count("/") == 1]
        if not inner and all(map(_is_picture, others)):
            return
        cut = len(top) + 1
        tree.prefix += f"{top}/"
        tree.files = [name[cut:] for name in tree.files]
        tree.folders = [name[cut:] for name in tree.folders if name != top]
        tree.faults = {name[cut:]: reason for name, reason in tree.faults.items()}


# Meant as pictures, also those that are not read: they are named, not silently left out.
PICTURES = frozenset(
    ("png", "jpg", "jpeg", "jpe", "jfif", "webp", "tif", "tiff", "gif", "bmp", "dib", "pgm", "ppm")
    + ("pbm", "pnm", "avif", "heic", "heif", "jp2", "j2k", "jxl", "svg", "psd", "ico", "tga")
    + ("pcx", "eps", "exr", "hdr", "dng", "cr2", "nef", "arw", "raw")
)


def _is_picture(name: str) -> bool:
    return extension(name) in PICTURES


def extension(name: str) -> str:
    """The extension of a file in small letters, "" if it has none."""
    stem, _, last = name.rpartition("/")[2].rpartition(".")
    return last.casefold() if stem else ""


def pictures(names: list[str], head: Callable[[str], bytes]) -> Iterator[str]:
    """Yields the files that are meant as pictures, by their extension or else their content."""
    for name in names:
        if _is_picture(name) or starts_like_a_picture(head(name)):
            yield name


def starts_like_a_picture(head: bytes) -> bool:
    """Whether a file of another or no extension begins as a format that is read."""
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"))
        or head.startswith((b"II*\0", b"MM\0*"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or (len(head) > 2 and head[:2] in (b"P4", b"P5", b"P6") and head[2:3] in b"\n\r\t #")
    )
