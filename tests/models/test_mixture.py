"""Mixtures: the eight laws, published results, scikit-learn step by step, weights, and digits kept in hard places."""
from itertools import islice
import dataclasses
import warnings
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats as dist
from em_notes import (GMM, Degenerate, DirichletPrior, Gaussian, Mixture, MixturePrior, NormalInverseWishart, Poisson, check_model, em)
from em_notes.data import datasets
from em_notes.laws import same
from em_notes.protocol import leaves
from em_notes.driver import em_init, em_step, iterate
from em_notes.steps import hard
from toys import COVARIANCES, FAMILIES, FEW_FAST, cov_shape, interior_prior, random_mixture

@pytest.mark.parametrize("family", FEW_FAST)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(k=st.integers(1, 4), d=st.integers(1, 5), seed=st.integers(0, 10_000), weighted=st.booleans(), with_prior=st.booleans())
def test_laws(family, k, d, seed, weighted, with_prior):
    theta = random_mixture(family, k, d, seed)
    rng = np.random.default_rng(seed)
    x, _ = theta.sample(60 + 40 * k * d, rng)
    data = theta.prepare(x, rng.uniform(0.2, 2, len(x)) if weighted else None)
    report = check_model(theta, data, prior=interior_prior(family, d) if with_prior else None, rng=seed)
    assert all(outcome == "holds" or (weighted and law.startswith("5")) for law, outcome in report.items()), report

# ---- published results

def keep_weights(theta, stats, prior): # an M-step that holds the weights
    return theta.maximize(stats, prior).replaced(weights=theta.weights)

def from_labels(x, labels, covariance, k=3):
    "The M-step at hard labels, from a template that only gives the sizes."
    shape, d = cov_shape(covariance, k, x.shape[1]), x.shape[1]
    unit = np.broadcast_to(np.eye(d) if COVARIANCES[covariance] == "full" else 1.0, shape)
    template = GMM(np.full(k, 1 / k), np.zeros((k, d)), unit, covariance)
    return template.maximize(template.complete_stats(x, labels))

@pytest.mark.parametrize("covariance, loglik", [("tied", -256.354043126), ("diag", -307.177571598), ("full", -180.185477131), ("spherical", -384.314095061),
                                                ("tied_diag", -361.425522043), ("tied_spherical", -401.802175789)])
def test_iris(covariance, loglik): # mclust's EEE, VVI, VVV, VII, EEI, EII with three components, from k-means
    x, _ = datasets.iris()
    start = GMM.start(x, 3, "tied_spherical").replaced(weights=np.full(3, 1 / 3))
    labels = em(start, x, e_step=hard, m_step=keep_weights).theta.predict(x)
    assert abs(em(from_labels(x, labels, covariance), x, tol=1e-13, max_iter=20_000).bound - loglik) < 1e-4

def test_iris_diag_has_a_better_optimum(): # than the one that k-means leads to: a likelihood has many
    x, species = datasets.iris()
    labels = np.unique(species, return_inverse=True)[1]
    assert em(from_labels(x, labels, "diag"), x, tol=1e-13, max_iter=20_000).bound > -306.861

@pytest.mark.parametrize("seed", range(5))
def test_iris_vvv_from_many_starts(seed): # the basin that contains the species
    x, species = datasets.iris()
    run = em(GMM.start(x, 3, rng=seed), x, tol=1e-13, max_iter=20_000)
    assert abs(run.bound + 180.185477131) < 1e-4
    np.testing.assert_allclose(np.sort(run.theta.weights), np.sort([0.33333333, 0.29919394, 0.36747273]), atol=1e-4)

def test_faithful_waiting_equal_variances():
    y = datasets.faithful()[:, 1]
    run = em(GMM([0.5, 0.5], [[55.0], [80.0]], [[25.0]], "tied"), y, tol=1e-14, max_iter=20_000)
    np.testing.assert_allclose(run.theta.weights, [0.36084956, 0.63915044], atol=1e-4)
    np.testing.assert_allclose(run.theta.components.means[:, 0], [54.61363005, 80.09030625], atol=1e-4)
    assert abs(np.sqrt(run.theta.components.covs[0, 0]) - 5.86909067) < 1e-4
    assert abs(run.bound + 1034.0017603578647) < 1e-6

