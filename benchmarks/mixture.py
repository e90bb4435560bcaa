"""Gaussian mixtures beside scikit-learn: same start, ten steps, no regularisation, the same number of threads, results compared.

    python -m benchmarks.mixture [--quick] [--only PART ...]
"""
from __future__ import annotations
import sys
import warnings
import numpy as np
from em_notes import GMM, em, settings
from em_notes.data.datasets import faithful
from .common import PAUSE, fastest, interleave, peak_memory, run, seconds, table

STEPS = 10
CASES = [(10 ** 5, 2, 5, "full"), (10 ** 5, 16, 10, "full"), (10 ** 6, 8, 16, "full"), (2 * 10 ** 5, 64, 16, "full"), (10 ** 6, 8, 16, "diag"),
         (10 ** 6, 8, 16, "tied"), (10 ** 6, 8, 16, "spherical"), (10 ** 7, 4, 4, "full")]


def problem(n: int, d: int, k: int, seed: int = 0): # rows (n, d) and the parts of a start
    "Rows of k overlapping Gaussians, and a start: rows as means, the covariance of all rows for every component."
    rng = np.random.default_rng(seed)
    centres, turns = 2 * rng.standard_normal((k, d)), [np.linalg.qr(rng.standard_normal((d, d)))[0] * rng.uniform(0.5, 1.5, d) for _ in range(k)]
    x = np.empty((n, d))
    for a in range(0, n, 50_000):
        z = rng.integers(k, size=min(50_000, n - a))
        for j in range(k):
            mine = np.flatnonzero(z == j)
            x[a + mine] = centres[j] + rng.standard_normal((len(mine), d)) @ turns[j].T
    own = np.cov(x[:100_000].T).reshape(d, d)
    return x, np.full(k, 1 / k), x[rng.choice(n, k, replace=False)], np.array([own] * k)


def shaped(covs: np.ndarray, covariance: str): # the covariances and precisions by type
    "The start's covariances as the type wants them."
    c = {"full": lambda: covs, "tied": lambda: covs[0], "diag": lambda: np.einsum("kii->ki", covs).copy(), "spherical": lambda: np.einsum("kii->k", covs) / covs.shape[1]}[covariance]()
    return c, np.linalg.inv(c) if covariance in ("full", "tied") else 1 / c


def peer(x, weights, means, precisions, covariance, steps):
    from sklearn.mixture import GaussianMixture
    with warnings.catch_warnings():
        warnings.simplefilter("ignore") # that ten steps do not converge is what we ask for
        return GaussianMixture(len(weights), covariance_type=covariance, weights_init=weights, means_init=means, precisions_init=precisions, max_iter=steps, tol=0, reg_covar=0).fit(x)


def ours(x, weights, means, covs, covariance, steps): return em(GMM(weights, means, covs, covariance), x, max_iter=steps, tol=0)


def difference(run, other) -> float: # relative
    "The largest difference of the two results."
    pairs = [(run.theta.weights, other.weights_), (run.theta.components.means, other.means_), (run.theta.components.covs, other.covariances_)]
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


def limited(threads: int): # for `with`
    "Both sides on the same number of threads."
    from contextlib import ExitStack
    from threadpoolctl import threadpool_limits
    stack = ExitStack()
    stack.enter_context(threadpool_limits(threads)); stack.enter_context(settings.threads(threads))
    return stack


def beside(cases, threads: int, backend: str = "numba", steps: int = STEPS, rounds: int = 3):
    "Whole fits, ours and scikit-learn's."
    rows = []
    for n, d, k, covariance in cases:
        x, weights, means, covs = problem(n, d, k)
        c, p = shaped(covs, covariance)
        with limited(threads), settings.backend(backend):
            ours(x[:1000], weights, means, c, covariance, 1) # compiled, or loaded from the cache
            (own, other), (run, fit) = interleave(lambda: ours(x, weights, means, c, covariance, steps), lambda: peer(x, weights, means, p, covariance, steps), rounds=rounds)
        off = difference(run, fit)
        assert off < 1e-8, f"results differ by {off}"
        rows.append([covariance, f"{n:,}", d, k, seconds(other), seconds(own), f"**{other / own:.1f}**", f"{off:.0e}"])
        print(*rows[-1], file=sys.stderr, flush=True)
    return table(["covariance", "n", "d", "k", "scikit-learn", "em_notes", "ratio", "difference"], rows)


