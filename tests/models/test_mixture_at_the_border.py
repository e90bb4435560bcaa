"""What users pass to a mixture, and what they ask of one: right, or refused in words."""
import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from em_notes import GMM, Bernoulli, Categorical, Gaussian, Mixture, MixturePrior, Poisson, DirichletPrior, check_model, em
from em_notes.data.datasets import faithful, iris
from toys import Centres

X = faithful()
THETA = GMM([0.4, 0.6], [[2.0, 54.0], [4.3, 80.0]], [[[0.5, 1.0], [1.0, 90.0]], [[0.6, 1.2], [1.2, 80.0]]])


class Table:
    "A table with names, as pandas and polars have them."
    def __init__(self, values, columns):
        self.values, self.columns = np.asarray(values), columns

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


def test_one_rule_for_impossible_rows():
    theta = Mixture([0.5, 0.5], Categorical([[0.5, 0.5, 0], [1.0, 0, 0]]))
    assert theta.log_prob([0, 2])[1] == -np.inf
    for ask in (theta.resp, theta.predict, theta.expected_stats, theta.mode_stats, lambda x: em(theta, x)):
        with pytest.raises(ValueError, match="x has probability zero under the model: at row 1"): ask([0, 2])
    for w in (1.0, 0.05, 1e-30):
        data = theta.prepare([0, 1, 2], [1, 1, w])
        assert theta.log_likelihood(data) == -np.inf
        with pytest.raises(ValueError, match="at row 2"): em(theta, data)
    assert np.isfinite(em(theta, [0, 1, 2], weights=[1, 1, 0], max_iter=2).bound)  # it counts for nothing


@pytest.mark.parametrize("z, word", [([-1] * 272, r"z\[0\] is -1"), ([2] * 272, r"z\[0\] is 2"), ([0.5] * 272, "is 0.5"), ([0] * 271, "must hold 272 labels"), (["a"] * 272, "code names")])
def test_labels_are_checked(z, word):
    for ask in (THETA.complete_stats, THETA.log_joint):
        with pytest.raises(ValueError, match=word): ask(X, z)


def test_columns_keep_their_names_and_order():
    theta = GMM.start(Table(X, ["eruption", "waiting"]), 2, rng=0)
    run = em(theta, Table(X, ["eruption", "waiting"]))
    assert run.theta.columns == ("eruption", "waiting") and np.array_equal(run.theta.log_prob(X), run.theta.log_prob(Table(X, ["eruption", "waiting"])))
    for names in (["waiting", "eruption"], ["a", "b"]):
        with pytest.raises(ValueError, match=r"x must have the columns \['eruption', 'waiting'\] in this order"): run.theta.log_prob(Table(X[:, ::-1], names))
    assert run.theta.marginal("waiting").columns == ("waiting",) and run.theta.conditional(["eruption"], [3.0]).columns == ("waiting",)
    with pytest.raises(ValueError, match="names from"): run.theta.marginal("wait")
    with pytest.raises(ValueError, match=r"x\[1, 1\] \(column 'waiting'\) is nan"): theta.prepare(Table([[1.0, 2], [3, np.nan]], ["eruption", "waiting"]))


@pytest.mark.parametrize("n", [-1, 2.5, "3", None, True])
def test_sample_sizes_are_checked(n):
    with pytest.raises(ValueError, match="n must be a whole number >= 0"): THETA.sample(n, 0)


