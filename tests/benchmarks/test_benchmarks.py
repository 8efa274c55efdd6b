"""That the benchmarks measure what they say: their floors, their rivals, their data."""

import dataclasses
import sys
import time

import numpy as np
import pytest
import torch
from torch.utils import data as torch_data

from benchmarks import __main__ as bench
from benchmarks import growth, overhead, plain, quality, step
from benchmarks.measure import Memory, Result, side_by_side
from pipeline.artifacts.dataset import Dataset
from pipeline.data import sources
from vaegan.model.config import CodeConfig
from vaegan.rng import numpy_rng, torch_rng
from vaegan.training import losses
from vaegan.training.trainer import Trainer


def test_a_target_is_met_on_its_bound_and_missed_beyond():
    assert [Result("a", value, target=("<=", 1.2)).met for value in (1.2, 1.21)] == [True, False]
    assert [Result("a", value, target=(">=", 6.0)).met for value in (6.0, 5.9)] == [True, False]
    assert Result("a", 1.0).met is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3384.4, "3,384"),
        (1.084, "1.08"),
        (0.98881, "0.989"),
        (0.0000021, "0.000002"),
        (-0.0012, "-0.0012"),
    ],
)
def test_numbers_are_printed_to_three_digits(value, text):
    assert bench.number(value) == text


def test_the_table_says_where_a_target_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "LATEST", tmp_path / "latest")
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("Before\n\n| benchmark | quantity |\nold\n\nAfter\n")
    rows = [Result("fast", 1.0, "s", ("<=", 2.0)), Result("slow", 3.0, "s", ("<=", 2.0))]
    rows.append(Result("so", 4.0))
    fake = type("module", (), {"__doc__": "About.", "run": staticmethod(lambda: rows)})
    monkeypatch.setattr(bench.importlib, "import_module", lambda name: fake)
    bench.run_here("step")
    assert bench.table(tmp_path / "latest").splitlines()[2:] == [
        "| `step` | fast | 1 s | ≤ 2 s |",
        "| `step` | slow | 3 s | ≤ 2 s, **missed** |",
        "| `step` | so | 4 |  |",
    ]
    bench.publish()
    published = bench.table(tmp_path)
    assert "**missed**" in published
    assert (tmp_path / "README.md").read_text() == f"Before\n\n{published}\n\nAfter\n"


def test_functions_are_called_in_turn_and_the_median_is_taken():
    calls, waits = [], iter([0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0])

    def called(name: str) -> None:
        calls.append(name)
        time.sleep(next(waits))

    medians = side_by_side({n: lambda n=n: called(n) for n in "ab"}, repeats=3)
    assert calls == list("abababab")
    assert medians["a"] < 0.1  # one of three was slow


def test_the_floor_passes_through_every_network_and_changes_nothing(
    model_config, training_config, bars, monkeypatch
):
    trainer = Trainer(model_config, training_config, bars)
    state = trainer.state()
    passes, seen = step.floor(trainer), []
    backward = torch.autograd.backward
    monkeypatch.setattr(
        torch.autograd, "backward", lambda *a, **k: seen.append(k["inputs"]) or backward(*a, **k)
    )
    passes()

    def no_more(*_, **__) -> None:
        raise AssertionError("the floor draws random numbers in a step")

    monkeypatch.setattr(torch, "randn_like", no_more)
    monkeypatch.setattr(torch, "randn", no_more)
    passes()
    sizes = [len(list(player.parameters)) for player in trainer.players.values()]
    generator, discriminator, critic = sizes
    one = [generator + 3, discriminator, *[critic] * training_config.critic_steps]
    assert [len(inputs) for inputs in seen] == 2 * one
    assert all(tensor.grad is not None for inputs in seen for tensor in inputs)
    assert all(torch.equal(value, trainer.state()[key]) for key, value in state.items())


class Fixed(torch_data.Dataset):
    """Stands in for the loader's images where a test hands over its own batch."""

    def __len__(self) -> int:
        return 64