def test_faithful_full_two():
    x = datasets.faithful()
    run = em(GMM.start(x, 2, rng=0), x, tol=1e-14, max_iter=20_000)
    theta = run.theta.permute(np.argsort(run.theta.weights))
    assert abs(run.bound + 1130.26396018) < 1e-6
    np.testing.assert_allclose(theta.weights, [0.3558729, 0.6441271], atol=1e-4)
    np.testing.assert_allclose(theta.components.means, [[2.03638856, 54.47851745], [4.28966207, 79.96811632]], atol=1e-4)
    np.testing.assert_allclose(theta.components.covs, [[[0.06916776, 0.43516851], [0.43516851, 33.69728811]], [[0.16996832, 0.94060779], [0.94060779, 36.04619413]]], atol=1e-4)

def test_faithful_tied_three():
    x = datasets.faithful()
    run = em(GMM.start(x, 3, "tied", rng=0), x, tol=1e-14, max_iter=20_000)
    assert abs(run.bound + 1126.31592783) < 1e-5
    np.testing.assert_allclose(np.sort(run.theta.weights), [0.16858923, 0.35637801, 0.47503276], atol=1e-4)

@pytest.mark.parametrize("m, negloglik", [(1, 391.91892816549495), (2, 360.3690436105308), (3, 356.84893907080465), (4, 356.7337011149292)])
def test_poisson_mixtures_of_earthquakes(m, negloglik): # Zucchini & MacDonald (2009), table 1.2
    y = datasets.earthquakes()
    run = em(Mixture.start(y, m, Poisson, rng=0), y, tol=1e-13, max_iter=20_000)
    assert abs(run.bound + negloglik) < 1e-4
    known = {2: ([15.77710808, 26.83989479], [0.67572566, 0.32427434]), 3: ([12.73607775, 19.78552096, 31.62980707], [0.27756667, 0.59277963, 0.1296537])}
    if m in known:
        order = np.argsort(run.theta.components.rates[:, 0])
        np.testing.assert_allclose(run.theta.components.rates[order, 0], known[m][0], atol=1e-3)
        np.testing.assert_allclose(run.theta.weights[order], known[m][1], atol=1e-3)

@pytest.mark.slow
def test_poisson_mixture_of_the_times_deaths(): # slow by nature: thousands of plain EM steps
    y = datasets.deaths()
    values, counts = np.unique(y, return_counts=True)
    start = Mixture([0.3, 0.7], Poisson([1.0, 2.5]))
    run = em(start, start.prepare(values, counts), stop="theta", tol=1e-11, max_iter=20_000)
    np.testing.assert_allclose([*run.theta.weights[:1], *run.theta.components.rates[:, 0]], [0.359885397, 1.2560951012, 2.6634043566], atol=1e-6)
    assert abs(run.bound + 1989.9458598829642) < 1e-8
    assert 1000 < run.n_iter < 20_000
    assert abs(em(Mixture([1.0], Poisson([2.0])), y, max_iter=3).bound + 2001.397847371757) < 1e-8

# ---- scikit-learn

def sklearn_steps(x, theta, covariance, n_iter):
    mixture = pytest.importorskip("sklearn.mixture")
    covs = theta.components.covs
    model = mixture.GaussianMixture(theta.k, covariance_type=covariance, reg_covar=0, tol=0, max_iter=n_iter, weights_init=theta.weights, means_init=theta.components.means,
                                    precisions_init=np.linalg.inv(covs) if COVARIANCES[covariance] == "full" else 1 / covs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x)

