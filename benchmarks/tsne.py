"""t-SNE of 10,000 codes against scikit-learn's, in time and in what the picture keeps.

Both lay out the means of either code of the test images, standardised, under the
default run's perplexity and seed. Trustworthiness (Venna & Kaski, 2001): that neighbours in the
picture are neighbours among the codes. 10-nearest-neighbour preservation: the share of a code's
ten nearest that are among its point's ten nearest.
"""

import numpy as np
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from benchmarks.defaults import configured
from benchmarks.measure import Result, seconds
from pipeline.artifacts import MODEL, read_codes
from vaegan.embedding import standardise, tsne
from vaegan.model import weights_digest

NEIGHBOURS = 10
ROUNDS = 3


def preservation(codes: np.ndarray, points: np.ndarray) -> float:
    """Share of each code's nearest neighbours that are its point's nearest neighbours too."""
    near = [
        NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x).kneighbors(return_distance=False)
        for x in (codes, points)
    ]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    return float(np.mean(shared)) / NEIGHBOURS


def of_code(name: str) -> list[Result]:
    """Measures on one of the codes of the test images, in turn."""
    params, _, _ = configured()
    settings = params.visualize
    raw = np.array(read_codes("test", weights_digest(MODEL))[f"{name}_mean"])
    codes = standardise(raw)
    points: dict[str, list[np.ndarray]] = {"sklearn": [], "ours": []}
    times: dict[str, list[float]] = {"sklearn": [], "ours": []}

    def theirs() -> None:
        embedding = TSNE(perplexity=settings.tsne_perplexity, random_state=settings.seed)
        points["sklearn"].append(embedding.fit_transform(codes))

    def ours() -> None:
        threads = settings.threads
        points["ours"].append(tsne(raw, settings.tsne_perplexity, settings.seed, threads))

    for _ in range(ROUNDS):
        times["sklearn"].append(seconds(theirs))
        times["ours"].append(seconds(ours))
    taken = {who: float(np.median(values)) for who, values in times.items()}
    trust = {
        who: float(trustworthiness(codes, p[0], n_neighbors=NEIGHBOURS))
        for who, p in points.items()
    }
    kept = {who: preservation(codes, p[0]) for who, p in points.items()}
    same = all(np.array_equal(p, points["ours"][0]) for p in points["ours"])
    count, dims = codes.shape

    def result(
        what: str, value: float, unit: str = "", target: tuple[str, float] | None = None
    ) -> Result:
        return Result(f"{name} code: {what}", value, unit, target)

    return [
        result(f"scikit-learn's default, {count:,} x {dims}", taken["sklearn"], "s"),
        result("this project's", taken["ours"], "s"),
        result("time, ours / scikit-learn's", taken["ours"] / taken["sklearn"], "", ("<=", 0.6)),
        result("trustworthiness, scikit-learn's", trust["sklearn"]),
        result(
            "trustworthiness, ours less that", trust["ours"] - trust["sklearn"], "", (">=", 0.0)
        ),
        result("10-nearest-neighbour preservation, scikit-learn's", kept["sklearn"]),
        result("preservation, ours less that", kept["ours"] - kept["sklearn"], "", (">=", 0.0)),
        result("same seed, same picture (1: yes)", float(same), "", (">=", 1.0)),
    ]


def run() -> list[Result]:
    """Measures on both codes: the one lies in clusters, the other in one cloud."""
    return of_code("specified") + of_code("unspecified")
