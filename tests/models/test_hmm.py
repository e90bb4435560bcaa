"""Hidden Markov models: the laws, published numbers, another implementation, hard digits, many sequences, and every way to hold data wrongly."""
import pickle

import numpy as np
import pytest
from scipy.special import logsumexp, xlogy
from scipy.stats import norm

from em_notes import (Bernoulli, BetaPrior, Categorical, Degenerate, DirichletPrior, GammaPrior, Gaussian, Impossible, Mixture, MixtureFamily,
                      NormalInverseWishart, Poisson, Product, backend, check_model, em, threads)
from em_notes.book import chains as lesson
from em_notes.data.datasets import earthquakes
from em_notes.models.hmm import HMM, HMMPrior, draw_states, stretches
from em_notes.protocol import leaves
from em_notes.steps import hard
from toys import COVARIANCES, FAMILIES, FEW_FAST, Centres, interior_prior, random_mixture

A2 = [[0.9, 0.1], [0.2, 0.8]]


def model(name, k, d, seed, stationary=False, **options):
    rng = np.random.default_rng(seed)
    return HMM(None if stationary else rng.dirichlet(np.full(k, 2.0)), rng.dirichlet(np.full(k, 2.0), k), random_mixture(name, k, d, seed).components, stationary, **options)


def holds(report):
    return all(outcome == "holds" for outcome in report.values())


def with_gaps(x, share, rng):
    x = [a.astype(float).copy() for a in x]
    for a in x: a[rng.random(a.shape) < share] = np.nan
    return x


# ---- the laws

@pytest.mark.parametrize("stationary", [False, True])
@pytest.mark.parametrize("name", FEW_FAST)
def test_laws(name, stationary):
    for k in (1, 3) if name in ("full", "poisson") else (3,):
        theta = model(name, k, 2, 3 + k, stationary)
        x, _ = theta.sample([4, 1, 30, 12], 1)
        report = check_model(theta, x, rng=2)
        assert holds(report), report


@pytest.mark.parametrize("name", FEW_FAST)
def test_laws_with_priors_gaps_weights_and_known_states(name):
    theta, rng = model(name, 3, 2, 5, missing="nan"), np.random.default_rng(0)
    x, z = theta.sample([3, 1, 40, 30], 1)
    x = with_gaps(x, 0.15, rng)
    x[2][10:14] = np.nan
    own = interior_prior(name, 2).components
    prior = HMMPrior(DirichletPrior(1.5), DirichletPrior(np.full((3, 3), 2.0) + np.eye(3)), own)
    known = [np.where(rng.random(len(s)) < 0.1, s, -1) for s in z]
    for data in (theta.prepare(x), theta.prepare(x, states=known)):
        report = check_model(theta, data, prior=prior, rng=2)
        assert holds(report), report
    report = check_model(theta, theta.prepare(x, [2, 0, 1, 0.5]), prior=prior, rng=2)
    assert [law[0] for law, outcome in report.items() if outcome != "holds"] == ["5"], report


def test_laws_with_zeros():
    trans = np.array([[0.7, 0.3, 0], [0, 0.6, 0.4], [0, 0, 1.0]])
    theta = HMM([1.0, 0, 0], trans, random_mixture("full", 3, 2, 0).components)
    x, z = theta.sample([6, 30, 2, 12], 1)
    assert holds(check_model(theta, x, rng=2))
    fit = em(theta, x, max_iter=5, tol=0).theta
    assert np.array_equal(fit.trans == 0, trans == 0) and np.array_equal(fit.initial, [1, 0, 0]) and fit.n_parameters == 2 + theta.emit.n_parameters


class Laplace:  # a user's family of three methods
    def __init__(self, means): self.means = np.asarray(means, float)
    @property
    def k(self): return len(self.means)
    def log_prob(self, x): return -np.abs(x[:, None] - self.means).sum(2) - self.means.shape[1] * np.log(2)
    def stats(self, x, resp): return Weighted([(x, resp)])
    def maximize(self, stats, prior=None):
        x, r = (np.concatenate(a) for a in zip(*stats.parts))
        def median(c, w):
            order = np.argsort(c)
            return c[order][np.searchsorted(np.cumsum(w[order]), w.sum() / 2)]
        return Laplace([[median(c, w) for c in x.T] for w in r.T])


class Weighted:
    def __init__(self, parts): self.parts = parts
    def __add__(self, other): return Weighted(self.parts + other.parts)
    def __mul__(self, c): return Weighted([(x, c * r) for x, r in self.parts])
    __rmul__ = __mul__


def test_a_users_family_of_three_methods():
    theta = HMM([0.5, 0.5], A2, Laplace([[0.0, 0], [3, 1]]), missing="nan")
    rng = np.random.default_rng(0)
    z = draw_states(theta.initial, theta.trans, np.array([0, 400]), rng)
    x = theta.emit.means[z] + rng.laplace(size=(400, 2))
    x[50:60] = np.nan
    run = em(HMM([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]], Laplace([[-1.0, 0], [1, 0]]), missing="nan"), x, max_iter=200)
    assert np.all(np.diff(run.bounds) > -1e-8) and np.allclose(run.theta.emit.means, theta.emit.means, atol=0.4)
    assert np.mean(run.theta.predict(x) == z) > 0.9 and run.theta.predict_next(x).shape == (2,)
    for ask, word in ((lambda: theta.sample(3, 0), "sample"), (lambda: theta.bic(x), "n_parameters"), (lambda: theta.impute(x), "impute")):
        with pytest.raises((ValueError, AttributeError), match=f"Laplace has no method {word}"): ask()
    assert holds({law: o for law, o in check_model(HMM([0.5, 0.5], A2, Centres([0.0, 2.0])), [np.arange(3.0), np.ones(4)]).items() if not o.startswith("skipped: ")})


# ---- published results

def test_zucchini_macdonald_em_path():
    "Table 4.1: the negative log-likelihood by iteration, and the parameters after one step and at the end."
    theta = HMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], Poisson([10.0, 30.0]))
    run = em(theta, earthquakes(), max_iter=50, tol=0)
    want = {0: 413.2754196229131, 1: 343.7602341119361, 2: 343.1361814166129, 30: 341.8787061777569, 50: 341.87870101185246}
    for t, value in want.items(): assert abs(-run.bounds[t] - value) < 1e-8
    one = em(theta, earthquakes(), max_iter=1, tol=0).theta
    assert np.allclose(one.trans, [[1 - 0.13881559, 0.13881559], [0.11622219, 1 - 0.11622219]], atol=1e-6)
    assert np.allclose(one.emit.rates[:, 0], [13.74192997, 24.16913721], atol=1e-6) and abs(one.initial[0] - 0.99963145) < 1e-6
    end = em(theta, earthquakes(), tol=1e-14, max_iter=2000).theta
    assert np.allclose(end.trans, [[1 - 0.07162606, 0.07162606], [0.11903439, 1 - 0.11903439]], atol=1e-5)
    assert np.allclose(end.emit.rates[:, 0], [15.4207619, 26.01823567], atol=1e-4)


STATIONARY = {2: (342.3182667880585, 692.6365, 703.3278, [15.47227702, 26.12543838], [0.66082242, 0.33917758]),
              3: (329.46027626451024, 676.9206, 700.976, [13.14574433, 19.72105444, 29.71444788], [0.44364098, 0.40450031, 0.15185872]),
              4: (327.8315853392871, 687.6632, 730.4284, None, None)}


