"""Which registered version becomes champion, and why another does not."""

import json
import re
import threading

import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.artifacts.paths import MODEL
from pipeline.stages.evaluate import gates_passed
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


def test_the_first_that_passes_is_champion_and_a_better_one_takes_its_place(register):
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
def test_a_candidate_that_is_not_better_in_every_respect_is_refused(register, candidate, reason):
    champion.consider(register(0), results(0.3))
    said = champion.consider(register(1), candidate)
    assert said.startswith("version 2: not champion: ")
    assert re.search(reason, said), said
    assert holder() == "1"


def test_champions_of_two_data_sets_never_meet(register):
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


def test_of_two_that_are_evaluated_at_once_the_better_one_is_champion(register):
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


def test_the_alias_goes_back_by_hand_and_the_list_says_so(register, capsys):
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
    assert champion.main(["--set", "9"]) == 1
    assert "--set: got 9, expected a version of vaegan" in capsys.readouterr().err


def test_a_model_that_was_never_registered_is_not_considered(register):
    assert champion.consider("0" * 64, results(0.1)) is None


def test_the_metric_to_choose_by_may_change(register):
    champion.consider(register(0), results(0.3))
    by_swaps = {"champion_by": "swap/identity_accuracy"}
    said = champion.consider(register(1), results(0.35, swaps=0.96, **by_swaps))
    assert said.endswith("champion of mnist, after version 1: swap/identity_accuracy 0.9600")
    said = champion.consider(register(2), results(0.2, swaps=0.96, **by_swaps))
    assert said.endswith("swap/identity_accuracy 0.9600 is no better than 0.9600 of version 2")


def test_a_store_that_does_not_answer_has_not_said_that_there_is_no_champion(register, monkeypatch):
    champion.consider(register(0), results(0.2))
    digest = register(1)

    def lost(*_) -> None:
        raise MlflowException("database is locked")

    monkeypatch.setattr(MlflowClient, "get_registered_model", lost)
    with pytest.raises(MlflowException, match="locked"):
        champion.consider(digest, results(0.3))
    monkeypatch.undo()
    assert holder() == "1"
