"""The benchmarks measure what they claim: floors, baselines, data, tables."""

import dataclasses
import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch.utils import data as torch_data

from benchmarks import __main__ as bench
from benchmarks import defaults, growth, overhead, plain, quality, ruler, step, together
from benchmarks.measure import Result, side_by_side
from pipeline.artifacts.dataset import read_dataset, write_dataset
from pipeline.journal import Journal
from pipeline.params import load_params
from vaegan.evaluation import probes
from vaegan.model.config import CodeConfig
from vaegan.rng import torch_rng
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
def test_numbers_have_three_significant_digits(value, text):
    assert bench.number(value) == text


def test_the_table_marks_missed_targets(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "LATEST", tmp_path / "latest")
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "DOCUMENT", tmp_path / "benchmarks.md")
    bench.DOCUMENT.write_text(f"Before\n\n{bench.START}\nold\n{bench.END}\n\nAfter\n")
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
    published = bench.published()
    assert bench.table(tmp_path) in published
    assert "**missed**" in published
    assert f"- `step`: {bench.machine()['cpu']}, " in published
    assert bench.DOCUMENT.read_text() == f"Before\n\n{published}\n\nAfter\n"


def test_a_document_without_table_markers_is_rejected_unchanged(tmp_path, monkeypatch):
    for name in ("LATEST", "RESULTS"):
        monkeypatch.setattr(bench, name, tmp_path / name)
        getattr(bench, name).mkdir()
    monkeypatch.setattr(bench, "DOCUMENT", tmp_path / "benchmarks.md")
    (bench.LATEST / "step.json").write_text("{}")
    bench.DOCUMENT.write_text("No table\n")
    with pytest.raises(ValueError, match="expected the lines <!-- table -->"):
        bench.publish()
    assert bench.DOCUMENT.read_text() == "No table\n"
    assert not list(bench.RESULTS.iterdir())


def test_functions_are_called_in_turn_and_the_median_is_taken():
    calls, waits = [], iter([0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0, 0.0])

    def called(name: str) -> None:
        calls.append(name)
        time.sleep(next(waits))

    medians = side_by_side({n: lambda n=n: called(n) for n in "ab"}, repeats=3)
    assert calls == list("abababab")
    assert medians["a"] < 0.1  # one of three was slow


def test_the_pictures_of_the_step_are_a_data_set_that_the_stages_loop_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "PICTURES", (3, 3, 8, 8))
    noise = step.pictures()
    Journal("train", root=tmp_path).begin(noise, {"tags": {}, "note": ""}, None)
    assert noise.train.image_shape == (3, 8, 8)
    assert noise.train.class_count == 3


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_floor_passes_through_every_network_and_changes_nothing(
    model_config, training_config, bars, monkeypatch, share
):
    config = dataclasses.replace(training_config, adversarial_share=share)
    trainer = Trainer(model_config, config, bars)
    state = trainer.state()
    passes, seen = step.floor(trainer), []
    backward = torch.autograd.backward
    monkeypatch.setattr(
        torch.autograd, "backward", lambda *a, **k: seen.append(k["inputs"]) or backward(*a, **k)
    )
    passes()

    def no_more(*_, **__) -> None:
        raise AssertionError("the floor samples random numbers in a step")

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


def test_the_plain_discriminator_is_given_the_same_share(model_config, training_config):
    config = dataclasses.replace(training_config, adversarial_share=0.25)
    theirs, seen = plain.PlainTrainer(model_config, config, Fixed()), []
    theirs.discriminator.register_forward_hook(lambda _, x, y: seen.append(len(x[0])))
    images, labels = torch.rand(16, 1, 16, 16), torch.arange(16) % 4
    batch = [images, images, images, labels, labels]
    theirs.discriminator_loss(batch)
    theirs.terms(batch)["adversarial"]()
    assert seen == [4] * 5


def test_triplets_hold_two_images_of_one_class_and_one_of_another():
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


def test_the_numbers_are_reached_only_if_all_are():
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


def test_numbers_count_as_reached_once_they_stay_reached():
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