@pytest.mark.parametrize("k", [2, 3, 4])
def test_zucchini_macdonald_stationary(k):
    x = earthquakes()
    loss, aic, bic, rates, initial = STATIONARY[k]
    start = {2: [15.0, 26], 3: [13.0, 20, 30], 4: [11.0, 15, 20, 30]}[k]
    theta = HMM(None, np.full((k, k), 0.1 / (k - 1)) + (0.9 - 0.1 / (k - 1)) * np.eye(k), Poisson(start), stationary=True)
    fit = em(theta, x, tol=1e-9).theta
    fit = fit.permute(np.argsort(fit.emit.rates[:, 0]))
    assert abs(fit.log_likelihood(x) + loss) < 1e-3 and fit.n_parameters == k * k
    assert abs(fit.aic(x) - aic) < 2e-3 and abs(fit.bic(x) - bic) < 2e-3
    if rates: assert np.allclose(fit.emit.rates[:, 0], rates, atol=1e-2) and np.allclose(fit.initial, initial, atol=1e-3)


# ---- another implementation

def peer(theta, kind, implementation):
    "The same model in hmmlearn, its silent priors off."
    hl = pytest.importorskip("hmmlearn.hmm")
    kw = dict(n_components=theta.k, init_params="", n_iter=1, tol=-np.inf, implementation=implementation)
    if kind == "poisson":
        m = hl.PoissonHMM(**kw, lambdas_prior=0.0, lambdas_weight=0.0); m.lambdas_ = theta.emit.rates.copy()
    elif kind == "categorical":
        m = hl.CategoricalHMM(**kw); m.emissionprob_ = theta.emit.probs.copy()
        m.n_features = theta.emit.v
    else:
        m = hl.GaussianHMM(**kw, covariance_type=kind, covars_prior=0.0, covars_weight=0.0, min_covar=0.0)
        m.means_ = theta.emit.means.copy()
        m.covars_ = theta.emit.covs.copy()
    m.startprob_, m.transmat_ = theta.initial.copy(), theta.trans.copy()
    return m


def peer_emit(m, kind):
    if kind == "poisson": return m.lambdas_.ravel()
    if kind == "categorical": return m.emissionprob_.ravel()
    return np.concatenate([m.means_.ravel(), (m._covars_ if kind != "spherical" else m._covars_[:, 0] if m._covars_.ndim == 2 else m._covars_).ravel()])


def own_emit(e, kind):
    return {"poisson": lambda: e.rates.ravel(), "categorical": lambda: e.probs.ravel()}.get(kind, lambda: np.concatenate([e.means.ravel(), e.covs.ravel()]))()


@pytest.mark.parametrize("implementation", ["scaling", "log"])
@pytest.mark.parametrize("kind", ["full", "diag", "tied", "spherical", "poisson", "categorical"])
def test_equals_hmmlearn_step_by_step(kind, implementation):
    lengths = [50, 1, 120, 30]
    for seed in range(2) if implementation == "scaling" else [2]:
        theta = model(kind, 2 + seed, 2, 11 + seed)
        x, _ = model(kind, 2 + seed, 2, 50 + seed).sample(lengths, 5)
        whole = np.concatenate(x).astype(int) if kind in ("poisson", "categorical") else np.concatenate(x)
        other = peer(theta, kind, implementation)
        assert np.isclose(other.score(whole, lengths), theta.log_likelihood(x), rtol=1e-12)
        best, path = other.decode(whole, lengths)
        paths, joint = theta.viterbi(x)
        assert np.isclose(sum(joint), best, rtol=1e-12) and np.isclose(theta.log_joint(x, path), best, rtol=1e-12)
        assert np.allclose(np.concatenate(theta.resp(x)), other.predict_proba(whole, lengths), atol=1e-11)
        data = theta.prepare(x)
        for _ in range(5):
            other.fit(whole, lengths)
            theta = theta.maximize(theta.expected_stats(data)[0])
            for ours, theirs in ((theta.initial, other.startprob_), (theta.trans, other.transmat_), (own_emit(theta.emit, kind), peer_emit(other, kind))):
                assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_mixtures_as_emissions_equal_hmmlearn():
    hl, rng, k, m, d = pytest.importorskip("hmmlearn.hmm"), np.random.default_rng(0), 3, 2, 2
    weights, means, covs = rng.dirichlet(np.ones(m) * 3, k), rng.normal(size=(k, m, d)) * 2, rng.gamma(3, size=(k, m, d))
    theta = HMM(rng.dirichlet(np.ones(k)), rng.dirichlet(np.ones(k), k), MixtureFamily(weights, Gaussian(means.reshape(-1, d), covs.reshape(-1, d), "diag")))
    x, _ = theta.sample([60, 1, 40], 1)
    other = hl.GMMHMM(k, m, covariance_type="diag", init_params="")
    other.startprob_, other.transmat_, other.weights_, other.means_, other.covars_ = theta.initial.copy(), theta.trans.copy(), weights, means, covs
    other.n_features = d
    assert np.isclose(theta.log_likelihood(x), other.score(np.concatenate(x), [60, 1, 40]), rtol=1e-12)
    run = em(theta, x, max_iter=20, tol=0)
    assert np.all(np.diff(run.bounds) > -1e-8) and run.bounds[-1] > run.bounds[0] + 1 and holds(check_model(theta, [x[0][:4], *x]))


@pytest.mark.slow
def test_mixed_columns():
    rng = np.random.default_rng(0)
    theta = HMM([0.5, 0.5], A2, Product(Gaussian([[0.0], [2.0]], [[1.0], [1.0]], "diag"), Poisson([[2.0], [9.0]]), columns=[[0], [1]]), missing="nan")
    x, z = theta.sample([4, 300], rng)
    for a in x: a[rng.random(a.shape) < 0.2] = np.nan
    assert holds(check_model(theta, x)) and np.mean(theta.predict(x)[1] == z[1]) > 0.95
    found = em(HMM.start(x, 2, Product.of(Gaussian, Poisson), missing="nan", rng=0), x).theta
    assert abs(found.log_likelihood(x) - em(theta, x).bound) < 1e-3


# ---- digits

def test_a_state_that_falls_behind_and_comes_back():  # by a thousand nats
    theta = HMM([0.25, 0.25, 0.5], np.eye(3), Gaussian([[0.0], [0], [4]], [1.0, 1, 1], "spherical"))
    x = np.r_[np.full(150, 4.0), np.zeros(300)]
    for name in ("numba", "numpy"):
        with backend(name):
            assert abs(theta.entropy(x) - np.log(2)) < 1e-9 and abs(theta.log_likelihood(x) + 1614.2155) < 1e-4
            path, best = theta.viterbi(x)
            assert best <= theta.log_likelihood(x) and set(path) == {0} and np.allclose(theta.resp(x), [0.5, 0.5, 0], atol=1e-12)
            assert set(theta.sample_path(x, 0)) <= {0, 1} and np.allclose(theta.predict_next(x), [0.5, 0.5, 0], atol=1e-12)
            assert abs(theta.expected_stats(x)[1] + 1614.2155) < 1e-4
    symbols = HMM([0.5, 0.5], np.eye(2), Categorical([[0.9, 0.1], [1 - 1e-12, 1e-12]]))
    y = np.r_[np.ones(40, int), np.zeros(10, int)]
    assert 0 <= symbols.entropy(y) < 1e-20  # 1,100 nats decide