@pytest.mark.parametrize("sampled", [False, True])
def test_the_plain_implementation_has_the_same_objective(
    model_config, training_config, bars, monkeypatch, sampled
):
    """Under equal weights, images and noise (none), term by term, batch statistics aside."""
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.zeros(*shape))
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    specified, unspecified = CodeConfig(5, sampled, False), CodeConfig(3, sampled, False)
    structure = dataclasses.replace(model_config, specified=specified, unspecified=unspecified)
    ours = Trainer(structure, training_config, bars)
    theirs = plain.PlainTrainer(structure, training_config, Fixed())
    theirs.model.load_state_dict(ours.model.state_dict())
    theirs.critic.load_state_dict(ours.critic.state_dict())
    theirs.discriminator.load_state_dict(ours.discriminator.state_dict())
    for module in (ours.model, theirs.model):
        module.eval()
    encoded, images = ours._generate(torch_rng(training_config.seed, "batch", 0))
    logits = ours._discriminate(encoded, images)
    _, terms = ours._generator_loss(encoded, images, logits)
    pairs, weights = training_config.pairs, training_config.weights
    batch = ours.sampler.sample(pairs, torch_rng(training_config.seed, "batch", 0))
    anchor, partner = encoded.images.split(pairs)
    label, other = encoded.labels[:pairs], anchor[batch.other]
    both = [
        theirs.terms([x, y, other, label, encoded.other_labels])
        for x, y in ((anchor, partner), (partner, anchor))
    ]
    own, with_partner = (
        0.5 * sum(terms[name]().item() for terms in both) for name in ("own", "partner")
    )
    assert own == pytest.approx(
        weights.reconstruction * terms["reconstruction_loss"].item()
        + weights.specified_kl * terms["specified_kl_loss"].item()
        + weights.unspecified_kl * terms["unspecified_kl_loss"].item(),
        rel=1e-4,
    )
    assert with_partner == pytest.approx(weights.partner * terms["partner_loss"].item(), rel=1e-4)
    for name in ("adversarial", "adversarial_prior"):
        factor = getattr(weights, name)
        assert both[0][name]().item() == pytest.approx(
            factor * terms[f"{name}_loss"].item(), rel=1e-4
        )
    assert both[0]["style_cycle"]().item() == pytest.approx(
        weights.style_cycle * terms["style_cycle_loss"].item(), rel=1e-4
    )
    guesses = ours.critic(encoded.unspecified[:pairs])
    confusion = weights.confusion * losses.confusion_loss(guesses).item()
    assert both[0]["confusion"]().item() == pytest.approx(confusion, rel=1e-3, abs=1e-6)
    loss, _ = ours._discriminator_loss(logits)
    batch = [anchor, partner, other, label, encoded.other_labels]
    critic = losses.critic_loss(guesses, label).item()
    assert theirs.critic_loss(batch).item() == pytest.approx(critic, rel=1e-4)
    assert theirs.discriminator_loss(batch).item() == pytest.approx(loss.item(), rel=1e-4)


def test_triplets_are_of_one_class_and_of_another():
    images = type("Images", (), {})()
    images.targets = torch.arange(40) % 10
    images.__class__.__getitem__ = lambda self, i: (torch.tensor(i), int(self.targets[i]))
    images.__class__.__len__ = lambda self: 40
    triplets = plain.Triplets(images)
    for index in range(40):
        anchor, partner, other, label, other_label = triplets[index]
        assert anchor == index
        assert partner % 10 == label == index % 10
        assert other % 10 == other_label != label


def test_the_numbers_are_reached_when_all_are():
    good = {
        "specified/probe_accuracy": 0.99,
        "leakage/sampled": 0.3,
        "swap/identity_accuracy": 0.96,
    }
    assert quality.reached(good)
    for name, bad in (
        ("specified/probe_accuracy", 0.98),
        ("leakage/sampled", 0.7),
        ("swap/identity_accuracy", 0.9),
    ):
        assert not quality.reached(good | {name: bad})