def test_the_plain_networks_use_torchs_default_layout(model_config, training_config):
    theirs = plain.PlainTrainer(model_config, training_config, Fixed())
    layouts = []
    for module in theirs.model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(lambda _, x, y: layouts.append((x[0], y)))
    theirs.swapped(torch.rand(4, 1, 16, 16), torch.rand(4, 1, 16, 16))
    assert len(layouts) == 9
    assert all(tensor.is_contiguous() for pair in layouts for tensor in pair)


def test_larger_sets_repeat_the_images(tmp_path, bars):
    write_dataset(
        {"train": growth.repeated(bars, 3), "test": growth.repeated(bars, 1)},
        {"name": "bars", "class_names": list("abcd")},
        tmp_path,
    )
    data = read_dataset(tmp_path)
    assert np.array_equal(data.train.images, np.concatenate([bars.images] * 3))
    assert np.array_equal(data.train.labels, np.tile(bars.labels, 3))
    assert np.array_equal(data.test.images, bars.images)


def test_growth_is_the_cost_per_added_image_and_per_added_pixel():
    def took(encode: float, rate: float, own: float) -> growth.Stages:
        return dict.fromkeys(growth.STAGES, {"seconds": encode, "rate": rate, "own": own})

    found = {1: took(5.0, 100.0, 1e6), 4: took(8.0, 100.0, 1e6), 16: took(32.0, 50.0, 1.3e6)}
    rows = {row.name.split(" (")[0]: row for row in growth.results(found, images=1000, pixels=100)}
    assert rows["train: most / least time per image"].value == 2.0
    # 3 s for 3,000 more images, then 24 s for 12,000 more.
    assert rows["encode: most / least time per image"].value == pytest.approx(2.0)
    assert rows["classifier: own memory"].value == pytest.approx(3e5 / (15 * 1000 * 100))
    assert not rows["classifier: own memory"].met


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux counts it")
def test_own_memory_counts_allocated_but_not_mapped_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(25_000_000))
    code = """
import os, sys
import numpy as np
from benchmarks.growth import own_memory
base = own_memory(os.getpid())
mapped = np.load(sys.argv[1], mmap_mode="r")
assert mapped.sum() == 25_000_000
print(own_memory(os.getpid()) - base)
block = np.ones(25_000_000)
print(own_memory(os.getpid()) - base)
"""
    # A process of its own: memory that other tests have freed here would be taken for the block.
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.npy")],
        cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True,
    )  # fmt: skip
    with_mapped, with_block = map(int, done.stdout.split())
    assert with_mapped < 50e6
    assert with_block > 180e6


def test_own_memory_of_an_ended_process_is_zero():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert growth.own_memory(process.pid) == 0


def test_a_rate_counts_the_steps_before_the_last(monkeypatch):
    now = iter([0.0, 1.0, 2.0, 3.0, 4.0, 100.0])
    monkeypatch.setattr(together.time, "perf_counter", lambda: next(now))
    stops = iter([False, False, True])
    steps = []
    rate = together.rate(lambda: steps.append(1), lambda: next(stops), 10, itertools.count())
    assert len(steps) == 4
    assert rate == 10.0


def test_concurrent_trainings_are_compared_with_one_alone_round_by_round():
    rates = {(1, True): [100.0, 50.0, 100.0], (2, True): [90.0, 50.0, 99.0],
             (3, True): [80.0, 45.0, 95.0], (1, False): [100.0, 50.0, 125.0],
             (2, False): [20.0, 10.0, 25.0]}  # fmt: skip
    rows = together.results(rates)
    assert [row.value for row in rows] == [100.0, 0.99, 0.9, 1.0, 0.2]
    assert [row.met for row in rows] == [None, True, False, True, None]