@pytest.mark.slow
def test_sound_runs_never_fall():  # rounding is known: Poisson rates of 1e5 and of 1e7, nearly dependent columns, weights of 1e6
    for rate in (1e5, 1e7):
        x = HMM([0.5, 0.5], [[0.95, 0.05], [0.1, 0.9]], Poisson([rate, rate + 3 * rate ** 0.5])).sample(2000, 3)[0]
        assert em(HMM.start(x, 2, Poisson, rng=0), x, tol=0, max_iter=300).n_iter == 300
    rng = np.random.default_rng(0)
    theta = HMM([0.5, 0.5], A2, Gaussian([[0.0, 0], [2, 2]], [np.eye(2)] * 2))
    x = theta.sample(400, 1)[0]
    x[:, 1] = x[:, 0] * 1.19 + 1e-5 * rng.normal(size=400)
    assert em(HMM.start(x, 2, rng=0), x, tol=0, max_iter=200).n_iter == 200
    assert em(theta, [theta.sample(50, 2)[0]], weights=[1e6], tol=0, max_iter=100).n_iter == 100


def test_a_wrong_m_step_is_caught():
    x = earthquakes()
    fit = em(HMM.start(x, 2, Poisson, rng=0), x, tol=1e-10).theta
    def off(theta, stats, prior): return theta.maximize(stats).replaced(emit=Poisson(theta.maximize(stats).emit.rates * 1.002))
    with pytest.raises(ArithmeticError, match="fell"): em(fit, x, m_step=off, tol=0, max_iter=50)


@pytest.mark.parametrize("name, k", [*((name, 3) for name in FAMILIES), ("full", 6), ("categorical", 9)])
def test_compiled_equals_numpy(name, k):
    theta = model(name, k, 3, 9)
    x, _ = theta.sample([40, 1, 30], 2)
    x[0][5] = np.nan if name != "categorical" else x[0][5]
    theta = model(name, k, 3, 10, missing="nan")
    def everything():
        stats, bound = theta.expected_stats(x)
        return [bound, theta.entropy(x), *leaves(stats), *theta.resp(x), *theta.log_prob(x), *theta.viterbi(x)[1], *theta.sample_path(x, 0), *theta.lagged(x, 3), theta.predict_next(x, 5)]
    fast = everything()
    with backend("numpy"): slow = everything()
    for a, b in zip(fast, slow, strict=True): assert np.allclose(a, b, rtol=1e-10, atol=1e-11)


def test_spread_and_offset_keep_their_digits():
    "Clusters a million away from the origin and ten thousand of their own deviations apart."
    for gap, offset in ((10.0, 1e6), (1e4, 0.0), (1e4, 1e6)):
        means = offset + gap * np.array([[0.0, 0], [1, 0], [0, 1]])
        theta = HMM(np.full(3, 1 / 3), np.full((3, 3), 0.1) + 0.7 * np.eye(3), Gaussian(means, np.array([np.eye(2)] * 3)))
        x, z = theta.sample(3000, 0)
        stats, _ = theta.expected_stats(x)
        for j in range(3):
            own = x[z == j]
            assert np.allclose(stats.emit.weight[j], len(own)) and np.allclose(stats.emit.mean[j], own.mean(0), rtol=1e-12)
            assert np.allclose(stats.emit.scatter[j] / len(own), np.cov(own.T, bias=True), rtol=1e-7, atol=1e-8)


def test_a_sequence_that_underflows_is_right_beside_others():
    theta = HMM([1, 0, 0], [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]], Gaussian([[0.0], [1.0], [2.0]], [1e-4, 1e-4, 1e-4], "spherical"))
    x = [np.array([0.0, 2.0, 2.0, 2.0]), np.array([0.0, 1.0, 2.0]), np.array([2.0, 2.0])]
    stats, bound = theta.expected_stats(x)
    total = 0.0
    for a in x: total += logsumexp(lesson.all_paths(theta.initial, theta.trans, theta.emit.log_prob(a))[1])
    assert np.isclose(bound, total, rtol=1e-12) and np.isclose(stats.trans.sum(), 6)


def test_same_bits_at_any_thread_count():
    for k in (3, 6):
        theta = model("full", k, 2, k)
        x, _ = theta.sample([9000, 40, 3000, 1, 77], 0)
        seen = []
        for n in (1, 2, 3):
            with threads(n):
                stats, bound = theta.expected_stats(x)
                seen.append((bound, theta.entropy(x), *(a.tobytes() for a in leaves(stats)), *(p.tobytes() for p in theta.viterbi(x)[0])))
        assert seen[0] == seen[1] == seen[2]


def test_forecasts_are_distributions_however_far():
    theta = HMM([0.5, 0.5], A2, Poisson([1.0, 9.0]))
    x = theta.sample(30, 0)[0]
    for steps in (1, 7, 10 ** 6, 10 ** 15, 10 ** 300):
        p = theta.predict_next(x, steps)
        assert abs(p.sum() - 1) < 1e-14 and np.allclose(p, theta.posterior(x).filtered[-1] @ np.linalg.matrix_power(theta.trans, min(steps, 200)), atol=1e-12)
    ring = HMM([1, 0, 0], [[0, 1, 0], [0, 0, 1], [1, 0, 0]], Poisson([1.0, 5.0, 20.0]))
    y = ring.sample(10, 0)[0]
    z = ring.predict(y)[-1]
    assert all(ring.predict_next(y, 3 * 10 ** 14 + i)[(z + i) % 3] == 1 for i in (1, 2, 3))


# ---- one sequence and many

def test_boundaries_are_honoured():
    theta = model("full", 3, 2, 1)
    x, _ = theta.sample([5, 20, 1, 7], 3)
    whole, bound = theta.expected_stats(x)
    parts = [theta.expected_stats(a) for a in x]
    total = parts[0][0] + parts[1][0] + parts[2][0] + parts[3][0]
    assert np.allclose(whole.trans, total.trans, rtol=1e-12) and np.isclose(bound, sum(b for _, b in parts), rtol=1e-13)
    assert np.isclose(whole.trans.sum(), 29) and np.isclose(whole.initial.sum(), 4)
    joined, other = theta.expected_stats(np.concatenate(x))
    assert np.isclose(joined.trans.sum(), 32) and abs(other - bound) > 0.1
    assert np.allclose(theta.log_prob(x), [b for _, b in parts], rtol=1e-12)


@pytest.mark.parametrize("name", ["full", "poisson", "categorical"])
def test_weights_count_like_copies(name):
    theta = model(name, 3, 2, 1)
    x, _ = theta.sample([5, 20, 1, 7], 3)
    twice, once = theta.prepare([x[0], x[1], x[1], x[1], x[3]]), theta.prepare(x, weights=[1, 3, 0, 1])
    (a, ba), (b, bb) = theta.expected_stats(twice), theta.expected_stats(once)
    assert np.isclose(ba, bb, rtol=1e-12) and all(np.allclose(u, v, rtol=1e-9) for u, v in zip(leaves(a), leaves(b)))
    assert np.allclose(theta.maximize(a).to_vector(), theta.maximize(b).to_vector(), rtol=1e-9)
    assert np.isclose(theta.mode_stats(twice)[1], theta.mode_stats(once)[1], rtol=1e-12) and np.isclose(theta.entropy(twice), theta.entropy(once), rtol=1e-12)
    assert len(theta.resp(once)) == 4 and em(theta, x, weights=[1, 3, 0, 1], max_iter=3, tol=0).bound == em(theta, once, max_iter=3, tol=0).bound


