import numpy as np

from vaegan.figures.tsne import tsne


def test_tsne_keeps_clusters_apart_in_the_order_of_the_codes_and_repeats():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], 30))
    codes = 100.0 * labels[:, None] + rng.standard_normal((90, 4))
    codes[:, 3] = 7.0  # a dimension that does not vary
    points = tsne(codes, perplexity=10, seed=1)
    assert points.shape == (90, 2)
    assert points.dtype == np.float32
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).all()
    assert np.array_equal(points, tsne(codes, perplexity=10, seed=1))


def test_tsne_lays_out_the_fewest_codes_it_takes():
    points = tsne(np.random.default_rng(0).standard_normal((6, 3)), perplexity=30, seed=0)
    assert points.shape == (6, 2)
    assert np.isfinite(points).all()
