import numpy as np

from vaegan.figures.choice import choose_different, choose_typical, spread_classes

LOOKS = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [100.0]])
GROUPS = np.array([0, 0, 1, 1, 0, 1, 1])


def test_each_image_is_the_one_of_its_group_farthest_from_those_before():
    chosen = choose_different(LOOKS, GROUPS, [0, 1, 0])
    assert GROUPS[chosen].tolist() == [0, 1, 0]
    assert 6 not in chosen  # far from all others
    assert chosen[:2].tolist() == [0, 5]
    assert choose_different(LOOKS, GROUPS, [0], taken=[0]).tolist() == [4]


def test_an_image_is_chosen_once_and_a_group_that_is_used_up_is_passed_over():
    chosen = choose_different(LOOKS, GROUPS, [0, 0, 0, 0, 1])
    assert sorted(chosen[:3].tolist()) == [0, 1, 4]
    assert GROUPS[chosen[3]] == 1
    assert len(chosen) == 4


def test_a_group_of_extreme_images_only_is_not_passed_over():
    assert choose_different(LOOKS, np.array([0] * 6 + [1]), [1]).tolist() == [6]


def test_typical_images_are_nearest_to_the_mean():
    looks = np.array([[0.0], [5.0], [9.0], [4.0]])
    assert choose_typical(looks, np.array([0, 0, 1, 1]), [0, 1, 0]).tolist() == [1, 3, 0]


def test_classes_are_spread_evenly_and_few_are_repeated():
    assert spread_classes(np.arange(1000), 4) == [0, 333, 666, 999]
    assert spread_classes(np.array([3, 8]), 5) == [3, 8, 3, 8, 3]
    assert spread_classes(np.arange(10), 10) == list(range(10))


def test_an_image_is_taken_twice_where_its_group_has_no_other():
    looks, groups = np.arange(6.0)[:, None], np.array([0, 0, 1, 1, 2, 2])
    avoided = choose_different(looks, groups, [0, 1, 2], taken=[0, 2, 4])
    assert avoided.tolist() == [1, 3, 5]
    again = choose_different(looks[:3], np.arange(3), [0, 1, 2], taken=[0, 1, 2])
    assert sorted(again) == [0, 1, 2]