def test_numbers_count_as_reached_from_when_they_are_kept():
    good = {
        "specified/probe_accuracy": 0.99,
        "leakage/sampled": 0.3,
        "swap/identity_accuracy": 0.96,
    }
    rows = [good | {"seconds": float(s)} for s in range(5)]
    rows[2]["leakage/sampled"] = 0.7
    found = {result.name: result.value for result in quality.results(rows)}
    assert found["seconds of training until then"] == 3.0
    rows[4]["leakage/sampled"] = 0.7
    missed = quality.results(rows)
    assert missed[0].met is False
    assert "seconds of training until then" not in [result.name for result in missed]


def test_the_plain_networks_are_laid_out_as_torch_does(model_config, training_config):
    theirs = plain.PlainTrainer(model_config, training_config, Fixed())
    layouts = []
    for module in theirs.model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(lambda _, x, y: layouts.append((x[0], y)))
    theirs.swapped(torch.rand(4, 1, 16, 16), torch.rand(4, 1, 16, 16))
    assert len(layouts) == 9
    assert all(tensor.is_contiguous() for pair in layouts for tensor in pair)


def test_larger_sets_hold_the_images_and_small_changes_of_them(tmp_path, bars, monkeypatch):
    monkeypatch.setattr(growth, "CHUNK", 64)
    data = Dataset({"train": bars, "test": bars}, {})
    resources = growth.write_archives(data, 3, tmp_path / "archives")
    assert [file for file, _ in resources] == [
        file for file, _ in sources.ARCHIVED["mnist"].resources
    ]
    kind = type("MNIST", (sources.ARCHIVED["mnist"],), {"resources": resources, "mirrors": []})
    monkeypatch.setitem(sources.ARCHIVED, "mnist", kind)
    folder = tmp_path / "raw/MNIST/raw"
    folder.parent.mkdir(parents=True)
    (tmp_path / "archives").rename(folder)
    train = sources.load_archives("mnist", tmp_path / "raw", 1.0)["train"]
    images = np.concatenate(list(train.blocks()))
    assert images.shape == (3 * 256, 1, 16, 16)
    assert np.array_equal(train.labels, np.tile(bars.labels, 3))
    first, second, third = images.reshape(3, 256, 1, 16, 16).astype(float)
    assert np.array_equal(first, bars.images)
    for other, reference in ((second, first), (third, first), (third, second)):
        assert not np.array_equal(other, reference)
        assert abs(other.mean() / reference.mean() - 1) < 0.25


def test_growths_images_differ_by_seed_only():
    images = np.random.default_rng(0).integers(0, 255, (4, 16, 16)).astype(np.uint8)
    same = [growth.moved(images, numpy_rng(0, "growth", 2)) for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], growth.moved(images, numpy_rng(1, "growth", 2)))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux counts it")
def test_own_memory_counts_what_is_allocated_and_not_what_is_mapped(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(25_000_000))
    base = Memory.own()
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert mapped.sum() == 25_000_000
    assert Memory.own() - base < 50e6
    with growth.watched() as memory:
        block = np.ones(25_000_000)
        time.sleep(0.2)
        del block
    assert memory["own"] - base > 180e6
    assert memory["resident"] >= memory["own"]


def test_a_slow_store_waits_once_per_call_from_outside(monkeypatch):
    waits = []
    monkeypatch.setattr(overhead.time, "sleep", waits.append)

    def inner() -> int:
        return 1

    slow = {"yes": True}
    inner = overhead.slowed(inner, lambda: slow["yes"])
    outer = overhead.slowed(lambda: inner() + inner(), lambda: slow["yes"])
    assert outer() == 2
    assert waits == [overhead.CALL_SECONDS]
    slow["yes"] = False
    assert outer() == 2
    assert len(waits) == 1