def small(rounds: int = 15):
    "Old Faithful: a fit in which nothing is large. One thread: a second one only makes the peer's threads wait for each other."
    x, rows = faithful(), []
    weights, means, covs = np.full(2, 0.5), x[:2], np.array([np.cov(x.T)] * 2)
    with limited(1):
        for steps in (1, 10, 100):
            (own, other), (run, fit) = interleave(lambda: ours(x, weights, means, covs, "full", steps), lambda: peer(x, weights, means, np.linalg.inv(covs), "full", steps), rounds=rounds, pause=0.02)
            assert difference(run, fit) < 1e-8
            rows.append([steps, seconds(other), seconds(own), f"**{other / own:.1f}**"])
    return table(["steps", "scikit-learn", "em_notes", "ratio"], rows)


def clusters(n: int, d: int, k: int, apart: float, seed: int = 0): # rows, weights, means, covariances of a start
    "Round clusters with centres `apart` standard deviations, in every feature, from the middle; the start is beside the truth."
    rng = np.random.default_rng(seed)
    centres, x = apart * rng.standard_normal((k, d)), np.empty((n, d))
    for a in range(0, n, 50_000):
        z = rng.integers(k, size=min(50_000, n - a))
        x[a:a + len(z)] = centres[z] + rng.standard_normal((len(z), d))
    return x, np.full(k, 1 / k), centres + 0.1, np.array([np.eye(d)] * k)


def against_onedal(quick: bool):
    "oneDAL's own EM, which scikit-learn-intelex brings: the strongest peer we know of."
    import daal4py
    def theirs(x, weights, means, covs, steps, diag):
        return daal4py.em_gmm(nComponents=len(weights), maxIterations=steps, accuracyThreshold=0.0, covarianceStorage="diagonal" if diag else "full").compute(
            x, weights[None], means, [c[None] for c in covs] if diag else list(covs))
    full = [(272, 2, 2), (10 ** 5, 2, 5), (10 ** 5, 16, 10), (10 ** 6, 8, 16), (2 * 10 ** 5, 32, 16), (10 ** 5, 64, 16), (10 ** 6, 4, 4)]
    cases = [(*c, "full", apart) for c in full for apart in (4, 0.3)] + [(10 ** 6, 8, 16, "diag", apart) for apart in (4, 0.3)]
    rows = []
    for n, d, k, covariance, apart in cases:
        n = n // 20 if quick and n > 1000 else n
        x, weights, means, covs = clusters(n, d, k, apart)
        covs = shaped(covs, covariance)[0]
        steps, rounds = (100, 15) if n < 1000 else (STEPS, 3)
        with limited(2):
            ours(x[:20_000], weights, means, covs, covariance, 1) # enough rows for 64 columns
            times, (run, fit) = interleave(lambda: ours(x, weights, means, covs, covariance, steps), lambda: theirs(x, weights, means, covs, steps, covariance == "diag"),
                                           rounds=rounds, pause=0.02 if n < 1000 else PAUSE, all_times=True)
        off = float(np.max(np.abs(run.theta.components.means - fit.means)) / np.max(np.abs(fit.means)))
        own, other = (np.median(t) for t in times)
        rows.append([covariance, f"{n:,}", d, k, "apart" if apart > 1 else "overlapping", seconds(other), seconds(own), f"**{other / own:.2f}**", f"{min(times[1]) / min(times[0]):.2f}", f"{off:.0e}"])
        print(*rows[-1], file=sys.stderr, flush=True)
    return table(["covariance", "n", "d", "k", "clusters", "oneDAL", "em_notes", "ratio of medians", "of minima", "difference"], rows)


