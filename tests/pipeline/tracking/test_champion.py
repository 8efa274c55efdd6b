"""Which registered version becomes champion, and why another does not."""

import json
import re
import threading

import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.artifacts.paths import MODEL
from pipeline.stages.evaluate import NO_GATES, gates_passed
from pipeline.tracking import champion, registry
from vaegan.model.vae import DisentanglingVAE, weights_digest

GATES = {"swap/identity_accuracy": (">=", 0.9), "leakage/mean": ("<=", 0.4)}


def results(leakage: float | None, **changes) -> dict:
    """Content of ``metrics.json`` for a model with this leakage."""
    metrics = {"swap/identity_accuracy": changes.pop("swaps", 0.95), "leakage/mean": leakage}
    words = {
        "dataset": "mnist",
        "split": "test",
        "verdict": "sound",
        "protocol": "p",
        "champion_by": "leakage/mean",
    } | changes
    words.setdefault("gates", gates_passed(metrics, words["verdict"], GATES))
    return words | metrics


@pytest.fixture
def register(told, model_config):
    """A function that writes, tracks and registers a model as if trained; returns its digest."""

    def one(seed: int, dataset: str = "mnist") -> str:
        torch.manual_seed(seed)
        DisentanglingVAE(model_config).eval().save(MODEL, {"params": {}})
        told.train()
        digest = weights_digest(MODEL)
        registry.tag_version_of(digest, {"dataset": dataset})
        return digest

    return one


def holder(alias: str = "champion") -> str | None:
    found = champion.champion_of("mnist" if alias == "champion" else alias.split("-", 1)[1])
    return str(found.version) if found else None


def test_the_first_passing_version_is_champion_until_a_better_one(register):
    assert champion.consider(register(0), results(0.3)) == (
        "version 1: champion of mnist: leakage/mean 0.3000"
    )
    worse = champion.consider(register(1), results(0.35))
    assert worse.endswith("leakage/mean 0.3500 is no better than 0.3000 of version 1")
    assert holder() == "1"
    champion.consider(register(2), results(0.2))
    assert holder() == "3"
    tags = {str(v.version): v.tags for v in MlflowClient().search_model_versions("name = 'vaegan'")}
    assert tags["2"]["champion"].startswith("not champion: leakage/mean")
    assert tags["3"]["champion"] == "champion of mnist, after version 1: leakage/mean 0.2000"
    assert json.loads(tags["3"]["judged"]) == {
        "protocol": "p",
        "leakage/mean": 0.2,
        "swap/identity_accuracy": 0.95,
        "reconstruction/mse": None,
    }


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (results(0.3), "no better than 0.3000"),  # equal is not better
        (results(0.2, swaps=0.89), "swap/identity_accuracy is 0.8900, expected >= 0.9"),
        (results(0.5), "leakage/mean is 0.5000, expected <= 0.4"),
        (results(float("nan")), "leakage/mean is nan, expected a number"),
        (results(None), "leakage/mean is None, expected a number"),
        (results(0.2, verdict="untrusted"), "the verdict is untrusted"),
        (results(0.2, split="validation"), "evaluated on validation images"),
        (results(0.2, protocol="q"), "another protocol; .*--set 2"),
    ],
)
def test_a_candidate_that_fails_any_condition_is_rejected(register, candidate, reason):
    champion.consider(register(0), results(0.3))
    said = champion.consider(register(1), candidate)
    assert said.startswith("version 2: not champion: ")
    assert re.search(reason, said), said
    assert holder() == "1"


def test_champions_of_two_data_sets_are_independent(register):
    champion.consider(register(0), results(0.3))
    champion.consider(register(1, "digits"), results(0.1, dataset="digits"))
    assert (holder(), holder("champion-digits")) == ("1", "2")


def test_evaluating_the_champion_again_leaves_it_and_its_reason(register):
    champion.consider(register(0), results(0.3))
    digest = register(1)
    champion.consider(digest, results(0.2))
    said = champion.consider(digest, results(0.2))
    assert said == "version 2: champion of mnist, after version 1: leakage/mean 0.2000"
    assert "stays the champion of mnist, though leakage/mean is 0.6" in champion.consider(
        digest, results(0.6)
    )
    assert holder() == "2"


def test_the_champion_measured_by_another_protocol_shows_its_new_number(register):
    champion.consider(register(0), results(0.39))
    digest = register(1)
    champion.consider(digest, results(0.3))
    said = champion.consider(digest, results(0.35, protocol="q"))
    assert said == "version 2: champion of mnist, after version 1: leakage/mean 0.3500"