def test_one_array_in_one_array_out():
    theta = model("full", 2, 2, 0)
    (x, y), _ = theta.sample([30, 4], 0)
    assert theta.resp(x).shape == (30, 2) and theta.viterbi(x)[0].shape == (30,) and theta.predict_next(x).shape == (2,) and theta.predict(x).shape == (30,)
    assert theta.predict_next([x, y], steps=3).shape == (2, 2) and [len(p) for p in theta.viterbi([x, y])[0]] == [30, 4]
    assert theta.sample_path(x, 0).shape == (30,) and theta.sample_path([x, y], 0, size=7)[1].shape == (7, 4) and theta.sample_path(x, 0, 3).shape == (3, 30)
    assert theta.lagged(x, 2).shape == (30, 2) and theta.filtering([x, y])[0][1].shape == (4, 2) and len(theta.impute([x, y])) == 2
    last = theta.posterior(x).filtered[-1]
    assert np.allclose(theta.predict_next(x, 2), last @ theta.trans @ theta.trans, atol=1e-14)
    many = theta.posterior([x, y])
    assert len(many) == 2 and many[-1].gamma.shape == (4, 2) and [p.log_likelihood for p in many] == [many[0].log_likelihood, many[1].log_likelihood] and len(many[:1]) == 1
    counts = model("poisson", 2, 1, 0)
    a, _ = counts.sample(12, 0)
    assert np.isclose(counts.log_likelihood(a[:, 0]), counts.log_likelihood(a)) and np.isclose(counts.log_likelihood(a[:, 0].astype(int).tolist()), counts.log_likelihood(a))
    assert np.isclose(counts.log_likelihood(a.reshape(3, 4, 1)), counts.log_likelihood(list(a.reshape(3, 4))))
    nested = [[v] for v in a[:, 0].tolist()]  # a table with one column, as numpy reads it
    assert np.isclose(counts.log_likelihood(nested), counts.log_likelihood(a)) and counts.prepare(nested).m == 1


def test_posteriors_of_long_sequences_equal_the_lesson():
    theta = model("full", 6, 3, 2)
    x, _ = theta.sample([1500, 900], 0)
    for p, a in zip(theta.posterior(x), x):
        filtered, predicted, total = lesson.filtering(theta.initial, theta.trans, theta.emit.log_prob(a))
        gamma, steps, _ = lesson.smooth(theta.initial, theta.trans, theta.emit.log_prob(a))
        assert np.allclose(p.filtered, filtered, atol=1e-13) and np.allclose(p.gamma, gamma, atol=1e-12) and np.allclose(p.predicted, predicted, atol=1e-13)
        assert np.allclose(p.transitions, steps, rtol=1e-10, atol=1e-12) and np.isclose(p.log_likelihood, total, rtol=1e-13)
    assert np.allclose(np.concatenate(theta.resp(x)), np.concatenate([p.gamma for p in theta.posterior(x)]), atol=1e-12)


def test_filtering_goes_on_where_it_stopped():
    theta = model("full", 3, 2, 2)
    x = theta.sample(60, 0)[0]
    rows, total = theta.filtering(x)
    now, so_far, seen = None, 0.0, []
    for row in x:
        own, more = theta.filtering(row[None], now)
        now, so_far = own[-1], so_far + more
        seen.append(now)
    assert np.allclose(seen, rows, atol=1e-14) and abs(so_far - total) < 1e-11 and np.allclose(rows, theta.posterior(x).filtered, atol=1e-15)
    lagged = theta.lagged(x, 4)
    assert np.allclose(lagged[20], theta.resp(x[:25])[20], atol=1e-13) and np.allclose(lagged[-1], theta.resp(x)[-1], atol=1e-13)
    with pytest.raises(ValueError, match="before must have shape"): theta.filtering(x, [1.0])


def test_prepared_once():
    theta = model("diag", 3, 2, 0)
    x, _ = theta.sample([40, 3], 0)
    data = theta.prepare(x)
    assert theta.prepare(data) is data and len(data) == 43
    other = model("full", 3, 2, 0)
    assert np.isclose(other.log_likelihood(data), other.log_likelihood(x), rtol=1e-12)
    rows = model("diag", 3, 2, 0).emit.prepare(x[0])  # rows that a family has checked are one sequence
    assert np.isclose(theta.log_likelihood(rows), theta.log_likelihood(x[0]), rtol=1e-13)


def test_read_only_after_pickle():
    theta = pickle.loads(pickle.dumps(model("full", 3, 2, 0)))
    data = pickle.loads(pickle.dumps(theta.prepare(theta.sample([5, 9], 0)[0])))
    assert not any(a.flags.writeable for a in (theta.trans, theta.initial, theta.emit.means, data.rows.x, data.offsets))
    fit = theta.maximize(theta.expected_stats(data)[0])
    assert not any(a.flags.writeable for a in (fit.trans, fit.initial, fit.emit.means)) and fit.held == 0


# ---- missing rows and entries, known states

def test_missing_rows_change_nothing_but_themselves():
    theta = model("full", 3, 2, 4)
    x, _ = theta.sample(60, 1)
    y = x.copy(); y[20:25] = np.nan
    gap = theta.posterior(theta.prepare(y, missing="nan"))
    loglik = theta.emit.log_prob(x); loglik[20:25] = 0
    gamma, _, total = lesson.smooth(theta.initial, theta.trans, loglik)
    assert np.allclose(gap.gamma, gamma, atol=1e-13) and np.isclose(gap.log_likelihood, total, rtol=1e-13)
    masked = np.ma.array(x, mask=np.zeros_like(x, bool)); masked[20:25] = np.ma.masked
    assert np.allclose(theta.resp(masked), gap.gamma, atol=1e-14)
    stats, _ = theta.expected_stats(theta.prepare(y, missing="nan"))
    keep = np.r_[0:20, 25:60]
    assert np.allclose(stats.emit.weight, gamma[keep].sum(0)) and np.allclose(stats.emit.mean, gamma[keep].T @ x[keep] / gamma[keep].sum(0)[:, None])


@pytest.mark.slow
@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_partly_missing_rows(covariance):  # each row counts by the density of what it has
    theta, rng = model(covariance, 2, 3, 4, missing="nan"), np.random.default_rng(0)
    x = with_gaps([theta.sample(80, 1)[0]], 0.3, rng)[0]
    cov = theta.emit.covs if covariance == "full" else np.array([np.diag(c) for c in theta.emit.covs])
    loglik = np.zeros((80, 2))
    for t, row in enumerate(x):
        for j in (0, 1):
            for i in np.flatnonzero(~np.isnan(row)):  # one observed entry after the other, given those before
                before = [b for b in np.flatnonzero(~np.isnan(row)) if b < i]
                g = np.linalg.solve(cov[j][np.ix_(before, before)], cov[j][before, i]) if before else np.zeros(0)
                mean = theta.emit.means[j, i] + g @ (row[before] - theta.emit.means[j, before])
                loglik[t, j] += norm.logpdf(row[i], mean, np.sqrt(cov[j][i, i] - g @ cov[j][before, i]))
    gamma, _, total = lesson.smooth(theta.initial, theta.trans, loglik)
    assert np.isclose(theta.log_likelihood(x), total, rtol=1e-12) and np.allclose(theta.resp(x), gamma, atol=1e-12)
    run = em(theta, x, max_iter=30, tol=0)
    assert np.all(np.diff(run.bounds) > -1e-9)
    filled, drawn = theta.impute(x), np.array([theta.impute(x, seed) for seed in range(100)])
    assert np.array_equal(filled[~np.isnan(x)], x[~np.isnan(x)]) and np.isfinite(filled).all()
    assert np.abs(drawn.mean(0) - filled).max() < 6 * drawn.std(0).max() / 10


