"""DVC sees own images: what changes them runs the stage again, also in its temporary copies."""

import json
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.artifacts.files import tree_digest
from pipeline.tools.reproduce import ReproductionError, _check_out_images, _kept_images
from tests.pipeline.clone import Clone, small_clone
from tests.pipeline.data.folders import classes, picture, save

PETS = "images/pets"


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A clone whose own images are added to DVC and prepared."""
    clone = small_clone(tmp_path_factory.mktemp("own") / "repository")
    classes(clone.folder / PETS)
    clone.set("prepare.dataset", "folder")
    clone.set("prepare.path", PETS)
    clone.run("dvc", "add", "-q", PETS)
    clone.run("dvc", "repro", "-q", "prepare")
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "own images")
    return clone


def changed(clone: Clone) -> bool:
    """Whether DVC would run prepare again."""
    with chdir(clone.folder), Repo(".") as repo:
        return "prepare" in repo.status(targets=["prepare"])


def prepared(folder: Path) -> dict[str, int]:
    splits = json.loads((folder / "data/prepared/dataset.json").read_text())["splits"]
    return {name: split["images"] for name, split in splits.items()}


def test_git_knows_the_note_and_dvcs_file_and_no_image(clone):
    assert prepared(clone.folder) == {"train": 8, "test": 2}
    tracked = clone.run("git", "ls-files", "images").split()
    assert tracked == ["images/.gitignore", "images/README.md", "images/pets.dvc"]
    assert clone.run("git", "status", "--porcelain") == ""


def test_an_added_a_changed_and_a_removed_image_run_prepare_again(clone):
    folder = clone.folder / PETS
    one, more = folder / "a/0.png", folder / "a/more.png"
    content = one.read_bytes()
    assert not changed(clone)
    save(more, picture(77))
    assert changed(clone)
    more.unlink()
    assert not changed(clone)
    save(one, picture(78))
    assert changed(clone)
    one.unlink()
    assert changed(clone)
    one.write_bytes(content)  # with another time
    assert not changed(clone)
    (folder / ".DS_Store").touch()
    assert not changed(clone)
    (folder / ".DS_Store").unlink()


def test_an_experiment_in_a_temporary_copy_finds_images_that_dvc_keeps(clone):
    save(clone.folder / PETS / "b/more.png", picture(79))
    try:
        printed = clone.run("dvc", "exp", "run", "--temp", "-S", "prepare.image_size=9", "prepare")
        assert "images of 1x9x9: 9 train, 2 test" in printed  # with the new image
    finally:
        (clone.folder / PETS / "b/more.png").unlink()


def test_null_is_named_by_the_check_although_dvc_makes_a_path_of_it(clone):
    clone.set("prepare.path", None)
    printed = clone.run("dvc", "repro", "prepare", fails=True)
    assert "params.yaml: prepare.path: got None, expected string" in printed
    clone.run("git", "checkout", "-q", "params.yaml")


def test_a_reproduction_has_the_images_of_its_commit(clone, tmp_path):
    commit, then = clone.run("git", "rev-parse", "HEAD").strip(), tmp_path / "then"
    wanted = tree_digest(clone.folder / PETS)
    clone.run("git", "worktree", "add", "-q", "--detach", str(then), commit)
    (clone.folder / PETS / "a/0.png").rename(clone.folder / PETS / "a/zero.png")
    try:
        _check_out_images(clone.folder, then)
        assert tree_digest(then / PETS) == wanted
        shutil.rmtree(clone.folder / ".dvc/cache/files/md5")
        shutil.rmtree(then / PETS)
        with pytest.raises(ReproductionError, match="not in DVC's cache: dvc pull fetches them"):
            _check_out_images(clone.folder, then)
    finally:
        (clone.folder / PETS / "a/zero.png").rename(clone.folder / PETS / "a/0.png")


@pytest.mark.parametrize(
    ("dataset", "path", "kept"),
    [
        ("mnist", "images/pets", []),
        ("folder", "images/pets", ["images/pets.dvc"]),
        ("folder", "./images/pets/", ["images/pets.dvc"]),
        ("folder", "images/pets/inner", ["images/pets.dvc"]),
        ("folder", "images/parts", ["images/parts/a.dvc", "images/parts/b.dvc"]),
        ("folder", "mine/all.zip", ["named.dvc"]),
        ("folder", "images/pe", []),
    ],
)
def test_only_the_images_that_a_commit_was_trained_on_are_needed(tmp_path, dataset, path, kept):
    files = {"images/pets.dvc": "pets", "images/parts/a.dvc": "a", "images/parts/b.dvc": "b"}
    for name, out in (files | {"named.dvc": "mine/all.zip"}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"outs:\n- md5: 0\n  path: {out}\n")
    (tmp_path / ".dvc").mkdir()
    assert _kept_images(tmp_path) == []
    (tmp_path / "params.yaml").write_text(f"prepare: {{dataset: {dataset}, path: {path}}}\n")
    assert _kept_images(tmp_path) == kept
