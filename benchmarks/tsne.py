"""t-SNE of 10,000 codes against scikit-learn's, in time and in what the picture keeps.

Both lay out the means of either code, standardised, under the default run's perplexity and seed:
of the test images, and of two sets of as many training images, for where a descent ends hangs on
rounding, and with it the last digits of what a picture keeps. Trustworthiness (Venna & Kaski,
2001): that neighbours in the picture are neighbours among the codes. 10-nearest-neighbour
preservation: the share of a code's ten nearest that are among its point's ten nearest. Means are
given over the sets, and medians of time.
"""

import time

import numpy as np
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from benchmarks.defaults import configured
from benchmarks.measure import Result
from pipeline.artifacts.codes import read_codes
from pipeline.artifacts.paths import MODEL
from vaegan.figures.tsne import standardise, tsne
from vaegan.model.vae import weights_digest

NEIGHBOURS = 10
TRAINING_SETS = 2


def preservation(codes: np.ndarray, points: np.ndarray) -> float:
    """Share of each code's nearest neighbours that are its point's nearest neighbours too."""
    near = [
        NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x).kneighbors(return_distance=False)
        for x in (codes, points)
    ]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    return float(np.mean(shared)) / NEIGHBOURS


def of_code(name: str) -> list[Result]:
    """Measures on one of the codes, in turn."""
    params, _, _ = configured()
    settings = params.visualize
    digest = weights_digest(MODEL)
    means = {split: read_codes(split, digest)[f"{name}_mean"] for split in ("test", "train")}
    count, dims = means["test"].shape
    sets = [np.array(means["test"])]
    sets += [np.array(means["train"][i * count :][:count]) for i in range(TRAINING_SETS)]
    trust: dict[str, list[float]] = {"sklearn": [], "ours": []}
    kept: dict[str, list[float]] = {"sklearn": [], "ours": []}
    times: dict[str, list[float]] = {"sklearn": [], "ours": []}

    def theirs(codes: np.ndarray) -> np.ndarray:
        embedding = TSNE(perplexity=settings.tsne_perplexity, random_state=settings.seed)
        return np.asarray(embedding.fit_transform(standardise(codes)))

    def ours(codes: np.ndarray) -> np.ndarray:
        return tsne(codes, settings.tsne_perplexity, settings.seed, settings.threads)

    for codes in sets:
        for who, embed in (("sklearn", theirs), ("ours", ours)):
            begun = time.perf_counter()
            points = embed(codes)
            times[who].append(time.perf_counter() - begun)
            near = standardise(codes)
            trust[who].append(float(trustworthiness(near, points, n_neighbors=NEIGHBOURS)))
            kept[who].append(preservation(near, points))
        print(name, {who: (trust[who][-1], kept[who][-1]) for who in trust}, flush=True)
    taken = {who: float(np.median(values)) for who, values in times.items()}
    trusted, preserved = (
        {w: float(np.mean(v)) for w, v in found.items()} for found in (trust, kept)
    )
    same = np.array_equal(points, ours(codes))

    def result(
        what: str, value: float, unit: str = "", target: tuple[str, float] | None = None
    ) -> Result:
        return Result(f"{name} code: {what}", value, unit, target)

    least = (">=", 0.0)
    return [
        result(f"scikit-learn's default, {count:,} x {dims}", taken["sklearn"], "s"),
        result("this project's", taken["ours"], "s"),
        result("time, ours / scikit-learn's", taken["ours"] / taken["sklearn"], "", ("<=", 0.6)),
        result("trustworthiness, scikit-learn's", trusted["sklearn"]),
        result("trustworthiness, ours less that", trusted["ours"] - trusted["sklearn"], "", least),
        result("10-nearest-neighbour preservation, scikit-learn's", preserved["sklearn"]),
        result("preservation, ours less that", preserved["ours"] - preserved["sklearn"], "", least),
        result("same seed, same picture (1: yes)", float(same), "", (">=", 1.0)),
    ]


def run() -> list[Result]:
    """Measures on both codes: the one lies in clusters, the other in one cloud."""
    return of_code("specified") + of_code("unspecified")