@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("n", [50, 1000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_equals_scikit_learn(covariance, n):
    start = random_mixture(covariance, 3, 3, n, apart=4.0)
    x = start.sample(n, 1)[0]
    theta = dataclasses.replace(start, weights=np.full(3, 1 / 3), components=dataclasses.replace(start.components, means=start.components.means + 0.3))
    moved = dataclasses.replace(theta, components=dataclasses.replace(theta.components, means=theta.components.means + 2.0 ** 20))
    for n_iter in (1, 2, 5):
        peer = sklearn_steps(x, theta, covariance, n_iter)
        run = em(theta, x, tol=0, max_iter=n_iter)
        far = em(moved, x + 2.0 ** 20, tol=0, max_iter=n_iter) # 2^20 is about 1e6; scikit-learn itself loses digits there, so we compare ours with it at home
        for ours, shift in ((run, 0.0), (far, 2.0 ** 20)):
            np.testing.assert_allclose(ours.theta.weights, peer.weights_, rtol=1e-9)
            np.testing.assert_allclose(ours.theta.components.means - shift, peer.means_, rtol=1e-9, atol=1e-9 * (1 + 1e-1 * (shift > 0)))
            np.testing.assert_allclose(ours.theta.components.covs, peer.covariances_, rtol=1e-9, atol=1e-9 * np.abs(peer.covariances_).max())
        if n_iter == 5: # score and responsibilities at the same theta
            np.testing.assert_allclose(run.theta.log_prob(x), peer.score_samples(x), rtol=1e-9)
            np.testing.assert_allclose(run.theta.resp(x), peer.predict_proba(x), atol=1e-9)

# ---- digits

def longdouble_step(theta, x):
    "Log-likelihood and covariances after one step, in extended precision, from the textbook formulas."
    L, k, (n, d) = np.longdouble, theta.k, x.shape
    x, lp = x.astype(L), np.empty((n, k), L)
    for j, c in enumerate(theta.components.full_covs().astype(L)):
        low, y = np.zeros((d, d), L), np.empty((d, n), L)
        u = (x - theta.components.means[j].astype(L)).T
        for i in range(d):
            for m in range(i + 1):
                s = c[i, m] - low[i, :m] @ low[m, :m]
                low[i, m] = np.sqrt(s) if i == m else s / low[m, m]
            y[i] = (u[i] - low[i, :i] @ y[:i]) / low[i, i]
        lp[:, j] = np.log(L(theta.weights[j])) - L(d) / 2 * np.log(2 * L(np.pi)) - np.log(np.diag(low)).sum() - (y * y).sum(0) / 2
    top = lp.max(1)
    r = np.exp(lp - top[:, None]); z = r.sum(1); r /= z[:, None]
    count = r.sum(0)
    mean = (r.T @ x) / count[:, None]
    scatter = np.array([((x - m).T * r[:, j]) @ (x - m) for j, m in enumerate(mean)])
    covariance = theta.components.covariance
    if covariance == "tied": covs = scatter.sum(0) / count.sum()
    else: covs = scatter / count[:, None, None]
    if covariance == "diag": covs = np.diagonal(covs, axis1=1, axis2=2)
    if covariance == "spherical": covs = np.trace(covs, axis1=1, axis2=2) / d
    return (top + np.log(z)).sum(), covs

@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision on this machine")
@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("spread", [1.0, 30.0, 300.0, 1e4])
def test_digits(covariance, offset, spread):
    theta = random_mixture(covariance, 3, 4, 3, apart=spread)
    x = theta.sample(2000, 1)[0] + offset
    theta = dataclasses.replace(theta, components=dataclasses.replace(theta.components, means=theta.components.means + offset + 0.1))
    stats, bound = theta.expected_stats(x)
    loglik, covs = longdouble_step(theta, x)
    assert abs(bound - loglik) <= 1e-12 * abs(loglik)
    assert np.max(np.abs(theta.maximize(stats).components.covs - covs)) <= 1e-9 * np.max(np.abs(covs))

# ---- weights, hard EM, sampling, priors

@pytest.mark.parametrize("family", FAMILIES)
def test_weights_count_rows(family):
    theta = random_mixture(family, 3, 2, 5)
    x, _ = theta.sample(80, 2)
    w = np.random.default_rng(0).integers(0, 4, 80)
    weighted, repeated = theta.expected_stats(theta.prepare(x, w)), theta.expected_stats(np.repeat(x, w, axis=0))
    assert same(weighted[0], repeated[0], 1e-11) and abs(weighted[1] - repeated[1]) < 1e-10 * abs(repeated[1])
    absent = theta.expected_stats(x[w > 0])
    zero = theta.expected_stats(theta.prepare(x, (w > 0).astype(float)))
    assert same(zero[0], absent[0], 1e-13) # a weight of zero is absence
    wild = np.where(w[:, None] > 0, x, {"bernoulli": 1, "categorical": 0}.get(family, 1e6)) # whatever stands in such a row
    assert same(theta.expected_stats(theta.prepare(wild, (w > 0).astype(float)))[0], absent[0], 1e-13)

def test_hard_em_is_k_means():
    x = datasets.faithful() / [1.0, 10.0]
    start = GMM(np.full(3, 1 / 3), x[[0, 1, 2]], 1.0, "tied_spherical")
    run = em(start, x, e_step=hard, m_step=keep_weights, tol=1e-14)
    means = x[[0, 1, 2]]
    for _ in range(100): means = np.array([x[np.argmin(((x[:, None] - means) ** 2).sum(2), 1) == j].mean(0) for j in range(3)])
    np.testing.assert_allclose(run.theta.components.means, means, rtol=1e-10)

@pytest.mark.parametrize("family", FAMILIES)
def test_hard_em_never_falls(family):
    theta = random_mixture(family, 2, 3, 11)
    x, _ = theta.sample(300, 3)
    run = em(theta, x, e_step=hard, tol=0, max_iter=10)
    labels = run.theta.predict(x)
    assert np.all(np.diff(run.bounds) >= -1e-9 * abs(run.bound)) and abs(run.theta.log_joint(x, labels) - run.bound) < 1e-9 * abs(run.bound)

@pytest.mark.parametrize("family", FAMILIES)
def test_samples_have_the_right_law(family):
    theta = random_mixture(family, 3, 2, 8)
    x, z = theta.sample(60_000, 4)
    np.testing.assert_allclose(np.bincount(z, minlength=3) / len(z), theta.weights, atol=0.01)
    refit = theta.maximize(theta.complete_stats(x, z))
    assert all(np.allclose(a, b, atol=0.1, rtol=0.1) for a, b in zip(leaves(refit), leaves(theta)))

def test_log_prob_is_scipy_s():
    theta = random_mixture("full", 3, 3, 1)
    x, _ = theta.sample(50, 1)
    c = theta.components
    want = np.log(sum(w * dist.multivariate_normal(m, s).pdf(x) for w, m, s in zip(theta.weights, c.means, c.covs)))
    np.testing.assert_allclose(theta.log_prob(x), want, rtol=1e-10)
    np.testing.assert_allclose(theta.resp(x).sum(1), 1, rtol=1e-12)
    assert (theta.predict(x) == theta.resp(x).argmax(1)).all() and abs(theta.log_prob(x).sum() - theta.log_likelihood(x)) < 1e-10

def test_prior_densities_are_scipy_s():
    theta = random_mixture("full", 2, 3, 1)
    prior = NormalInverseWishart(np.ones(3), 0.5, np.eye(3) * 2, 6.0)
    c = theta.components
    want = sum(dist.invwishart(6, np.eye(3) * 2).logpdf(s) + dist.multivariate_normal(np.ones(3), s / 0.5).logpdf(m) for m, s in zip(c.means, c.covs))
    want += dist.dirichlet([3.0, 3.0]).logpdf(theta.weights)
    assert abs(theta.log_prior(MixturePrior(DirichletPrior(3.0), prior)) - want) < 1e-9 * abs(want)

def test_a_prior_keeps_a_component_alive():
    x = np.concatenate([np.zeros(5), np.random.default_rng(0).standard_normal(100) + 5])
    start = GMM([0.5, 0.5], [[0.0], [5.0]], [[[0.01]], [[1.0]]])
    with pytest.raises(Degenerate, match="component 0 has collapsed") as e: em(start, x)
    assert e.value.state.bound > -1e5 and e.value.state.theta.k == 2 # nothing is lost
    prior = MixturePrior(components=NormalInverseWishart([0.0], 0.01, [[0.1]], 3.0))
    run = em(start, x, prior=prior)
    assert run.converged and run.theta.components.covs.min() > 1e-3

# ---- parameters as they come

@pytest.mark.parametrize("family", FAMILIES)
def test_vector_round_trip(family):
    theta = random_mixture(family, 3, 4, 9)
    v = theta.to_vector()
    assert same(theta.from_vector(v), theta, 1e-12)
    np.testing.assert_allclose(theta.from_vector(v + 0.1).to_vector(), v + 0.1, rtol=1e-9, atol=1e-12)

def test_parameters_are_read_only():
    theta = random_mixture("full", 2, 2, 0)
    for a in leaves(theta):
        with pytest.raises(ValueError): a[...] = 0
    given = np.array([0.5, 0.5])
    Mixture(given, theta.components)
    given[0] = 0.4 # the caller's array stays the caller's


# ---- several steps of small data in one call

@pytest.mark.parametrize("k, d, weighted", [(1, 1, False), (2, 2, True), (5, 3, False), (4, 16, True)])
def test_several_steps_at_once_are_those_one_by_one(k, d, weighted):
    theta, rng = random_mixture("full", k, d, 3), np.random.default_rng(0)
    x, _ = theta.sample(min(60 * k * d, 1000), rng)
    data = theta.prepare(x, rng.uniform(0.5, 2, len(x)) if weighted else None)
    states = list(islice(iterate(theta, data), 20))
    one = em_init(theta, data)
    assert theta.ahead(data, one.stats, 3) is not None
    for state in states[1:]:
        one = em_step(one, data)
        assert state.t == one.t and same(state.bound, one.bound, 1e-13) and same(state.rounding, one.rounding, 1e-9)
        assert all(np.allclose(a, b, rtol=1e-9, atol=1e-12) and not a.flags.writeable for a, b in zip(leaves(state.theta), leaves(one.theta)) if a.ndim)
        assert all(np.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(leaves(state.stats), leaves(one.stats)))


def test_several_steps_end_where_one_needs_care():
    x = np.array([0.0, 0.01, 5.0, 6, 7, 9])[:, None]
    start = GMM([0.5, 0.5], [[0.0], [7.0]], [[[0.5]], [[2.0]]])
    fit = em(start, x, max_iter=100, tol=0, backend="numpy")
    assert same(em(start, x, max_iter=100, tol=0).bound, fit.bound, 1e-12)
    x[1] = 0.0 # now the first component collapses onto one value
    with pytest.raises(Degenerate) as one: em(start, x, tol=0, backend="numpy")
    with pytest.raises(Degenerate) as two: em(start, x, tol=0, backend="numba")
    assert one.value.state.t == two.value.state.t and str(one.value) == str(two.value)


def test_steps_of_a_class_of_ones_own_are_taken():
    class Held(Mixture): # its weights stay
        def maximize(self, stats, prior=None): return super().maximize(stats, prior).replaced(weights=self.weights)
    class Still(Gaussian): # its covariances stay
        def maximize(self, stats, prior=None): return Still(super().maximize(stats, prior).means, self.covs)
    x, means, covs = datasets.faithful(), [[2.0, 54], [4.3, 80]], [np.diag([0.2, 36.0])] * 2
    held = em(Held([0.3, 0.7], Gaussian(means, covs)), x, max_iter=9, tol=0).theta
    assert type(held) is Held and np.array_equal(held.weights, [0.3, 0.7]) and not np.allclose(held.components.means, means, atol=1e-3)
    still = em(Mixture([0.3, 0.7], Still(means, covs)), x, max_iter=9, tol=0).theta
    assert type(still.components) is Still and np.array_equal(still.components.covs, covs) and not np.allclose(still.weights, [0.3, 0.7], atol=1e-3)
