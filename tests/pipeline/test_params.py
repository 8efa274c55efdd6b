import json
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipeline import params as module
from pipeline.params import Params, ParamsError, flat, load_params

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


def sections(model: type[BaseModel] = Params, prefix: str = "") -> list[str]:
    """Every section by dotted key, the whole file as the empty one."""
    found = [prefix]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += sections(field.annotation, f"{prefix}{name}.")
    return found


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_is_one_line_with_key_value_and_what_is_allowed(tmp_path, key):
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
    schema = Params.model_json_schema()
    cases: list[tuple[str, object]] = []

    def walk(definition: dict, prefix: str) -> None:
        for name, field in definition["properties"].items():
            if "$ref" in field:
                walk(schema["$defs"][field["$ref"].rsplit("/", 1)[1]], f"{prefix}{name}.")
                continue
            key, kind = f"{prefix}{name}", field.get("type")
            cases.extend((key, value) for value in ([1], {"a": 1}, "1", ""))
            if kind != "boolean":
                cases.append((key, True))
            if kind in ("integer", "number"):
                cases.extend((key, value) for value in (float("nan"), float("inf"), -float("inf")))
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
def test_a_broken_value_is_refused_by_name_in_a_line(tmp_path, capsys, monkeypatch, key, value):
    path = changed(tmp_path, key, value)
    monkeypatch.chdir(tmp_path)
    assert module.main([]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"{path.name}: {key}: got ")
    assert ", expected " in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("section", sections())
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
        ("prepare.dataset", "cifar", "'mnist', 'fashion_mnist', 'kmnist' or 'digits'"),
        ("visualize.tsne_images", 10**6, "less than or equal to 10000"),
    ],
)
def test_bounds_are_told(tmp_path, key, value, allowed):
    with pytest.raises(ParamsError, match=allowed):
        load_params(changed(tmp_path, key, value))


def test_images_that_are_not_held_out_cannot_be_judged_by(tmp_path):
    path = changed(tmp_path, "evaluate.split", "validation")
    with pytest.raises(ParamsError, match="evaluate.split: got 'validation', expected 'test' as"):
        load_params(path)
    path.write_text(path.read_text().replace("validation_size: 0", "validation_size: 500"))
    assert load_params(path).prepare.validation_size == 500


def test_a_transport_beside_a_variance_of_each_images_own_is_refused(tmp_path):
    path = changed(tmp_path, "model.unspecified.shared_variance", False)
    with pytest.raises(ParamsError, match=r"model: .*model.unspecified.shared_variance: true"):
        load_params(path)
    path.write_text(path.read_text().replace("layers: 8", "layers: 0"))
    assert load_params(path).model.transport.layers == 0


@pytest.mark.parametrize("text", ["2e-4", "1e-5", "1e-05", "0.0002", "1E-3"])
def test_small_rates_are_numbers_however_they_are_written(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text().replace("  lr: 2e-3", f"  lr: {text}"))
    assert load_params(path).train.lr == float(text)


@pytest.mark.parametrize("text", ["yes", "on", "'true'"])
def test_words_are_not_booleans(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text().replace("variational: true", f"variational: {text}", 1))
    with pytest.raises(ParamsError, match="model.specified.variational: got .*boolean"):
        load_params(path)


def test_every_fault_is_told_at_once(tmp_path):
    path = changed(tmp_path, "train.lr", -1)
    path.write_text(path.read_text().replace("pairs:", "pairz:"))
    with pytest.raises(ParamsError) as error:
        load_params(path)
    text = str(error.value)
    assert len(text.splitlines()) == 3
    for fault in ("train.lr: got -1", "train.pairs: is missing", "train.pairz: unknown key"):
        assert fault in text


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: b: c", "train: {lr: 1, lr: 2}", "\x00"])
def test_what_is_no_parameters_file_is_refused_in_a_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as error:
        load_params(path)
    assert all(line.startswith(str(path)) for line in str(error.value).splitlines())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match="nowhere.yaml"):
        load_params(tmp_path / "nowhere.yaml")


def test_parameters_cannot_be_changed_once_read():
    with pytest.raises(ValueError, match="frozen"):
        load_params(SHIPPED).train.lr = 1.0


def test_the_schema_describes_every_key(capsys):
    assert module.main(["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(Params.model_fields)
    for name, definition in schema["$defs"].items():
        for key, field in definition["properties"].items():
            assert "description" in field or "$ref" in field, f"{name}.{key}"


def test_the_command_checks_the_file_in_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text())
    assert module.main(["--mark", "data/params.checked"]) == 0
    assert (tmp_path / "data/params.checked").read_text() == "valid\n"
    assert f"{len(KEYS)} values" in capsys.readouterr().out
    changed(tmp_path, "train.lr", -1)
    assert module.main([]) == 1
    assert "train.lr: got -1" in capsys.readouterr().err