def test_objects_and_na_are_missing_where_asked():
    class NAType: ...  # as pandas' NA is recognised
    theta = HMM([0.5, 0.5], A2, Gaussian([[0.0], [3.0]], [1.0, 1.0], "spherical"))
    x = [0.1, None, NAType(), 2.9, float("nan"), 3.1]
    data = theta.prepare(np.array(x, dtype=object), missing="nan")
    assert data.rows.observed[:, 0].tolist() == [True, False, False, True, False, True]
    assert np.isclose(theta.log_likelihood(data), theta.prepare([0.1, np.nan, np.nan, 2.9, np.nan, 3.1], missing="nan") and theta.log_likelihood(theta.prepare([0.1, np.nan, np.nan, 2.9, np.nan, 3.1], missing="nan")))
    with pytest.raises(ValueError, match="missing='nan'"): theta.prepare(x[:2] + [np.nan])
    with pytest.raises(ValueError, match="missing='nan'"): theta.prepare(np.array([0.1, np.nan]))
    assert np.isfinite(em(HMM.start(x * 5, 2, missing="nan", covariance="tied_spherical", rng=0), x * 5).bound)  # the model remembers what missing means


class Dated:  # a column of a table whose index are dates, as pandas has it
    def __init__(self, values): self.values = values
    def __getitem__(self, i): raise KeyError(i)
    def __len__(self): return len(self.values)
    def __array__(self, dtype=None, copy=None): return np.asarray(self.values, dtype=dtype)


class Table(Dated):
    def __init__(self, values, columns): self.values, self.columns = values, columns


def test_states_in_many_forms():
    theta = HMM([0.5, 0.5], A2, Poisson([1.0, 8.0]))
    x = [np.array([0, 1, 9, 7]), np.array([8, 1])]
    want = theta.log_likelihood(theta.prepare(x[0], states=[0, -1, 1, -1]))
    for states in ([0, None, 1, None], np.array([0, np.nan, 1, np.nan]), Dated([0.0, np.nan, 1.0, np.nan]), np.ma.array([0, 5, 1, 5], mask=[0, 1, 0, 1])):
        assert theta.log_likelihood(theta.prepare(x[0], states=states)) == want
    half = theta.prepare(x, states=[[0, -1, 1, -1], None])
    assert np.isclose(theta.log_prob(half)[0], want, rtol=1e-14) and np.isclose(theta.log_prob(half)[1], theta.log_likelihood(x[1]), rtol=1e-14)
    assert np.allclose(theta.resp(half)[0][[0, 2]], [[1, 0], [0, 1]], rtol=4e-16, atol=0)
    for states, word in (([], "must hold 4 labels"), (list("abab"), "code names as numbers"), ([0, 1], "4 labels"), ([0, 1, 2, 0], "from 0 to 1"), ([0.5, 0, 0, 0], "whole")):
        with pytest.raises(ValueError, match=word): theta.prepare(x[0], states=states)
    three = HMM(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), Poisson([1.0, 4.0, 8.0]))
    with pytest.raises(ValueError, match="from 0 to 1 like the model's"): theta.resp(three.prepare(x[0], states=[2, -1, -1, -1]))


def test_known_states_are_certain_and_weigh_in():
    theta = model("full", 3, 2, 6)
    x, z = theta.sample([6, 30, 2], 1)
    known = [np.where(np.arange(len(a)) % 3 == 0, a, -1) for a in z]
    data = theta.prepare(x, states=known)
    for gamma, s in zip(theta.resp(data), known): assert np.allclose(gamma[s >= 0], np.eye(3)[s[s >= 0]], rtol=4e-16, atol=0)
    log_known = logsumexp([theta.log_joint(x[0], w) for w in np.ndindex(*[3] * 6) if all(k in (-1, v) for k, v in zip(known[0], w))])
    assert np.isclose(theta.log_prob(data)[0], log_known, rtol=1e-12)
    assert np.all(np.where(known[1] < 0, known[1], theta.viterbi(data)[0][1]) == known[1])
    far = theta.prepare(x[0] + 1e3, states=z[0])  # the known state is not the likely one, by far more than floating point holds
    assert np.isclose(theta.log_likelihood(far), theta.log_joint(x[0] + 1e3, z[0]), rtol=1e-13) and np.isclose(theta.expected_stats(far)[1], theta.log_likelihood(far), rtol=1e-13)


def test_given_paths_are_checked():
    theta = model("full", 2, 2, 1)
    x, z = theta.sample([5, 4], 0)
    paths, best = theta.viterbi(x)
    assert np.isclose(theta.log_joint(x, paths), sum(best), rtol=1e-13) and theta.complete_stats(x, paths).trans.sum() == 7  # the form of viterbi itself
    assert np.isclose(theta.log_joint(x, np.concatenate(paths)), sum(best), rtol=1e-13)
    for f in (theta.log_joint, theta.complete_stats):
        for bad in ([-1] * 9, [0] * 8, [0] * 10, [z[0]], [z[0], z[1][:2]], [z[0], None], [2] * 9, "ab"):
            with pytest.raises(ValueError, match="z "): f(x, bad)


# ---- the M-step

def test_hard_em_rises_and_equals_viterbi_counts():
    theta = model("full", 2, 2, 7)
    x, _ = theta.sample([80, 20], 1)
    run = em(theta, x, e_step=hard, tol=1e-12)
    assert run.converged and np.all(np.diff(run.bounds) >= -1e-9)
    stats, best = theta.mode_stats(x)
    assert np.isclose(best, sum(theta.viterbi(x)[1])) and stats.trans.sum() == 98


def test_zeros_stay_zero_through_em_and_map():
    trans = np.array([[0.8, 0.2, 0, 0], [0, 0.7, 0.3, 0], [0, 0, 0.9, 0.1], [0, 0, 0, 1]])
    theta = HMM([1, 0, 0, 0], trans, random_mixture("diag", 4, 2, 0).components)
    x, z = theta.sample([40] * 10, 0)
    for prior in (None, HMMPrior(DirichletPrior(2.0), DirichletPrior(2.0))):
        run = em(theta, x, prior=prior, max_iter=10, tol=0)
        assert np.array_equal(run.theta.trans == 0, trans == 0) and np.array_equal(run.theta.initial, [1, 0, 0, 0]) and np.isfinite(run.bounds).all()
    assert np.all(np.diff(theta.viterbi(x)[0][0]) >= 0)
    v = theta.to_vector()
    assert np.isfinite(v).all() and np.allclose(theta.from_vector(v).trans, trans, atol=1e-15) and len(v) == theta.n_parameters


def test_alpha_one_is_no_prior():
    theta = HMM([0.5, 0.5], [[0.5, 0.5], [0.3, 0.7]], Categorical([[0.5, 0.5, 0], [0.2, 0.8, 0]]))
    stats = theta.expected_stats([np.array([0]), np.array([1]), np.array([1])])[0]
    plain = theta.maximize(stats)
    assert np.array_equal(plain.trans, theta.trans)  # a state that is never left keeps its row
    one = theta.maximize(stats, HMMPrior(DirichletPrior(1.0), DirichletPrior(1.0), DirichletPrior(1.0)))
    assert all(np.allclose(a, b, atol=1e-15) for a, b in zip(leaves(one), leaves(plain)))
    assert np.isfinite(theta.log_prior(HMMPrior(trans=DirichletPrior(1.0), emit=DirichletPrior(1.0))))


