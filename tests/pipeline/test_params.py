import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest
from ruamel.yaml import YAML

from pipeline import params as module
from pipeline.params import Params, ParamsError, load_params, reader
from pipeline.sections import flat
from vaegan.training.trainer import Trainer

SHIPPED = Path(__file__).parents[2] / "params.yaml"
KEYS = list(flat(load_params(SHIPPED)))


def changed(tmp_path: Path, key: str, value: object) -> Path:
    """A copy of the shipped file with one value changed, written as DVC writes it."""
    yaml = YAML()
    content = yaml.load(SHIPPED.read_text())
    *sections, last = key.split(".")
    place = content
    for section in sections:
        place = place[section]
    place[last] = value
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        yaml.dump(content, file)
    return path


def sections(section: type = Params, prefix: str = "") -> dict[str, type]:
    """Every section's class by dotted key, the whole file's by the empty one."""
    found = {prefix: section}
    hints = get_type_hints(section)
    for field in fields(section):
        if is_dataclass(hints[field.name]):
            found |= sections(hints[field.name], f"{prefix}{field.name}.")
    return found


SECTIONS = sections()


def values(content: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every value of nested mappings by dotted key, in their order."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def declarations(section: ast.ClassDef) -> Iterator[tuple[ast.AnnAssign, ast.stmt | None]]:
    """Every field of a class with the statement that follows it."""
    for statement, following in zip(section.body, [*section.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign):
            yield statement, following


def test_the_values_are_those_of_the_file_in_its_order():
    content = YAML(typ="safe", pure=True).load(SHIPPED.read_text())
    assert list(flat(load_params(SHIPPED)).items()) == list(values(content))


@pytest.mark.parametrize("key", [key for key in SECTIONS if key])
def test_every_key_is_declared_with_bounds_and_followed_by_a_sentence(key):
    section = SECTIONS[key]
    source = ast.parse(Path(sys.modules[section.__module__].__file__).read_text())
    (node,) = (n for n in source.body if getattr(n, "name", "") == section.__name__)
    declared = [field.target.id for field, _ in declarations(node)]
    assert declared == [field.name for field in fields(section)]  # none inherited, none twice
    for field, following in declarations(node):
        sentence = following.value.value if isinstance(following, ast.Expr) else ""
        assert sentence.endswith("."), f"{key}{field.target.id} has no sentence"
        assert field.value is None, f"{key}{field.target.id} has a default"
    for name, hint in get_type_hints(section, include_extras=True).items():
        bounded = get_origin(hint) is Annotated and hint.__metadata__
        closed = hint is bool or (get_origin(hint) is Literal and len(get_args(hint)) > 1)
        assert bounded or closed or is_dataclass(hint), f"{key}{name} has no bounds"


def test_no_key_is_declared_where_the_file_is_read():
    tree = ast.parse(Path(module.__file__).read_text())
    annotations = [
        ast.unparse(field.annotation)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for field, _ in declarations(node)
    ]
    top = [section.__name__ for key, section in SECTIONS.items() if key.count(".") == 1]
    assert annotations == ["ClassVar[ConfigDict]", *top]
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"Annotated", "Literal", "Field"}


def loaded(imported: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after an import."""
    code = f"import sys, {imported}; print(*{{name.split('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", code]
    root = SHIPPED.parent
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout
    return set(printed.split())


def test_checking_the_parameters_imports_nothing_that_computes_tracks_or_plots():
    slow = {"torch", "numpy", "mlflow", "matplotlib", "sklearn", "pandas", "dvc"}
    assert not loaded("pipeline.params") & slow


def test_the_sections_know_nothing_of_who_reads_them():
    files = {section.__module__ for section in SECTIONS.values()} - {module.__name__}
    assert len(files) == 6
    assert not loaded(", ".join(sorted(files))) & {"pydantic", "ruamel"}


def test_the_trainer_takes_the_sections_as_they_are(bars):
    params = load_params(SHIPPED)
    model = replace(params.model, base_channels=2)
    fit = replace(params.train.transport, images_per_class=2)
    trainer = Trainer(model, replace(params.train, device="cpu", pairs=8, transport=fit), bars)
    assert flat(trainer.model.config).items() >= flat(model).items()
    assert trainer.device.type == "cpu"
    assert trainer.precision in ("float32", "bfloat16")
    trainer.train_step()


def test_a_whole_number_is_a_value_of_a_key_with_fractions(tmp_path):
    lr = load_params(changed(tmp_path, "train.lr", 1)).train.lr
    assert (type(lr), lr) == (float, 1.0)


@pytest.mark.parametrize("key", KEYS)
def test_an_invalid_value_gives_one_line_with_key_value_and_bounds(tmp_path, key):
    with pytest.raises(ParamsError) as error:
        load_params(changed(tmp_path, key, "nonsense"))
    (line,) = str(error.value).splitlines()
    assert f" {key}: got 'nonsense', expected " in line
    assert line.startswith(str(tmp_path / "params.yaml"))


@pytest.mark.parametrize("key", KEYS)
def test_null_is_never_a_value(tmp_path, key):
    with pytest.raises(ParamsError, match=key):
        load_params(changed(tmp_path, key, None))


def broken_values() -> list[tuple[str, object]]:
    """For each field, from the schema: values of a wrong type, and just beyond each bound."""
    schema = reader().json_schema()
    cases: list[tuple[str, object]] = []

    def walk(definition: dict, prefix: str) -> None:
        for name, field in definition["properties"].items():
            if "$ref" in field:
                walk(schema["$defs"][field["$ref"].rsplit("/", 1)[1]], f"{prefix}{name}.")
                continue
            key, kind = f"{prefix}{name}", field.get("type")
            cases.extend((key, value) for value in ([1], {"a": 1}, "1", ""))
            if kind != "boolean" and not any(value is True for value in field.get("enum", ())):
                cases.append((key, True))
            if kind in ("integer", "number"):
                cases.extend((key, value) for value in (float("nan"), float("inf"), -float("inf")))
                cases.extend((key, value) for value in (-(10**30), -(10**400)))
                step = 1 if kind == "integer" else 1e-6
                for bound, sign in (("minimum", -1), ("maximum", 1)):
                    if bound in field:
                        cases.append((key, field[bound] + sign * step))
                    exclusive = f"exclusive{bound.title()}"
                    if exclusive in field:
                        cases.append((key, field[exclusive]))
            if kind == "integer":
                cases.append((key, 1.5))
            if "enum" in field:
                cases.append((key, f"{field['enum'][0]}x"))

    walk(schema, "")
    return cases


BROKEN = broken_values()


def test_the_schema_gives_more_than_two_hundred_broken_values_for_every_field():
    assert len(BROKEN) >= 200
    assert {key for key, _ in BROKEN} == set(KEYS)


@pytest.mark.parametrize(("key", "value"), BROKEN)
def test_an_invalid_value_is_rejected_in_a_line_with_its_key(
    tmp_path, capsys, monkeypatch, key, value
):
    path = changed(tmp_path, key, value)
    monkeypatch.chdir(tmp_path)
    assert module.main([]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"{path.name}: {key}: got ")
    assert ", expected " in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_is_named_in_every_section(tmp_path, section):
    with pytest.raises(ParamsError, match=rf" {section}stepz: unknown key"):
        load_params(changed(tmp_path, f"{section}stepz", 3))


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("train.lr", 0, "greater than 0"),
        ("train.lr", 1.5, "less than or equal to 1"),
        ("train.lr", float("nan"), "finite number"),
        ("train.steps", 0, "greater than or equal to 1"),
        ("train.steps", 10.5, "integer"),
        ("train.steps", True, "integer"),
        ("train.weights.confusion", -1, "greater than or equal to 0"),
        ("model.specified.variational", 1, "boolean"),
        ("model.unspecified.dim", 0, "greater than or equal to 1"),
        ("prepare.dataset", "cifar", "'mnist', 'fashion_mnist', 'kmnist', 'digits' or 'folder'"),
        ("prepare.image_size", 4, r"got 4, expected 'auto', 8 to 128, or \[height, width\] \(Pix"),
        ("prepare.image_size", [8, 129], r"got \[8, 129\], expected 'auto', 8 to 128, or "),
        ("prepare.image_size", [8, 8, 8], r"got \[8, 8, 8\], expected 'auto', 8 to 128, or "),
        ("prepare.path", "", "got '', expected at least 1 character"),
        ("prepare.test_fraction", 1.0, "less than 1"),
        ("prepare.min_images", 1, "greater than or equal to 2"),
        ("visualize.tsne_images", 10**6, "less than or equal to 10000"),
        ("train.seed", 2**70, "less than 4294967296"),
        ("train.weights", [1, 2], "a mapping"),
        ("evaluate.split", date(2020, 1, 2), "'test' or 'validation'"),
        ("evaluate.split", "unseen", "got 'unseen', expected 'test' or 'validation'"),
    ],
)
def test_errors_state_the_bounds(tmp_path, key, value, allowed):
    with pytest.raises(ParamsError, match=allowed):
        load_params(changed(tmp_path, key, value))


def test_evaluating_on_validation_images_needs_held_out_images(tmp_path):
    path = changed(tmp_path, "evaluate.split", "validation")
    for size in (0, 1, 99):
        text = re.sub(r"validation_size: \d+", f"validation_size: {size}", path.read_text())
        path.write_text(text)
        said = f"evaluate.split: got 'validation', expected 'test' .* {size}, less than 100"
        with pytest.raises(ParamsError, match=said):
            load_params(path)
    path.write_text(path.read_text().replace("validation_size: 99", "validation_size: 100"))
    assert load_params(path).prepare.validation_size == 100


@pytest.mark.parametrize(
    ("dataset", "most"),
    [("digits", 1337), ("mnist", 59_900), ("fashion_mnist", 59_900), ("kmnist", 59_900)],
)
def test_no_more_images_are_held_out_than_a_named_data_set_can_spare(tmp_path, dataset, most):
    section = asdict(load_params(SHIPPED).prepare)
    section |= {"dataset": dataset, "validation_size": most}
    path = changed(tmp_path, "prepare", section)
    assert load_params(path).prepare.validation_size == most
    path.write_text(path.read_text().replace(str(most), str(most + 1)))
    with pytest.raises(ParamsError) as error:
        load_params(path)
    assert str(error.value) == (
        f"{path}: prepare.validation_size: got {most + 1}, expected at most {most} for {dataset}: "
        f"100 of its {most + 100} training images have to be left"
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"path": "pets"}, "prepare.path: got 'pets', expected dataset: folder, or path: images"),
        (
            {"path": "images/"},
            "prepare.path: got 'images/', expected dataset: folder, or path: images",
        ),
        *(
            (
                {"dataset": "folder", "path": path},
                f"prepare.path: got {path!r}, expected the path of your own images",
            )
            for path in ("images", "images/", "./images", "images/.")
        ),
        (
            {"labels": "a.csv"},
            "prepare.labels: got 'a.csv', expected 'folders' as long as prepare.dataset is 'mnist'",
        ),
        (
            {"dataset": "folder", "path": "pets", "labels": "a.txt"},
            "prepare.labels: got 'a.txt', expected 'folders', or the name of a .csv file",
        ),
    ],
)
def test_parameters_of_own_images_need_own_images(tmp_path, values, said):
    section = asdict(load_params(SHIPPED).prepare)
    with pytest.raises(ParamsError) as error:
        load_params(changed(tmp_path, "prepare", section | values))
    (line,) = str(error.value).splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ({"image_size": 32}, 32),
        ({"image_size": [112, 92]}, (112, 92)),
        ({"image_size": "auto"}, "auto"),
    ],
)
def test_a_size_is_a_side_or_both(tmp_path, values, read):
    section = asdict(load_params(SHIPPED).prepare) | {"dataset": "folder", "path": "a b/c.zip"}
    prepare = load_params(changed(tmp_path, "prepare", section | values)).prepare
    assert prepare.image_size == read
    assert prepare.path == "a b/c.zip"


def test_own_images_that_are_not_there_stop_everything_with_a_remedy(tmp_path, monkeypatch, capsys):
    """Run by DVC's first stage, also in its temporary copies of the repository."""
    user, copy = tmp_path / "user", tmp_path / "copy"
    (user / "images/pets").mkdir(parents=True)
    copy.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(user))
    monkeypatch.chdir(copy)
    section = asdict(load_params(SHIPPED).prepare) | {"dataset": "folder"}
    for path, remedy in (
        ("images/cars", "expected a folder, a .zip or a .npz file"),
        ("~/pets", "the full path, as ~ is not expanded"),
        ("images/pets", "dvc add images/pets, or set its absolute path"),
    ):
        changed(copy, "prepare", section | {"path": path})
        assert module.main(["--mark", "checked"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"params.yaml: prepare.path: got '{path}', expected ")
        assert remedy in line
    assert not Path("checked").exists()
    changed(copy, "prepare", section | {"path": str(user / "images/pets")})
    assert module.main([]) == 0


def test_a_code_too_large_for_a_transport_is_refused(tmp_path):
    path = changed(tmp_path, "model.unspecified.dim", 129)
    with pytest.raises(ParamsError, match="unspecified.dim: got 129, expected at most 128 with a"):
        load_params(path)
    path.write_text(path.read_text().replace("layers: 8", "layers: 0"))
    assert load_params(path).model.unspecified.dim == 129
    assert load_params(changed(tmp_path, "model.unspecified.dim", 128)).model.transport.layers


def test_divergences_of_codes_without_a_variance_are_no_objective(tmp_path):
    weights = dict.fromkeys(flat(load_params(SHIPPED).train.weights), 0.0)
    path = changed(tmp_path, "train.weights", weights | {"specified_kl": 1.0})
    assert load_params(path).train.weights.specified_kl == 1.0
    path.write_text(path.read_text().replace("variational: true", "variational: false", 1))
    with pytest.raises(ParamsError) as error:
        load_params(path)
    (line,) = str(error.value).splitlines()
    assert "train.weights: got a weight of specified_kl only, expected one of another term" in line
    path.write_text(path.read_text().replace("pair_kernel: 0.0", "pair_kernel: 1.0"))
    assert load_params(path).train.weights.pair_kernel == 1.0


@pytest.mark.parametrize("section", ["train", "encode", "classifier", "evaluate"])
def test_a_device_that_this_machine_lacks_is_refused_before_the_first_stage(
    tmp_path, monkeypatch, capsys, section
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    changed(tmp_path, f"{section}.device", "cuda")
    assert module.main(["--mark", "checked"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"params.yaml: {section}.device: got 'cuda', expected 'auto' or 'cpu'")
    assert not Path("checked").exists()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert module.main([]) == 0


def test_a_transport_with_a_variance_per_image_is_rejected(tmp_path):
    path = changed(tmp_path, "model.unspecified.shared_variance", False)
    with pytest.raises(ParamsError) as error:
        load_params(path)
    assert " model.transport.layers: got 8, expected 0 " in str(error.value)
    assert str(error.value).endswith("or model.unspecified.shared_variance: true")
    path.write_text(path.read_text().replace("layers: 8", "layers: 0"))
    assert load_params(path).model.transport.layers == 0


def test_a_critic_without_labels_is_rejected(tmp_path):
    path = changed(tmp_path, "train.supervision", "pairs")
    with pytest.raises(ParamsError) as error:
        load_params(path)
    assert str(error.value) == (
        f"{path}: train: got weights.confusion: 5.0, expected 0 with supervision: pairs, as its "
        "critic needs labels"
    )


def test_an_objective_without_terms_is_rejected(tmp_path):
    weights = dict.fromkeys(flat(load_params(SHIPPED).train.weights), 0.0)
    with pytest.raises(ParamsError) as error:
        load_params(changed(tmp_path, "train.weights", weights))
    (line,) = str(error.value).splitlines()
    assert " train.weights: got " in line
    assert "one or more above 0 (Factor of each term" in line


@pytest.mark.parametrize("text", ["2e-4", "1e-5", "1e-05", "0.0002", "1E-3"])
def test_small_rates_are_numbers_in_any_notation(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text().replace("  lr: 2e-3", f"  lr: {text}"))
    assert load_params(path).train.lr == float(text)


@pytest.mark.parametrize("text", ["yes", "on", "'true'"])
def test_words_are_not_booleans(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text().replace("variational: true", f"variational: {text}", 1))
    with pytest.raises(ParamsError, match="model.specified.variational: got .*boolean"):
        load_params(path)


def test_all_invalid_values_are_reported_at_once(tmp_path):
    path = changed(tmp_path, "train.lr", -1)
    path.write_text(path.read_text().replace("pairs:", "pairz:"))
    with pytest.raises(ParamsError) as error:
        load_params(path)
    text = str(error.value)
    assert len(text.splitlines()) == 3
    for fault in ("train.lr: got -1", "train.pairs: is missing", "train.pairz: unknown key"):
        assert fault in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "a: b: c",
        "train: {lr: 1, lr: 2}",
        "\x00",
        "? [a, b]\n: 1",  # a list as a key
        "a: &a {b: *a}",  # a mapping that holds itself
        "a: 0x" + 5000 * "f",
        'a: "\\ud800"',  # half a character
        f"a: {150 * '['}{150 * ']'}",
        f"a: {5000 * '['}{5000 * ']'}",
    ],
)
def test_a_file_without_parameters_is_rejected_in_a_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as error:
        load_params(path)
    assert all(line.startswith(str(path)) for line in str(error.value).splitlines())


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", "is empty"),
        ("# all\n", "is empty"),
        ("[1]", r"holds \[1\]"),
        ("train", "holds 'train'"),
    ],
)
def test_a_file_without_sections_says_which_are_expected(tmp_path, text, holds):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=f"params.yaml {holds}; expected the sections prepare, m"):
        load_params(path)


def test_a_missing_parameters_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match="nowhere.yaml"):
        load_params(tmp_path / "nowhere.yaml")


def test_parameters_cannot_be_changed_once_read():
    with pytest.raises(FrozenInstanceError):
        load_params(SHIPPED).train.lr = 1.0


def test_the_schema_describes_every_key(capsys):
    assert module.main(["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert list(schema["properties"]) == [field.name for field in fields(Params)]
    for name, definition in schema["$defs"].items():
        for key, field in definition["properties"].items():
            assert "description" in field, f"{name}.{key}"


def test_the_command_checks_the_file_in_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text())
    assert module.main(["--mark", "data/params.checked"]) == 0
    assert (tmp_path / "data/params.checked").read_text() == "valid\n"
    assert f"{len(KEYS)} values" in capsys.readouterr().out
    changed(tmp_path, "train.lr", -1)
    assert module.main([]) == 1
    assert "train.lr: got -1" in capsys.readouterr().err
