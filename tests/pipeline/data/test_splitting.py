import numpy as np
import pytest

from pipeline.data.splitting import bundles, hold_out


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def singles(count: int) -> list[np.ndarray]:
    return [np.array([row]) for row in range(count)]


def test_rows_are_bundled_directly_and_through_others():
    keys = [["a"], ["b"], ["c"], ["a", "c"], [], ["b"], []]
    found = [rows.tolist() for rows in bundles(keys)]
    assert found == [[0, 2, 3], [1, 5], [4], [6]]


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_each_class_gives_its_share_and_the_sum_is_exact(fraction):
    labels = np.repeat(np.arange(4), [10, 50, 101, 900])
    held = hold_out(labels, singles(len(labels)), fraction, rng())
    counts = np.bincount(labels[held])
    assert np.abs(counts - fraction * np.bincount(labels)).max() < 1
    assert held.sum() == round(fraction * len(labels))


@pytest.mark.parametrize(("count", "held"), [(1, 0), (2, 0), (3, 1), (4, 1), (9, 2), (10, 2)])
def test_a_small_class_keeps_a_pair_and_gives_one_if_it_can(count, held):
    labels = np.repeat([0, 1], [count, 100])
    assert hold_out(labels, singles(len(labels)), 0.2, rng())[:count].sum() == held


def test_every_class_keeps_two_images_even_if_nearly_all_are_asked_for():
    labels = np.repeat([0, 1], [5, 100])
    held = hold_out(labels, singles(len(labels)), 0.99, rng())
    assert np.bincount(labels[~held]).tolist() == [2, 2]


def test_bundles_are_whole_and_of_many_sizes_the_shares_are_kept():
    sizes = rng().integers(1, 12, 300)
    owner = np.repeat(np.arange(300), sizes)
    labels = rng().integers(0, 7, len(owner))
    together = [np.flatnonzero(owner == number) for number in range(300)]
    held = hold_out(labels, together, 0.2, rng())
    assert all(len(set(held[rows].tolist())) == 1 for rows in together)
    shares = np.bincount(labels[held]) / np.bincount(labels)
    assert np.abs(shares - 0.2).max() < 0.05


def test_a_bundle_larger_than_the_share_stays_in_training():
    labels = np.repeat([0, 1], [50, 50])
    together = [np.arange(30), *(np.array([row]) for row in range(30, 100))]
    held = hold_out(labels, together, 0.2, rng())
    assert not held[:30].any()
    assert np.bincount(labels[held]).tolist() == [10, 10]


def test_the_choice_depends_on_the_rng_alone():
    labels = np.repeat([0, 1], [50, 50])
    once, again = (hold_out(labels, singles(100), 0.2, rng()) for _ in range(2))
    other = hold_out(labels, singles(100), 0.2, np.random.default_rng(1))
    assert (once == again).all()
    assert (once != other).any()