def test_map_can_start_where_a_start_ends():  # zeros of the emissions are structure, as those of trans
    x = [[1, 2, 3, 2], [2, 4, 5, 2]]
    theta = HMM.start(x, 2, Categorical, v=8, rng=0)
    prior = HMMPrior(DirichletPrior(2.0), DirichletPrior(2.0), DirichletPrior(2.0))
    assert np.isfinite(em(theta, x, prior=prior, max_iter=20).bound)
    bare = HMM([0.5, 0.5], A2, Categorical([[0, 0.3, 0.3, 0.2, 0.1, 0.1, 0, 0], [0, 0.1, 0.2, 0.2, 0.3, 0.2, 0, 0]]))
    assert np.isfinite(em(bare, x, prior=prior, max_iter=20).bound)
    silent = HMM([0.5, 0.5], A2, Poisson([[0.0, 2.0], [3.0, 0.5]]))
    assert np.isfinite(em(silent, np.array([[0, 1], [0, 3], [4, 0], [0, 2]]), prior=HMMPrior(emit=GammaPrior(2.0, 1.0)), max_iter=20).bound)


def test_stationary_models():
    theta = HMM(None, A2, Poisson([1.0, 9.0]), stationary=True)
    assert np.allclose(theta.initial @ theta.trans, theta.initial) and np.allclose(theta.initial, [2 / 3, 1 / 3])
    for change in (dict(initial=[0.5, 0.5]),):
        with pytest.raises(ValueError, match="initial must be None for a stationary model"): HMM(**change, trans=A2, emit=Poisson([1.0, 9.0]), stationary=True)
    assert HMM(theta.initial, A2, theta.emit, stationary=True).stationary  # its own is no contradiction
    x = theta.sample([50, 30], 0)[0]
    stats, _ = theta.expected_stats(x)
    for ask in (theta.maximize, lambda s, p: theta.log_prior(p)):
        with pytest.raises(ValueError, match="initial of HMMPrior must be None where the model is stationary"): ask(stats, HMMPrior(initial=DirichletPrior(2.0)))
    with pytest.raises(ValueError, match="one stationary distribution"): HMM(None, np.eye(2), Poisson([1.0, 9.0]), stationary=True)
    fit = theta.maximize(stats, HMMPrior(trans=DirichletPrior(2.0)))
    assert np.allclose(fit.initial @ fit.trans, fit.initial, atol=1e-14)


def test_a_stationary_m_step_of_many_states():  # never worse, no warnings, sequences of length one as well
    rng = np.random.default_rng(0)
    for k, lengths in ((60, [2000]), (5, [1] * 200), (20, [1] * 100 + [5] * 50)):
        theta = HMM(None, rng.dirichlet(np.ones(k), k), Poisson(np.linspace(1, 200, k)), stationary=True)
        x = theta.sample(lengths, 0)[0]
        stats, _ = theta.expected_stats(x)
        new = theta.maximize(stats)
        chain = [float(xlogy(stats.initial, m.initial).sum() + xlogy(stats.trans, m.trans).sum()) for m in (theta, new)]
        assert chain[1] >= chain[0] - 1e-9 and np.allclose(new.initial @ new.trans, new.initial, atol=1e-12)


# ---- criteria, coordinates, names

def test_criteria_count_zeros_and_ties():
    x = earthquakes()
    theta = em(HMM.start(x, 3, Poisson, rng=0), x).theta
    assert theta.n_parameters == 2 + 6 + 3 and HMM([1, 0], [[0.5, 0.5], [0, 1]], Poisson([1.0, 2.0])).n_parameters == 0 + 1 + 2
    assert np.isclose(theta.bic(x), -2 * theta.log_likelihood(x) + 11 * np.log(107)) and np.isclose(theta.aic(x), -2 * theta.log_likelihood(x) + 22)
    assert np.isclose(theta.icl(x), -2 * theta.viterbi(x)[1] + 11 * np.log(107)) and theta.icl(x) > theta.bic(x)
    loose, tight = (em(HMM.start(x, 4, Poisson, rng=0), x, tol=tol, max_iter=3000).theta for tol in (1e-3, 1e-12))
    assert loose.n_parameters == tight.n_parameters == 3 + 12 + 4  # whatever EM has sent to zero
    assert model("tied", 3, 2, 0).n_parameters == 2 + 6 + 6 + 3
    y = x.astype(float).copy(); y[:7] = np.nan
    gaps = theta.prepare(y, missing="nan")
    assert np.isclose(theta.bic(gaps), -2 * theta.log_likelihood(gaps) + 11 * np.log(100))


def test_permuted_and_relabelled():
    theta = model("full", 3, 2, 3)
    x, z = theta.sample([20, 5], 0)
    order = [2, 0, 1]
    other = theta.permute(order)
    data = theta.prepare(x, states=[np.where(np.arange(20) % 4, -1, z[0]), None])
    assert np.isclose(other.log_likelihood(theta.relabelled(data, order)), theta.log_likelihood(data), rtol=1e-13)
    assert np.allclose(other.resp(x)[0], theta.resp(x)[0][:, order]) and other.distance(theta) > 0.1 and theta.distance(theta) < 1e-15


def test_repr_is_short():
    for k in (2, 8, 30):
        text = repr(model("full", k, 2, 0))
        assert text.startswith(f"HMM(k={k}, Gaussian full)") and len(text.splitlines()) <= 12 and max(map(len, text.splitlines())) < 140
    assert "stationary" in repr(HMM(None, A2, Poisson([1.0, 2.0]), stationary=True))


def test_column_names_are_remembered():
    rng = np.random.default_rng(0)
    table = Table(rng.normal(size=(60, 2)) + 4 * (np.arange(60) % 20 > 9)[:, None], ("a", "b"))
    theta = HMM.start(table, 2, rng=0)
    assert theta.columns == ("a", "b") and np.isfinite(em(theta, table).bound) and theta.predict([table, table])[0].shape == (60,)
    with pytest.raises(ValueError, match=r"columns \['a', 'b'\]"): theta.predict(Table(table.values, ("b", "a")))
    with pytest.raises(ValueError, match="same columns"): theta.predict([table, Table(table.values, ("b", "a"))])


def test_sample():
    theta = model("poisson", 3, 2, 0)
    x, z = theta.sample(2000, 0)
    assert x.shape == (2000, 2) and z.shape == (2000,) and np.array_equal(x, theta.sample(2000, 0)[0])
    x, z = theta.sample([3, 1], 0)
    assert [a.shape for a in x] == [(3, 2), (1, 2)] and [len(a) for a in z] == [3, 1]
    for bad in (0, -1, 2.5, [3, 0], "a", True):
        with pytest.raises(ValueError, match="n must be a whole number >= 1"): theta.sample(bad, 0)
    with pytest.raises(ValueError, match="rng must be a seed"): theta.sample(3, "a")


# ---- starts