def test_samples_of_none_and_their_memory():
    x, z = THETA.sample(0, 0)
    assert x.shape == (0, 2) and z.shape == (0,)
    wide = GMM([0.5, 0.5], np.zeros((2, 40)), np.array([np.eye(40)] * 2))
    wide.sample(10, 0)
    tracemalloc.start()
    x, z = wide.sample(20_000, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * (x.nbytes + z.nbytes)


def test_criteria_are_scikit_learns():
    mixture = pytest.importorskip("sklearn.mixture")
    for covariance in ("full", "tied", "diag", "spherical"):
        theta = em(GMM.start(X, 2, covariance, rng=0), X).theta
        peer = mixture.GaussianMixture(2, covariance_type=covariance)
        c = theta.components
        peer.weights_, peer.means_, peer.covariances_ = theta.weights, c.means, c.covs
        from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky
        peer.precisions_cholesky_ = _compute_precision_cholesky(c.covs, covariance)
        assert abs(theta.bic(X) - peer.bic(X)) < 1e-7 and abs(theta.aic(X) - peer.aic(X)) < 1e-7
    assert abs(theta.bic(theta.prepare(X, np.full(272, 2.0))) - (-4 * theta.log_likelihood(X) + np.log(544) * theta.n_parameters)) < 1e-8


def test_marginals_and_conditionals():
    grid = np.linspace(-5, 12, 4001)
    joint = np.exp(THETA.log_prob(np.column_stack([grid, np.full(4001, 70.0)])))
    assert abs(np.trapezoid(joint, grid) / np.exp(THETA.marginal([1]).log_prob([[70.0]])[0]) - 1) < 1e-9
    assert np.allclose(np.exp(THETA.conditional([1], [70.0]).log_prob(grid)), joint / np.trapezoid(joint, grid), atol=1e-9)
    swapped = THETA.marginal([1, 0])
    assert np.allclose(swapped.log_prob(X[:, ::-1]), THETA.log_prob(X))


@pytest.mark.slow
def test_filled_in_entries():
    gaps = X.copy()
    gaps[::5, 1], gaps[2::7, 0], gaps[3] = np.nan, np.nan, np.nan
    theta = THETA.replaced(missing="nan")
    filled = theta.impute(gaps)
    assert np.array_equal(filled[~np.isnan(gaps)], gaps[~np.isnan(gaps)]) and np.allclose(filled[3], THETA.weights @ THETA.components.means)
    r = THETA.marginal([0]).resp(gaps[5:6, :1])[0]
    c = THETA.components
    guess = c.means[:, 1] + c.covs[:, 0, 1] / c.covs[:, 0, 0] * (gaps[5, 0] - c.means[:, 0])
    assert abs(filled[5, 1] - r @ guess) < 1e-9
    draws = np.array([theta.impute(gaps, seed)[5, 1] for seed in range(400)])
    spread = np.sqrt(r @ (c.covs[:, 1, 1] - c.covs[:, 0, 1] ** 2 / c.covs[:, 0, 0] + guess ** 2) - (r @ guess) ** 2)
    assert abs(draws.mean() - filled[5, 1]) < 5 * spread / 20 and abs(draws.std() / spread - 1) < 0.2
    assert theta.resp(gaps).shape == (272, 2) and np.allclose(theta.resp(gaps)[3], THETA.weights)


def test_a_family_of_three_methods():
    x = np.random.default_rng(0).normal(size=(80, 1)) + 4 * (np.arange(80) % 2)[:, None]
    run = em(Mixture([0.5, 0.5], Centres([0.0, 3.0])), x)
    same = em(GMM([0.5, 0.5], [[0.0], [3.0]], [[[1.0]]] * 2), x, m_step=lambda theta, stats, prior: theta.replaced(
        weights=stats.counts / stats.counts.sum(), components=Gaussian(stats.components.mean, [[[1.0]]] * 2)))
    assert np.allclose(run.theta.components.means, same.theta.components.means[:, 0], atol=1e-4) and abs(run.bound - same.bound) < 1e-6
    report = check_model(run.theta, x[:10])
    assert "skipped" in report["3: no theta beats the M-step's"] and report["7: the bound never falls"] == "holds"
    with pytest.raises(ValueError, match="Centres has no method sample, which drawing points needs"): run.theta.sample(3, 0)


def test_copies_are_read_only():
    for theta in (pickle.loads(pickle.dumps(THETA)), copy.deepcopy(THETA), em(THETA, X, max_iter=2).theta):
        with pytest.raises(ValueError, match="read-only"): theta.weights[0] = 1
        with pytest.raises(ValueError, match="read-only"): theta.components.covs[0] = 1


def test_reprs_are_short():
    many = Mixture(np.full(30, 1 / 30), Poisson(np.arange(1.0, 31)))
    for theta in (THETA, many, Mixture([1.0], Bernoulli([[0.5] * 50]))): assert len(repr(theta).split("\n")) <= 12 and f"k={theta.k}" in repr(theta)


def test_known_labels_hold():
    x, species = iris()
    labels = np.unique(species, return_inverse=True)[1]
    theta = GMM.start(x, 3, labels=labels, rng=0)
    data = theta.prepare(x, labels=labels)
    fit = em(theta, data).theta
    assert np.allclose(fit.components.means, [x[labels == j].mean(0) for j in range(3)]) and np.array_equal(fit.resp(data), np.eye(3)[labels])
    some = theta.prepare(x[::2], labels=np.where(np.arange(75) % 4 == 0, labels[::2], -1))
    assert all(v == "holds" for v in check_model(fit, some).values())
    with pytest.raises(ValueError, match=r"labels\[0\] is 3"): theta.prepare(x, labels=labels + 3)


def test_parts_of_a_prior_are_named():
    for wrong in (2.0, "weak", Gaussian([[0.0]], [[[1.0]]])):
        with pytest.raises(ValueError, match="weights of MixturePrior must be a DirichletPrior"): MixturePrior(weights=wrong)
    with pytest.raises(ValueError, match="prior of a Mixture must be"): em(THETA, X, prior=DirichletPrior(2.0))
