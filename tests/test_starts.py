"""Starts: what they must find, for every seed, and what they must not depend on."""
import numpy as np
import pytest
from em_notes import GMM, Bernoulli, Categorical, Degenerate, DirichletPrior, HMM, Mixture, MixturePrior, Poisson, Product, backend, best_of, em, threads
from em_notes.data.datasets import faithful, iris
from em_notes.starts import seeds, subset


@pytest.mark.slow
def test_a_rare_cluster_is_found_by_every_seed():
    rng = np.random.default_rng(0)
    x = np.vstack([rng.standard_normal((70_000, 2)), 40 + rng.standard_normal((14, 2))])
    for seed in range(10):
        theta = em(GMM.start(x, 2, rng=seed, n_starts=3), x).theta
        assert abs(theta.weights.min() * len(x) - 14) < 1e-6 and np.abs(theta.components.means[theta.weights.argmin()] - 40).max() < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_225_sites(seed):
    sites = np.stack(np.meshgrid(np.arange(15), np.arange(15)), -1).reshape(-1, 2)
    x = np.repeat(sites, 40, 0) + 0.08 * np.random.default_rng(seed).standard_normal((9000, 2))
    means = em(GMM.start(x, 225, "spherical", rng=seed), x).theta.components.means
    assert len(np.unique(np.round(means), axis=0)) >= 223


@pytest.mark.slow
def test_the_same_seed_gives_the_same_labels_everywhere():
    x = faithful()
    for seed in range(20):
        one = GMM.start(x, 2, rng=seed).components.means[:, 0]
        with backend("numpy"): two = GMM.start(x, 2, rng=seed).components.means[:, 0]
        with threads(1): three = GMM.start(x, 2, rng=seed).components.means[:, 0]
        assert np.allclose(one, two, rtol=1e-6) and np.array_equal(one, three)


@pytest.mark.slow
def test_a_seed_that_fails_fails_for_all():
    x = np.r_[np.random.default_rng(0).normal(0, 1, 250), np.random.default_rng(1).normal(6, 1, 250), 1000.0]
    for covariance in ("full", "diag", "spherical"):
        for seed in range(5):
            with pytest.raises(Degenerate, match=r"near x = \[1000\.\].*prior='weak'"): em(GMM.start(x, 3, covariance, rng=seed), x)
            theta = em(GMM.start(x, 3, covariance, prior="weak", rng=seed), x, prior="weak").theta  # the cure works as written
            assert np.allclose(np.sort(theta.weights), [1 / 501, 250 / 501, 250 / 501], atol=2e-3)


def test_weights_are_not_forgotten():
    x, w = faithful(), np.linspace(0, 2, 272)
    start = GMM.start(x, 2, weights=w, rng=0)
    with pytest.raises(ValueError, match="weights must be passed to em as well"): em(start, x)
    run = em(start, x, weights=w)
    assert abs(run.bound - w @ run.theta.log_prob(x)) < 1e-9 * abs(run.bound)
    assert em(start, x, weights=np.ones(272)).converged and em(run.theta, start.prepare(x, w)).converged
    chain = HMM.start([x[:100, 1], x[100:, 1]], 2, weights=[1.0, 2.0], rng=0)
    with pytest.raises(ValueError, match="weights must be passed to em as well"): em(chain, [x[:100, 1], x[100:, 1]])


def test_weights_of_rows_lead_a_start():
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(0, 1, 300), rng.normal(20, 1, 300), rng.normal(100, 1, 300)][:, None]
    w = np.repeat([1.0, 1.0, 0.0], 300)
    assert GMM.start(x, 2, weights=w, rng=0).components.means.max() < 25


def test_prepared_data_gaps_and_labels():
    x, species = iris()
    labels = np.unique(species, return_inverse=True)[1]
    gaps = np.where(np.random.default_rng(0).random(x.shape) < 0.1, np.nan, x)
    some = np.where(np.arange(150) % 7 == 0, labels, -1)
    start = GMM.start(gaps, 3, "diag", missing="nan", labels=some, rng=0)
    theta = em(start, start.prepare(gaps, labels=some)).theta
    assert (theta.predict(gaps) == labels).mean() > 0.9
    again = GMM.start(start.prepare(gaps, labels=some), 3, "diag", rng=0)
    assert np.allclose(again.components.means, start.components.means)