def starts(quick: bool):
    "A start beside scikit-learn's k-means start: the time until both can begin EM."
    from sklearn.mixture import GaussianMixture
    rows = []
    for name, x, k in [("Old Faithful", faithful(), 2), ("100,000 rows, d = 4, k = 8", problem(10 ** 5 // (10 if quick else 1), 4, 8)[0], 8)]:
        def theirs():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return GaussianMixture(k, max_iter=1, random_state=0).fit(x)
        with limited(2):
            GMM.start(x, k, rng=0)
            (own, other), _ = interleave(lambda: GMM.start(x, k, rng=0), theirs, rounds=7, pause=0.05)
        rows.append([name, seconds(other), seconds(own), f"**{other / own:.1f}**"])
    return table(["data", "scikit-learn: k-means and one step", "em_notes: GMM.start", "ratio"], rows)


def one_pass(n, d, k, covariance="full", threads=1, backend="numba") -> float: # seconds
    "The time of one pass over prepared data."
    x, weights, means, covs = problem(n, d, k)
    theta = GMM(weights, means, shaped(covs, covariance)[0], covariance)
    data = theta.prepare(x)
    with limited(threads), settings.backend(backend): return fastest(lambda: theta.expected_stats(data), 5 if n < 5e6 else 3)


def operations(d, k, covariance="full"): # a row
    "The arithmetic of the two products, as the page of the engine counts it."
    return 4 * k * {"full": 1 + d + d * (d + 1) // 2, "diag": 1 + 2 * d, "spherical": 2 + d, "tied": 1 + d}[covariance]


def growth(quick: bool):
    "How the time of a pass grows with n, k and d."
    top = 6 if quick else 7
    cases = [(10 ** e, 4, 4) for e in range(4, top + 1)] + [(10 ** 5, 4, k) for k in (1, 2, 4, 8, 16, 32, 64)] + [(10 ** 5, d, 8) for d in (1, 2, 4, 8, 16, 32, 64)]
    return table(["n", "d", "k", "a pass", "ns a row"], [[f"{n:,}", d, k, seconds(t := one_pass(n, d, k, threads=2)), f"{t / n * 1e9:.1f}"] for n, d, k in cases])


def scaling(quick: bool):
    "One thread and two; the rate of arithmetic."
    peak, rows = {t: core_rate(t) for t in (1, 2)}, []
    for n, d, k, covariance in [(10 ** 5, 2, 5, "full"), (10 ** 5, 16, 10, "full"), (10 ** 6 // (10 if quick else 1), 8, 16, "full"), (10 ** 5, 64, 16, "full"), (10 ** 6 // (10 if quick else 1), 8, 16, "diag")]:
        one, two = (one_pass(n, d, k, covariance, t) for t in (1, 2))
        rate = operations(d, k, covariance) * n / 1e9
        rows.append([covariance, f"{n:,}", d, k, seconds(one), seconds(two), f"{one / two:.2f}", f"{rate / one:.0f}", f"{rate / two:.0f}"])
    rows.append(["multiply and add in registers", "", "", "", "", "", f"{peak[2] / peak[1]:.2f}", f"{peak[1]:.0f}", f"{peak[2]:.0f}"])
    return table(["covariance", "n", "d", "k", "1 thread", "2 threads", "gain", "10⁹ operations/s, 1 thread", "2 threads"], rows)


def core_rate(threads: int) -> float: # 1e9 operations a second
    "What multiplications and additions alone reach."
    from concurrent.futures import ThreadPoolExecutor
    from em_notes.engine.products import kernel, wide_lanes
    @kernel
    def spin(a, b, rounds):
        wide_lanes()
        for _ in range(rounds):
            for t in range(len(a)):
                x, y = a[t], b[t]
                p, q = x, y
                p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y
                p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y
                p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y
                p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y; p = p * y + x; q = q * x + y
                b[t] = p * 1e-3 + q * 1e-3
    def work(_):
        spin(np.full(1024, 0.5), np.full(1024, 0.5), 20_000)
    with ThreadPoolExecutor(threads) as pool: return threads * 68 * 1024 * 20_000 / 1e9 / fastest(lambda: list(pool.map(work, range(threads))), 9)


def memory(quick: bool):
    "Peak memory of a fit beyond the data."
    n = 10 ** 5 if quick else 10 ** 6
    setup = f"""
import numpy as np
from benchmarks.mixture import ours, peer, problem, shaped
x, weights, means, covs = problem({n}, 8, 16)
c, p = shaped(covs, "full")
ours(x[:1000].copy(), weights, means, c, "full", 1); peer(x[:1000].copy(), weights, means, p, "full", 1)
"""
    own, other = 'ours(x, weights, means, c, "full", 3)', 'peer(x, weights, means, p, "full", 3)'
    rows = [["em_notes, compiled", f"{peak_memory(setup, own):.1f} MB"], ["em_notes, numpy", f"{peak_memory(setup, own, EM_NOTES_KERNELS='numpy'):.1f} MB"],
            ["scikit-learn", f"{peak_memory(setup, other):.0f} MB"]]
    return table([f"n = {n:,}, d = 8, k = 16, full", "beyond the data"], rows)


def against_pomegranate(quick: bool):
    "pomegranate's mixture on the same data, where it is installed."
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel
    rows, steps = [], 3
    torch.set_default_dtype(torch.float64); torch.set_num_threads(2)
    for n, d, k in [(10 ** 5, 2, 5), (10 ** 5, 16, 10)]:
        x, weights, means, covs = problem(n // (10 if quick else 1), d, k)
        t = torch.from_numpy(x)
        def theirs():
            parts = [Normal(torch.from_numpy(m.copy()), torch.from_numpy(c.copy()), covariance_type="full") for m, c in zip(means, covs)]
            return GeneralMixtureModel(parts, priors=torch.from_numpy(weights.copy()), max_iter=steps, tol=-1).fit(t)
        with limited(2):
            (own, other), (run, fit) = interleave(lambda: ours(x, weights, means, covs, "full", steps), theirs)
        off = max(np.max(np.abs(g.means.numpy() - m)) for g, m in zip(fit.distributions, run.theta.components.means))
        rows.append([f"{len(x):,}", d, k, seconds(other), seconds(own), f"**{other / own:.1f}**", f"{off:.0e}"])
    return table(["n", "d", "k", "pomegranate", "em_notes", "ratio", "difference of the means"], rows)


def sections(quick: bool):
    "Every part: a name for --only, a title, a function that makes its table."
    cut = lambda cases: [(n // 20, d, k, c) for n, d, k, c in cases[:5]] if quick else cases
    yield "threads2", "Two threads on both sides, ten steps", lambda: beside(cut(CASES[:-1]), 2)
    yield "threads1", "One thread on both sides, ten steps", lambda: beside(cut(CASES[:5]), 1)
    yield "large", "Ten million rows, two threads, three steps", lambda: beside([(10 ** 7 // (100 if quick else 1), 4, 4, "full")], 2, steps=3)
    yield "numpy", "The numpy code, one thread on both sides, ten steps", lambda: beside(cut(CASES[:3]), 1, "numpy")
    yield "onedal", "Beside oneDAL, two threads, ten steps (100 for Old Faithful's 272 rows)", lambda: against_onedal(quick)
    yield "starts", "Starts", lambda: starts(quick)
    yield "small", "Old Faithful, 272 rows, two components, one thread", small
    yield "growth", "One pass as n, k and d grow, two threads", lambda: growth(quick)
    yield "scaling", "From one thread to two, and how near to the core's own rate", lambda: scaling(quick)
    yield "memory", "Peak memory", lambda: memory(quick)
    yield "pomegranate", "Beside pomegranate, two threads, three steps", lambda: against_pomegranate(quick)


def main(argv=None): run("Gaussian mixtures", __doc__, sections, argv)


if __name__ == "__main__": main()