def test_the_better_of_two_versions_evaluated_at_once_is_champion(register):
    digests = [register(seed) for seed in range(4)]
    leakages = [0.3, 0.1, 0.2, 0.25]
    threads = [
        threading.Thread(target=champion.consider, args=(digest, results(leakage)))
        for digest, leakage in zip(digests, leakages, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert holder() == "2"


def test_the_champion_can_be_set_by_hand_and_the_list_shows_it(register, capsys):
    champion.consider(register(0), results(0.3))
    champion.consider(register(1), results(0.2))
    assert champion.main(["--set", "1"]) == 0
    assert holder() == "1"
    capsys.readouterr()
    assert champion.main([]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "version 2 [candidate, candidate-bars] (mnist): "
        "champion of mnist, after version 1: leakage/mean 0.2000"
    )
    assert second == "version 1 [champion] (mnist): champion of mnist, set by hand"
    for wrong in ("9", "one", "1.5", "-1"):
        assert champion.main([f"--set={wrong}"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"error: --set: got {wrong}, expected a version of vaegan: 2, 1"
    assert holder() == "1"


def refused(capsys, *arguments: str) -> str:
    """The one line of a command that has to fail."""
    capsys.readouterr()
    assert champion.main([*arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def tags_of(number: str) -> dict[str, str]:
    return MlflowClient().get_model_version("vaegan", number).tags


def test_a_version_that_something_speaks_against_is_set_by_force_only_and_that_is_recorded(
    register, capsys
):
    champion.consider(register(0), results(0.3))
    digest = register(1)
    assert "error: version 2 is not made champion of mnist: it was never evaluated." in refused(
        capsys, "--set", "2"
    )
    objections = {
        "its verdict is degenerate": {"verdict": "degenerate"},
        "its verdict is untrusted": {"verdict": "untrusted"},
        "it missed a gate: leakage/mean is 0.5000, expected <= 0.4": {"leakage": 0.5},
        "it was evaluated on validation images": {"split": "validation"},
    }
    for objection, changes in objections.items():
        champion.consider(digest, results(changes.pop("leakage", 0.2), **changes))
        line = refused(capsys, "--set", "2")
        assert objection in line
        assert line.endswith("python -m pipeline champion --set 2 --force does it all the same")
        assert holder() == "1"
    champion.consider(digest, results(0.2, verdict="degenerate"))
    assert champion.main(["--set", "2", "--force"]) == 0
    said = capsys.readouterr()
    assert said.err == "WARNING: its verdict is degenerate\n"
    assert said.out == "version 2 is now the champion of mnist: models:/vaegan@champion\n"
    assert holder() == "2"
    assert tags_of("2")["champion.forced"] == "its verdict is degenerate"
    assert tags_of("2")["champion"].endswith(
        "set by hand with --force, although its verdict is degenerate"
    )
    champion.consider(digest, results(0.2))  # with another protocol of gates it may pass
    assert champion.main(["--set", "2"]) == 0
    assert "champion.forced" not in tags_of("2")


def test_what_speaks_against_a_version_of_an_earlier_release_is_read_from_its_run(register, capsys):
    champion.consider(register(0), results(0.2, verdict="degenerate"))
    client = MlflowClient()
    for name in champion.WORDS:
        client.delete_model_version_tag("vaegan", "1", name)
    assert "of mnist: the verdict is degenerate." in refused(capsys, "--set", "1")
    run_id = client.get_model_version("vaegan", "1").run_id
    for name, word in {"verdict": "degenerate", "gates": "the verdict is degenerate"}.items():
        client.set_tag(run_id, name, word)
    assert "its verdict is degenerate" in refused(capsys, "--set", "1")
    client.delete_tag(run_id, "verdict")
    client.set_model_version_tag("vaegan", "1", "champion", "champion of mnist: leakage/mean 0.2")
    assert champion.main(["--set", "1"]) == 0


def test_a_version_that_cannot_be_loaded_is_not_set_even_by_force(register, capsys):
    champion.consider(register(0), results(0.3))
    champion.consider(register(1), results(0.4))
    version = MlflowClient().get_model_version("vaegan", "2")
    (weights,) = registry.local_folder(version).rglob("weights.safetensors")
    weights.unlink()
    line = refused(capsys, "--set", "2", "--force")
    assert line.startswith("error: version 2 cannot be loaded (weights.safetensors missing)")
    assert "python -m pipeline track restores it" in line
    assert holder() == "1"


def test_a_version_of_another_data_set_is_set_for_its_own(register, capsys):
    champion.consider(register(0), results(0.3))
    champion.consider(register(1, "my images"), results(0.35, dataset="my images", split="test"))
    assert champion.main(["--set", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("version 2 is now the champion of my images: models:/vaegan@champion-")
    assert said.endswith("-my-images-0999b277\n")
    assert holder() == "1"


def test_force_alone_is_refused(capsys):
    with pytest.raises(SystemExit):
        champion.main(["--force"])
    assert "--force is for --set VERSION" in capsys.readouterr().err


def test_a_model_that_was_never_registered_is_not_considered(register):
    assert champion.consider("0" * 64, results(0.1)) is None


def test_the_metric_to_choose_by_may_change(register):
    champion.consider(register(0), results(0.3))
    by_swaps = {"champion_by": "swap/identity_accuracy"}
    said = champion.consider(register(1), results(0.35, swaps=0.96, **by_swaps))
    assert said.endswith("champion of mnist, after version 1: swap/identity_accuracy 0.9600")
    said = champion.consider(register(2), results(0.2, swaps=0.96, **by_swaps))
    assert said.endswith("swap/identity_accuracy 0.9600 is no better than 0.9600 of version 2")


def test_an_unreachable_store_does_not_mean_that_there_is_no_champion(register, monkeypatch):
    champion.consider(register(0), results(0.2))
    digest = register(1)

    def lost(*_) -> None:
        raise MlflowException("database is locked")

    monkeypatch.setattr(MlflowClient, "get_registered_model", lost)
    with pytest.raises(MlflowException, match="locked"):
        champion.consider(digest, results(0.3))
    monkeypatch.undo()
    assert holder() == "1"


def test_a_quick_evaluation_makes_no_champion(register):
    said = champion.consider(register(0), results(0.1, gates=NO_GATES, effort="quick"))
    assert "not champion: not applied: a quick evaluation" in said
    assert champion.champion_of("mnist") is None
    with pytest.raises(ValueError, match="it was evaluated quickly only"):
        champion.promote("1")