@pytest.mark.slow
def test_start_finds_the_parts():
    theta = HMM([1, 0, 0], np.full((3, 3), 0.05) + 0.85 * np.eye(3), Gaussian(np.array([[0, 0], [6, 0], [0, 6.0]]), np.array([np.eye(2)] * 3)))
    x, z = theta.sample([300, 200], 3)
    for covariance in COVARIANCES:
        run = em(HMM.start(x, 3, covariance=covariance, rng=0), x)
        assert run.converged and run.theta.emit.covariance == covariance
        order = np.argsort(run.theta.emit.means @ [1, 2])
        assert np.allclose(run.theta.emit.means[order], theta.emit.means, atol=0.4) and np.allclose(run.theta.permute(order).trans, theta.trans, atol=0.06)
    a, b = HMM.start(x, 3, rng=5), HMM.start(x, 3, rng=5)
    assert np.array_equal(a.to_vector(), b.to_vector())
    with backend("numpy"): c = HMM.start(x, 3, rng=5)
    assert np.allclose(a.to_vector(), c.to_vector(), atol=1e-7)
    prepared = a.prepare(x)
    assert np.allclose(HMM.start(prepared, 3, rng=5).to_vector(), a.to_vector(), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name, family", [("poisson", Poisson), ("bernoulli", Bernoulli), ("categorical", Categorical)])
def test_start_with_counts_and_symbols(name, family):
    y, _ = model(name, 2, 3, 1).sample([200, 1, 30], 0)
    assert np.isfinite(em(HMM.start(y, 2, family, rng=0, stationary=True), y, max_iter=20).bound)


@pytest.mark.slow
def test_states_are_not_limited_by_distinct_values():
    theta = HMM(np.full(3, 1 / 3), [[0.95, 0.04, 0.01], [0.05, 0.9, 0.05], [0.02, 0.08, 0.9]], Bernoulli([[0.1], [0.5], [0.95]]))
    x = theta.sample(1200, 0)[0]
    top = em(theta, x).bound
    ends = [em(HMM.start(x, 3, Bernoulli, rng=seed), x).bound for seed in range(3)]
    assert min(ends) > top - 1e-3 and min(ends) > em(HMM.start(x, 2, Bernoulli, rng=0), x).bound + 3
    assert np.isfinite(em(HMM.start(x, 3, Poisson, rng=0), x, max_iter=5).bound)
    rounded = np.round(HMM(np.full(3, 1 / 3), theta.trans, Gaussian([[0.0], [0.5], [1.0]], [[0.1]], "tied")).sample(500, 0)[0])  # a handful of values
    assert np.isfinite(em(HMM.start(rounded, 3, covariance="tied", rng=0), rounded, max_iter=5).bound) and len(np.unique(rounded)) < 6


@pytest.mark.slow
def test_few_labels_lead_the_start():
    theta = HMM([1 / 3] * 3, np.full((3, 3), 0.05) + 0.85 * np.eye(3), Gaussian([[0.0], [1.0], [2.0]], [0.5, 0.5, 0.5], "spherical"))
    x, z = theta.sample(600, 0)
    rng = np.random.default_rng(1)
    known = np.where(rng.random(600) < 0.05, z, -1)
    for seed in range(4):
        data = theta.prepare(x, states=known)
        fit = em(HMM.start(x, 3, covariance="spherical", states=known, rng=seed), data).theta
        assert np.mean(fit.predict(x) == z) > 0.8
        assert np.isclose(em(HMM.start(data, 3, covariance="spherical", rng=seed), data).bound, fit.log_likelihood(data), atol=1e-3)


@pytest.mark.slow
def test_starts_of_long_data_see_what_is_rare():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 1))
    x[15_000:37_000] = np.nan  # a long gap
    x[7000:7012] += 30  # a rare state
    for seed in range(4):
        theta = HMM.start(x, 2, covariance="spherical", missing="nan", rng=seed)
        assert np.isclose(em(theta, x).theta.emit.means.max(), 30, atol=1.5)
    quiet = [np.zeros(30_000), np.r_[np.zeros(20_000), rng.poisson(5, 500)]]  # a long quiet phase, and a sequence that counts for nothing
    for seed in range(4):
        fit = em(HMM.start(quiet, 2, Poisson, weights=[0, 1], rng=seed), quiet, weights=[0, 1]).theta
        assert np.isclose(fit.emit.rates.max(), 5, atol=0.5)
    symbols = np.array([0, 0, 1, 2, 3, 0, 1] * 3000 + [9])
    assert HMM.start(symbols, 2, Categorical, n_starts=1).emit.v == 10


def test_stretches_weigh_what_they_stand_for():
    rng = np.random.default_rng(0)
    theta = model("diag", 2, 2, 0)
    data = theta.prepare(theta.sample([5000, 30, 900, 7000], 0)[0], weights=[1, 2, 0, 1])
    z, w = data.rows.x - data.rows.center, data.rows.weights
    sums = []
    for _ in range(100):
        which, part = stretches(data, z, w, 3000, rng)
        assert np.array_equal(part.rows.x, data.rows.x[which]) and len(part) == len(which) and len(part) < 4000 and part.rows.weights.min() > 0
        sums.append(part.rows.weights @ part.rows.x)
    truth = w @ data.rows.x
    assert np.all(np.abs(np.mean(sums, 0) - truth) < 5 * np.std(sums, 0) / 10 + 1e-3 * np.abs(truth))


def test_a_collapse_without_prior_is_helped_by_the_weak_one():
    x = np.r_[np.zeros(200), np.random.default_rng(0).normal(3, 1, 200)]  # a stuck sensor
    theta = HMM.start(x, 2, covariance="spherical", rng=0)
    with pytest.raises(Degenerate, match="prior"): em(theta, x)
    run = em(HMM.start(x, 2, covariance="spherical", prior="weak", rng=0), x, prior="weak")
    assert run.converged and np.mean(run.theta.predict(x)[:200] == run.theta.predict(x)[0]) > 0.99
    own = HMMPrior(trans=DirichletPrior(2.0), emit=NormalInverseWishart(0.0, 0.01, 1.0, 3.0))
    assert em(HMM.start(x, 2, covariance="spherical", prior=own, rng=0), x, prior=own).converged


@pytest.mark.slow
def test_the_default_tolerance_goes_far_enough():
    x = HMM([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], Gaussian([[0.0], [2.0]], [1.0, 1.0], "spherical")).sample(200, 0)[0]
    for seed in range(2):  # three states on data of two
        run = em(HMM.start(x, 3, covariance="tied_spherical", rng=seed), x)
        assert run.converged and em(run, x, tol=1e-12, max_iter=3000).bound < run.bound + 1e-3


# ---- what is refused, and with which words

@pytest.mark.parametrize("change, message", [
    (dict(trans=[[0.5, 0.5], [0.5, 0.43]]), "trans row 1 sums to 0.93, expected 1"),
    (dict(trans=[[1.5, -0.5], [0.5, 0.5]]), r"trans must lie in \[0, 1\]"),
    (dict(trans=np.full((3, 3), 1 / 3)), r"trans must have shape \(2, 2\)"),
    (dict(initial=[0.2, 0.2]), "initial sums to 0.4"),
    (dict(initial=[1.0]), r"initial must have shape \(2,\)"),
    (dict(initial=None), "initial must be given unless stationary"),
    (dict(emit="poisson"), "emit must be a family .*'poisson'"), (dict(emit=[1.0, 5.0]), "emit must be a family"), (dict(emit=Poisson), "emit must be a family .*class Poisson"),
    (dict(emit=Mixture([0.5, 0.5], Poisson([1.0, 2.0]))), "emit must be a family .*Mixture"), (dict(missing="drop"), "missing must be")])
def test_parameter_errors(change, message):
    args = dict(initial=[0.5, 0.5], trans=[[0.5, 0.5], [0.5, 0.5]], emit=Poisson([1.0, 2.0])) | change
    with pytest.raises(ValueError, match=message): HMM(**args)