def test_few_distinct_rows():
    x = np.random.default_rng(0).integers(0, 2, (60, 1)).astype(float)
    theta = Mixture.start(x, 3, Bernoulli, rng=0)  # not identified, and no error
    assert np.isfinite(em(theta, x).bound)
    counts = np.array([0, 1, 1, 2] * 20)
    assert np.isfinite(em(Mixture.start(counts, 4, Poisson, rng=0), counts).bound)


def test_full_runs_say_where_they_ended():
    x, _ = iris()
    best = best_of(GMM, x, 3, "diag", n_starts=6, rng=0)
    one = em(GMM.start(x, 3, "diag", rng=0, n_starts=1), x)
    assert best.bound >= one.bound - 1e-6 and best.bound == pytest.approx(np.nanmax(best.table.bounds))
    assert 1 <= best.table.n_best <= 6 and "reached the best" in repr(best)


def test_subsets_estimate_sums_without_bias():
    rng = np.random.default_rng(0)
    z, w = rng.standard_normal((3000, 2)), rng.uniform(0, 2, 3000)
    estimates = []
    for _ in range(300):
        which, own = subset(z, w, 200, rng)
        estimates.append(own @ z[which, 0] ** 2)
    truth = w @ z[:, 0] ** 2
    assert abs(np.mean(estimates) / truth - 1) < 4 * np.std(estimates) / truth / 300 ** 0.5 + 0.01


def test_seeds_are_different_rows():
    x = np.repeat(np.arange(5.0), 30)[:, None]
    for seed in range(20): assert len(set(x[seeds(x, np.ones(150), 5, np.random.default_rng(seed)), 0])) == 5
    assert len(seeds(x, np.ones(150), 9, np.random.default_rng(0))) == 5


@pytest.mark.parametrize("wrong, word", [
    (dict(k=0), "k must be a whole number >= 1, got 0"), (dict(k=1.5), "k must be a whole number >= 1, got 1.5"), (dict(k=273), "k must be at most the number of rows"),
    (dict(k=2, n_starts=1.5), "n_starts must be a whole number"), (dict(k=2, rng="a"), "rng must be a seed"), (dict(k=2, prior=DirichletPrior(2.0)), "prior of a"),
    (dict(k=2, prior=MixturePrior(components=DirichletPrior(2.0))), "prior of a Gaussian"), (dict(k=2, covariance="banana"), "covariance must be"),
    (dict(k=2, labels=[0]), "labels must hold 272 labels"), (dict(k=2, weights=[1.0]), r"weights must have shape \(272,\)")])
def test_wrong_arguments_are_named(wrong, word):
    with pytest.raises(ValueError, match=word): GMM.start(faithful(), **wrong)


def test_a_rare_symbol_in_many_rows():
    x = np.random.default_rng(0).integers(0, 4, 30_000)
    x[77] = 9  # a subset of the rows need not have it
    theta = Mixture.start(x, 2, Categorical, rng=0, n_starts=2)
    assert theta.components.probs.shape == (2, 10) and np.isfinite(em(theta, x, max_iter=3).bound)


@pytest.mark.parametrize("family", [Product.of(Categorical, Poisson), Bernoulli])
def test_a_value_that_every_subset_misses(family):
    rng = np.random.default_rng(0)
    z = rng.integers(2, size=60_000)
    if family is Bernoulli: # a column that is 1 once
        x = (rng.random((len(z), 6)) < np.where(z, 0.8, 0.2)[:, None]).astype(float)
        x[:, 5] = 0
        x[31_415, 5] = 1
    else: # a symbol that is seen once
        x = np.column_stack([z ^ (rng.random(len(z)) < 0.1), rng.poisson(np.where(z, 2.0, 9.0))]).astype(float)
        x[31_415, 0] = 2
    fit = em(Mixture.start(x, 2, family, rng=0, n_starts=3), x)
    assert np.isfinite(fit.bound) and 0.45 < fit.theta.weights.min()