def test_the_start_of_a_stage_ends_when_it_reads_its_first_input(tmp_path, bars):
    defaults.write_params(tmp_path)
    write_dataset(
        {"train": growth.repeated(bars, 1), "test": growth.repeated(bars, 1)},
        {"name": "bars", "class_names": list("abcd")},
        tmp_path / "data/prepared",
    )
    assert 0 < overhead.stage_start("encode", tmp_path, repeats=1) < 600
    with pytest.raises(RuntimeError, match="opened no input"):
        overhead.stage_start("check", tmp_path, repeats=1)


def test_intervals_end_at_reports_and_the_process_is_stopped_between_them():
    code = "while True: print('step\\nstep 1', flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    watched = psutil.Process(process.pid)
    try:
        for _ in range(2):
            assert overhead.interval(process) > 0
            time.sleep(0.1)
            used = watched.cpu_times()
            assert watched.status() == psutil.STATUS_STOPPED
            time.sleep(0.2)
            assert watched.cpu_times() == used
    finally:
        process.kill()
        process.wait()


def test_an_interval_of_an_ended_training_is_an_error():
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    with pytest.raises(RuntimeError, match="status 3"):
        overhead.interval(process)


def test_parameters_are_written_with_the_given_values_replaced(tmp_path):
    defaults.write_params(tmp_path, steps=7, transport={"steps": 5})
    written, shipped = load_params(tmp_path / "params.yaml"), load_params()
    assert (written.train.steps, written.train.transport.steps) == (7, 5)
    assert written.train.transport.images == shipped.train.transport.images
    assert written.evaluate == shipped.evaluate


def test_a_doubling_is_stated_in_standard_errors_of_the_headline(monkeypatch):
    """Under a panel whose accuracy is known: 0.2, or 0.21 with wider probes, 0.18 of half."""
    asked = []

    def headline(codes, **constants):
        asked.append((len(codes[0]), constants))
        return 0.21 if "WIDTH" in constants else 0.18 if len(codes[0]) == 500 else 0.2

    monkeypatch.setattr(ruler, "headline", headline)
    codes = np.zeros((1000, 2)), np.zeros(1000, int), np.zeros((400, 2)), np.zeros(400, int)
    rows = {result.name: result.value for result in ruler.convergence("it", codes)}
    error = np.sqrt(0.2 * 0.8 / 400)
    assert rows == pytest.approx(
        {
            "it: accuracy of the panel": 0.2,
            "it: change in standard errors, twice as wide": 0.01 / error,
            "it: change in standard errors, twice as long": 0.0,
            "it: change in standard errors, twice as many": 0.0,
            "it: change in standard errors, all codes instead of half": 0.02 / error,
        }
    )
    doubled = [constants for _, constants in asked if constants]
    assert doubled == [
        {"WIDTH": 2 * probes.WIDTH},
        {"ROUNDS": 2 * probes.ROUNDS, "PATIENCE": 2 * probes.PATIENCE},
        {"NETWORKS": 2 * probes.NETWORKS},
    ]


def test_the_constants_that_are_doubled_reach_the_probes(monkeypatch):
    monkeypatch.setattr(probes, "ROUND_STEPS", 2)
    monkeypatch.setattr(probes, "ROUNDS", 2)
    seen = []
    fit = probes._fit_network

    def counted(*args):
        seen.append(probes.WIDTH)
        return fit(*args)

    monkeypatch.setattr(probes, "_fit_network", counted)
    rng = np.random.default_rng(0)
    codes, labels = rng.standard_normal((200, 3)).astype(np.float32), np.arange(200) % 10
    ruler.headline((codes, labels, codes, labels), WIDTH=8, NETWORKS=3)
    assert seen == [8, 8, 8]
    assert ruler.headline((codes, labels, codes, labels)) >= 0
    assert probes.WIDTH > 8


def test_the_best_possible_probe_of_a_planted_leak_reads_more_than_chance(monkeypatch):
    monkeypatch.setattr(ruler, "TRAIN", 500)
    for words, plant, size, flow, _ in ruler.PLANTED:
        codes, best = ruler.planted(plant, size, flow, 10_000)
        assert [len(part) for part in codes] == [500, 500, 10_000, 10_000]
        # Standard error at chance: 0.003; three of them.
        assert 0.109 < best < 0.3, words