def test_probabilities_of_any_rounding():
    trans = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [1 / 3, 1 / 3, 1 / 3]])
    for p in (trans.astype("float32"), np.round(trans, 8), trans.tolist()):
        theta = HMM(np.full(3, 0.33333333), p, Poisson([1.0, 2.0, 3.0]))
        assert np.abs(theta.trans.sum(1) - 1).max() < 4e-16 and abs(theta.initial.sum() - 1) < 4e-16


def test_prior_errors():
    theta = HMM([0.5, 0.5], A2, Poisson([1.0, 2.0]))
    stats = theta.expected_stats([1, 2, 3])[0]
    for prior, word in ((DirichletPrior(2.0), "prior of an HMM must be an HMMPrior"), (2.0, "must be an HMMPrior"), (HMMPrior(emit=BetaPrior(2, 2)), "prior of a Poisson must be a GammaPrior"),
                        (HMMPrior(trans=DirichletPrior([2.0, 2, 2])), "alpha of DirichletPrior must be")):
        for f in (lambda: theta.maximize(stats, prior), lambda: theta.log_prior(prior)):
            with pytest.raises(ValueError, match=word): f()
    for name in ("initial", "trans"):
        with pytest.raises(ValueError, match=f"{name} of HMMPrior must be a DirichletPrior or None, got 2.0"): HMMPrior(**{name: 2.0})
    with pytest.raises(ValueError, match="alpha"): theta.maximize(stats, HMMPrior(trans=DirichletPrior(0.2)))
    assert theta.log_prior() == theta.log_prior(None) == 0.0


G2 = Gaussian(np.zeros((2, 2)) + [[0], [1]], np.array([np.eye(2)] * 2))
C3 = Categorical([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("emit, x, message", [
    (C3, [0, 1, 3], r"symbols 0 to 2 .*x\[2"), (C3, [np.array([0, 1]), np.array([0, 5])], r"sequence 1: x must hold symbols 0 to 2 .*x\[1"),
    (C3, [0, 1.5], "symbols"), (C3, [0, -1], "symbols"), (C3, ["a", "b"], "numpy.unique"), (Poisson([1.0, 2.0]), [1, 2.5], "counts"), (Poisson([1.0, 2.0]), [1, -2], "counts"),
    (G2, [], "empty list"), (G2, [np.zeros((3, 2)), np.zeros((0, 2))], "sequence 1 is empty"), (G2, np.zeros((0, 2)), "at least one row"),
    (G2, [np.zeros((3, 2)), np.zeros((3, 3))], "sequence 1 has 3 and sequence 0 has 2"), (G2, np.zeros((4, 3)), "2 columns"), (G2, np.zeros(4), "2 columns|shape"),
    (G2, [np.zeros((3, 2)), np.array([[0, 0], [0, np.nan]])], r"sequence 1: x must be finite, but x\[1, 1\] is nan"), (G2, np.array([[0, np.inf]]), r"x\[0, 1\] is inf"),
    (G2, [np.zeros((2, 2, 2))], "sequence 0 has shape"), (G2, "banana", "text"), (G2, 3.0, "shape"), (G2, [np.zeros((3, 2)), None], "sequence 1 has shape")])
def test_data_errors(emit, x, message):
    theta = HMM([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]], emit)
    for f in (theta.prepare, theta.viterbi):
        with pytest.raises(ValueError, match=message): f(x)


def test_more_data_errors():
    theta = HMM([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]], G2)
    with pytest.raises(ValueError, match="missing must be"): theta.prepare(np.zeros((4, 2)), missing="drop")
    with pytest.raises(ValueError, match="all are missing"): theta.prepare(np.full((3, 2), np.nan), missing="nan")
    x = np.arange(8.0).reshape(4, 2)
    for weights in ([1, 2, 3], [1.0], 2.0):
        with pytest.raises(ValueError, match=r"weights must have shape \(2,\), one a sequence"): theta.prepare([x, x], weights=weights)
    with pytest.raises(ValueError, match="not negative"): theta.prepare([x, x], weights=[1, -2])
    with pytest.raises(ValueError, match="prepared already"): theta.prepare(theta.prepare(x), weights=[1])
    with pytest.raises(ValueError, match="weigh whole sequences"): theta.prepare(G2.prepare(x, [1, 2, 3, 4]))
    assert theta.split(x) is None
    for bad in (0, -1, 2.5, "a"):
        with pytest.raises(ValueError, match="steps must be"): theta.predict_next(x, bad)
    with pytest.raises(ValueError, match="lag must be"): theta.lagged(x, -1)


def test_start_errors():
    x = np.arange(8.0).reshape(4, 2)
    for bad in (0, 1.5, True, "a"):
        with pytest.raises(ValueError, match="k must be a whole"): HMM.start(x, bad)
        with pytest.raises(ValueError, match="n_starts must be a whole"): HMM.start(x, 2, n_starts=bad)
    with pytest.raises(ValueError, match="at most the number of rows, 4"): HMM.start(x, 5)
    for family in ("poisson", int, None):
        with pytest.raises(ValueError, match="family must be a class"): HMM.start(x, 2, family)
    for bad, word in ((["a", "b", "a"], "numpy.unique"), ([np.array([0, 1]), np.array([])], "sequence 1 is empty"), ([0, 1.5, 1], "1.5"), ([4624, 4625, 10 ** 6], "numpy.unique"), ([0, 1, 10 ** 10], "numpy.unique")):
        with pytest.raises(ValueError, match=word): HMM.start(bad, 2, Categorical)
    with pytest.raises(ValueError, match="prior"): HMM.start(x, 2, prior="strong")
    with pytest.raises(ValueError, match="labels"): HMM.start(x, 2, states=[0, 1])
    gone = [np.array([0, 1, 1, 0.0]), np.full(3, np.nan)]  # a sequence of which nothing is known is no error
    assert np.isfinite(em(HMM.start(gone, 2, Categorical, missing="nan", rng=0), gone, max_iter=5).bound)


def test_impossible_data_name_sequence_and_time():
    theta = HMM([1, 0], [[0.5, 0.5], [0, 1]], Categorical([[0.5, 0.5, 0], [0, 0.5, 0.5]]))
    x = [np.array([0, 1, 2]), np.array([0, 2, 1, 0])]
    for name in ("numba", "numpy"):
        with backend(name):
            assert theta.log_likelihood(x) == -np.inf and np.array_equal(np.isfinite(theta.log_prob(x)), [True, False])
            for f in (theta.expected_stats, theta.resp, theta.viterbi, theta.posterior, theta.mode_stats, theta.predict_next, theta.filtering, lambda x: theta.sample_path(x, 0), lambda x: theta.lagged(x, 2)):
                with pytest.raises(Impossible, match="sequence 1 .* time 3") as e: f(x)
                assert e.value.time == 3
    with pytest.raises(Impossible, match="time 3"): em(theta, x)
    with pytest.raises(Impossible, match="x has probability zero .* time 3"): theta.resp(x[1])
    for weight in (1e-50, 0.05):  # however little it weighs
        assert theta.log_likelihood(theta.prepare(x, weights=[1, weight])) == -np.inf
        with pytest.raises(Impossible): theta.expected_stats(theta.prepare(x, weights=[1, weight]))
    none = theta.prepare(x, weights=[1, 0])  # a sequence that counts for nothing may be impossible
    assert np.isfinite([theta.log_likelihood(none), theta.expected_stats(none)[1], theta.mode_stats(none)[1], theta.entropy(none), theta.bic(none), theta.icl(none)]).all()
    with pytest.raises(Impossible): theta.resp(none)
