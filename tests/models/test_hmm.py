"Hidden Markov models: the laws, published numbers, another implementation, and every way to hold data wrongly."
import numpy as np
import pytest

from em_notes import chains, kernels
from em_notes.data.datasets import earthquakes
from em_notes.em import check_model, em, leaves, mode
from em_notes.families import Bernoulli, BetaPrior, Categorical, DirichletPrior, GammaPrior, Poisson
from em_notes.gaussian import Gaussian, NormalInverseWishart
from em_notes.hmm import HMM, HMMPrior

COVARIANCES = ["full", "tied", "diag", "tied_diag", "spherical", "tied_spherical"]

def family(name, k, d, rng):
    if name == "poisson": return Poisson(rng.gamma(3, 2, (k, d)))
    if name == "bernoulli": return Bernoulli(rng.uniform(0.1, 0.9, (k, d)))
    if name == "categorical": return Categorical(rng.dirichlet(np.ones(4) * 2, k))
    means = rng.normal(size=(k, d)) * 2
    a = rng.normal(size=(k, d, d)) * 0.4 + np.eye(d)
    full = a @ a.swapaxes(1, 2)
    covs = {"full": full, "diag": full.diagonal(axis1=1, axis2=2), "spherical": full[:, 0, 0]}[name.removeprefix("tied_") if name != "tied" else "full"]
    return Gaussian(means, covs[0] if name.startswith("tied") else covs, name)

FAMILIES = COVARIANCES + ["poisson", "bernoulli", "categorical"]

def model(name, k, d, seed, **kw):
    rng = np.random.default_rng(seed)
    return HMM(rng.dirichlet(np.ones(k) * 2), rng.dirichlet(np.ones(k) * 2, k), family(name, k, d, rng), **kw)

PRIORS = {"poisson": GammaPrior(2.0, 0.5), "bernoulli": BetaPrior(2.0, 2.0), "categorical": DirichletPrior(1.5)}

@pytest.mark.parametrize("stationary", [False, True])
@pytest.mark.parametrize("k", [1, 2, *(pytest.param(k, marks=pytest.mark.slow) for k in (3, 5))])
@pytest.mark.parametrize("name", FAMILIES)
def test_laws(name, k, stationary):
    theta = model(name, k, 2, 3, stationary=stationary)
    n = {1: 5, 2: 5, 3: 5, 5: 4}[k]
    x, _ = theta.sample([n, 1, 40, 17, 2], 1)
    report = check_model(theta, x, rng=2)
    assert all(outcome == "holds" for outcome in report.values()), report

@pytest.mark.parametrize("name", FAMILIES)
def test_laws_with_priors(name):
    theta = model(name, 3, 2, 5)
    x, _ = theta.sample([5, 1, 60, 30], 1)
    scatter = np.eye(2) if "full" in name or name == "tied" else 1.0
    own = PRIORS.get(name) or NormalInverseWishart(np.zeros(2), 0.1, scatter, 4.0)
    prior = HMMPrior(DirichletPrior(1.5), DirichletPrior(np.full((3, 3), 2.0) + np.eye(3)), own)
    report = check_model(theta, x, prior=prior, rng=2)
    assert all(outcome == "holds" for outcome in report.values()), report

def test_laws_with_zeros_missing_rows_and_known_states():
    rng = np.random.default_rng(0)
    trans = np.array([[0.7, 0.3, 0], [0, 0.6, 0.4], [0, 0, 1.0]])
    theta = HMM([1.0, 0, 0], trans, family("full", 3, 2, rng))
    x, z = theta.sample([6, 30, 2, 12], 1)
    x[1][[3, 4, 20]] = np.nan
    x[0][1] = np.nan
    known = [np.full(len(a), -1) for a in z]
    known[1][10] = z[1][10]; known[0][0] = z[0][0]
    data = theta.prepare(x, missing="nan", states=known)
    report = check_model(theta, data, rng=2, skip={6: "known states keep their labels"})
    assert [outcome for outcome in report.values() if outcome != "holds"] == ["skipped: known states keep their labels"]
    fit = em(theta, data, max_iter=5, tol=0).theta
    assert np.array_equal(fit.trans == 0, trans == 0) and np.array_equal(fit.initial, [1, 0, 0])
    known = theta.resp(data)[1][10]
    assert np.flatnonzero(known).tolist() == [z[1][10]] and abs(known.sum() - 1) < 4e-16 # the others exactly 0

@pytest.mark.parametrize("name", ["full", "poisson", "categorical"])
def test_weights_count_like_copies(name):
    theta = model(name, 3, 2, 1)
    x, _ = theta.sample([5, 20, 1, 7], 3)
    twice, once = theta.prepare([x[0], x[1], x[1], x[1], x[3]]), theta.prepare(x, weights=[1, 3, 0, 1])
    (a, ba), (b, bb) = theta.expected_stats(twice), theta.expected_stats(once)
    assert np.isclose(ba, bb, rtol=1e-12) and np.allclose(a.trans, b.trans, rtol=1e-12) and np.allclose(a.initial, b.initial, rtol=1e-12)
    p, q = theta.maximize(a), theta.maximize(b)
    assert np.allclose(p.to_vector(), q.to_vector(), rtol=1e-9)

def test_boundaries_are_honoured():
    theta = model("full", 3, 2, 1)
    x, _ = theta.sample([5, 20, 1, 7], 3)
    whole, bound = theta.expected_stats(x)
    parts = [theta.expected_stats(a) for a in x]
    total = parts[0][0] + parts[1][0] + parts[2][0] + parts[3][0]
    assert np.allclose(whole.trans, total.trans, rtol=1e-12) and np.isclose(bound, sum(b for _, b in parts), rtol=1e-13)
    assert np.isclose(whole.trans.sum(), 5 + 20 + 1 + 7 - 4) and np.isclose(whole.initial.sum(), 4)
    joined, other = theta.expected_stats(np.concatenate(x))
    assert np.isclose(joined.trans.sum(), 32) and abs(other - bound) > 0.1
    assert np.allclose(theta.log_prob(x), [b for _, b in parts], rtol=1e-12)

def test_zucchini_macdonald_em_path():
    "Table 4.1: the negative log-likelihood by iteration, and the parameters after one step and at the end."
    theta = HMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], Poisson([10.0, 30.0]))
    run = em(theta, earthquakes(), max_iter=50, tol=0)
    want = {0: 413.2754196229131, 1: 343.7602341119361, 2: 343.1361814166129, 30: 341.8787061777569, 50: 341.87870101185246}
    for t, value in want.items(): assert abs(-run.bounds[t] - value) < 1e-6
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
    run = em(theta, x, tol=1e-12, max_iter=20000)
    fit = run.theta
    order = np.argsort(fit.emit.rates[:, 0])
    fit = fit.permute(order)
    assert abs(-run.bound - loss) < 1e-3
    assert abs(-2 * run.bound + 2 * k * k - aic) < 2e-3 and abs(-2 * run.bound + k * k * np.log(len(x)) - bic) < 2e-3
    if rates: assert np.allclose(fit.emit.rates[:, 0], rates, atol=1e-2) and np.allclose(fit.initial, initial, atol=1e-3)

def peer(theta, kind, implementation):
    "The same model in hmmlearn, its silent priors off."
    hl = pytest.importorskip("hmmlearn.hmm")
    kw = dict(n_components=theta.k, init_params="", n_iter=1, tol=-np.inf, implementation=implementation)
    if kind == "poisson":
        m = hl.PoissonHMM(**kw, lambdas_prior=0.0, lambdas_weight=0.0); m.lambdas_ = theta.emit.rates.copy()
    elif kind == "categorical":
        m = hl.CategoricalHMM(**kw); m.emissionprob_ = theta.emit.probs.copy()
        m.n_features = theta.emit.d
    else:
        m = hl.GaussianHMM(**kw, covariance_type=kind, covars_prior=0.0, covars_weight=0.0, min_covar=0.0)
        m.means_ = theta.emit.means.copy()
        m.covars_ = theta.emit.covs.copy()
    m.startprob_, m.transmat_ = theta.initial.copy(), theta.trans.copy()
    return m

def peer_emit(m, kind):
    if kind == "poisson": return m.lambdas_
    if kind == "categorical": return m.emissionprob_
    return np.concatenate([m.means_.ravel(), (m._covars_ if kind != "spherical" else m._covars_[:, 0] if m._covars_.ndim == 2 else m._covars_).ravel()])

def own_emit(e, kind):
    if kind == "poisson": return e.rates
    if kind == "categorical": return e.probs
    return np.concatenate([e.means.ravel(), e.covs.ravel()])

@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["scaling", "log"])
@pytest.mark.parametrize("kind", ["full", "diag", "tied", "spherical", "poisson", "categorical"])
def test_equals_hmmlearn_step_by_step(kind, implementation):
    theta = model(kind, 3, 2, 11)
    true = model(kind, 3, 2, 12)
    lengths = [50, 1, 120, 30]
    x, _ = true.sample(lengths, 5)
    whole = np.concatenate(x).astype(int) if kind in ("poisson", "categorical") else np.concatenate(x)
    other = peer(theta, kind, implementation)
    assert np.isclose(other.score(whole, lengths), theta.log_likelihood(x), rtol=1e-12)
    best, path = other.decode(whole, lengths)
    paths, joint = theta.viterbi(x)
    assert np.isclose(sum(joint), best, rtol=1e-12) and np.isclose(theta.log_joint(x, path), best, rtol=1e-12)
    assert np.allclose(np.concatenate(theta.resp(x)), other.predict_proba(whole, lengths), atol=1e-11)
    data = theta.prepare(x)
    for _ in range(8):
        other.fit(whole, lengths)
        theta = theta.maximize(theta.expected_stats(data)[0])
        for ours, theirs in ((theta.initial, other.startprob_), (theta.trans, other.transmat_), (own_emit(theta.emit, kind).ravel(), np.ravel(peer_emit(other, kind)))):
            assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-10)

def test_two_long_sequences_equal_the_reference_in_all_parts():
    theta = model("full", 6, 3, 2)
    x, z = theta.sample([6000, 5000], 0)
    out = theta.posterior(x)
    assert [len(p.gamma) for p in out] == [6000, 5000]
    loglik = theta.loglik(x)
    for p, own in zip(out, (loglik[:6000], loglik[6000:])):
        filtered, ratio, log_norm = chains.forward(theta.initial, theta.trans, own)
        assert np.allclose(p.filtered, filtered, atol=1e-13) and np.allclose(p.gamma, filtered * chains.backward(theta.trans, ratio), atol=1e-12)
        assert np.allclose(p.predicted[1:], filtered[:-1] @ theta.trans, atol=1e-13) and np.isclose(p.log_likelihood, log_norm.sum(), rtol=1e-13)

def test_one_array_in_one_array_out():
    theta = model("full", 2, 2, 0)
    (x, y), _ = theta.sample([30, 4], 0)
    assert theta.resp(x).shape == (30, 2) and theta.viterbi(x)[0].shape == (30,) and theta.predict_next(x).shape == (2,)
    assert theta.predict_next([x, y], steps=3).shape == (2, 2) and [len(p) for p in theta.viterbi([x, y])[0]] == [30, 4]
    assert theta.sample_path(x, 0).shape == (30,) and theta.sample_path([x, y], 0, size=7)[1].shape == (7, 4)
    last = theta.posterior(x).filtered[-1]
    assert np.allclose(theta.predict_next(x, 2), last @ theta.trans @ theta.trans, atol=1e-14)
    counts = model("poisson", 2, 1, 0)
    a, _ = counts.sample(12, 0)
    assert np.isclose(counts.log_likelihood(a[:, 0]), counts.log_likelihood(a)) and np.isclose(counts.log_likelihood(a[:, 0].astype(int).tolist()), counts.log_likelihood(a))
    assert np.isclose(counts.log_likelihood(a.reshape(3, 4, 1)), counts.log_likelihood(list(a.reshape(3, 4))))

def test_prepared_once():
    theta = model("diag", 3, 2, 0)
    x, _ = theta.sample([40, 3], 0)
    data = theta.prepare(x)
    assert theta.prepare(data) is data and len(data) == 43
    other = model("full", 3, 2, 0)
    assert np.isclose(other.log_likelihood(data), other.log_likelihood(x), rtol=1e-12)

def test_missing_rows_change_nothing_but_themselves():
    theta = model("full", 3, 2, 4)
    x, _ = theta.sample(60, 1)
    y = x.copy(); y[20:25] = np.nan
    gap = theta.posterior(theta.prepare(y, missing="nan"))
    loglik = theta.loglik(x); loglik[20:25] = 0
    want = chains.smooth(theta.initial, theta.trans, loglik)
    assert np.allclose(gap.gamma, want.gamma, atol=1e-14) and np.isclose(gap.log_likelihood, want.log_likelihood, rtol=1e-14)
    masked = np.ma.array(x, mask=np.zeros_like(x, bool)); masked[20:25] = np.ma.masked
    assert np.array_equal(theta.resp(masked), gap.gamma)
    stats, _ = theta.expected_stats(theta.prepare(y, missing="nan"))
    keep = np.r_[0:20, 25:60]
    assert np.allclose(stats.emit.count, gap.gamma[keep].sum(0)) and np.allclose(stats.emit.mean, gap.gamma[keep].T @ x[keep] / gap.gamma[keep].sum(0)[:, None])

def test_hard_em_rises_and_equals_viterbi_counts():
    theta = model("full", 2, 2, 7)
    x, _ = theta.sample([80, 20], 1)
    run = em(theta, x, e_step=mode, tol=1e-12)
    assert run.converged and np.all(np.diff(run.bounds) >= -1e-9)
    stats, best = theta.mode_stats(x)
    assert np.isclose(best, sum(theta.viterbi(x)[1])) and stats.trans.sum() == 98

def test_zeros_stay_zero_through_em_and_map():
    rng = np.random.default_rng(0)
    trans = np.array([[0.8, 0.2, 0, 0], [0, 0.7, 0.3, 0], [0, 0, 0.9, 0.1], [0, 0, 0, 1]])
    theta = HMM([1, 0, 0, 0], trans, family("diag", 4, 2, rng))
    x, z = theta.sample([40] * 10, 0)
    for prior in (None, HMMPrior(DirichletPrior(2.0), DirichletPrior(2.0))):
        run = em(theta, x, prior=prior, max_iter=10, tol=0)
        assert np.array_equal(run.theta.trans == 0, trans == 0) and np.array_equal(run.theta.initial, [1, 0, 0, 0]) and np.isfinite(run.bounds).all()
    path = theta.viterbi(x)[0][0]
    assert np.all(np.diff(path) >= 0)

def test_a_state_left_only_at_the_end_keeps_its_row():
    theta = HMM([0.5, 0.5], [[0.5, 0.5], [0.3, 0.7]], Categorical([[0.5, 0.5], [0.2, 0.8]]))
    fit = theta.maximize(theta.expected_stats([[0], [1], [1]])[0])
    assert np.array_equal(fit.trans, theta.trans)

def test_from_data_finds_the_parts():
    rng = np.random.default_rng(3)
    theta = HMM([1, 0, 0], np.full((3, 3), 0.05) + 0.85 * np.eye(3), Gaussian(np.array([[0, 0], [6, 0], [0, 6.0]]), np.array([np.eye(2)] * 3)))
    x, z = theta.sample([300, 200], rng)
    for covariance in COVARIANCES:
        run = em(HMM.from_data(x, 3, covariance=covariance, rng=0), x)
        assert run.converged and run.theta.emit.covariance == covariance
        order = np.argsort(run.theta.emit.means @ [1, 2])
        assert np.allclose(run.theta.emit.means[order], theta.emit.means, atol=0.4) and np.allclose(run.theta.permute(order).trans, theta.trans, atol=0.06)
    a, b = HMM.from_data(x, 3, rng=5), HMM.from_data(x, 3, rng=5)
    assert np.array_equal(a.to_vector(), b.to_vector())
    for name, fam in (("poisson", Poisson), ("bernoulli", Bernoulli), ("categorical", Categorical)):
        y, _ = model(name, 2, 3, 1).sample([200, 1, 30], 0)
        assert np.isfinite(em(HMM.from_data(y, 2, fam, rng=0), y, max_iter=20).bound)
    y = np.array([0, 0, 1, 2, 3, 0, 1] * 3000 + [9])
    assert HMM.from_data(y, 2, Categorical, n_starts=1).emit.d == 10
    with_gaps = x[0].copy(); with_gaps[5] = np.nan
    assert HMM.from_data(with_gaps, 2, missing="nan", n_starts=1, stationary=True).stationary

@pytest.mark.parametrize("change, message", [
    (dict(trans=[[0.5, 0.5], [0.5, 0.43]]), "trans row 1 sums to 0.93, expected 1"),
    (dict(trans=[[1.5, -0.5], [0.5, 0.5]]), r"trans must lie in \[0, 1\]"),
    (dict(trans=np.full((3, 3), 1 / 3)), r"trans must have shape \(2, 2\)"),
    (dict(initial=[0.2, 0.2]), "initial sums to 0.4"),
    (dict(initial=[1.0]), r"initial must have shape \(2,\)"),
    (dict(initial=None), "initial must be given unless stationary"),
    (dict(initial=None, trans=np.eye(2), stationary=True), "one stationary")])
def test_parameter_errors(change, message):
    args = dict(initial=[0.5, 0.5], trans=[[0.5, 0.5], [0.5, 0.5]], emit=Poisson([1.0, 2.0])) | change
    with pytest.raises(ValueError, match=message): HMM(**args)

G2 = Gaussian(np.zeros((2, 2)) + [[0], [1]], np.array([np.eye(2)] * 2))
C3 = Categorical([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])

@pytest.mark.parametrize("emit, x, message", [
    (C3, [0, 1, 3], r"symbols 0 to 2, but x\[2\] is 3"),
    (C3, [np.array([0, 1]), np.array([0, 5])], r"sequence 1: x must hold symbols 0 to 2, but x\[1\] is 5"),
    (C3, [0, 1.5], "symbols"), (C3, [0, -1], "symbols"), (C3, ["a", "b"], "real numbers"),
    (Poisson([1.0, 2.0]), [1, 2.5], "counts"), (Poisson([1.0, 2.0]), [1, -2], "counts"),
    (G2, [], "empty list"), (G2, [np.zeros((3, 2)), np.zeros((0, 2))], "sequence 1 is empty"), (G2, np.zeros((0, 2)), "sequence 0 is empty"),
    (G2, [np.zeros((3, 2)), np.zeros((3, 3))], "sequence 1 has 3 and sequence 0 has 2"),
    (G2, np.zeros((4, 3)), "2 columns"), (G2, np.zeros(4), "2 columns|shape"),
    (G2, [np.zeros((3, 2)), np.array([[0, 0], [0, np.nan]])], r"sequence 1: x must be finite, but x\[1, 1\] is nan"),
    (G2, np.array([[0, np.inf]]), r"x\[0, 1\] is inf"),
    (G2, [np.zeros((2, 2, 2))], "sequence 0 has shape")])
def test_data_errors(emit, x, message):
    theta = HMM([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]], emit)
    for f in (theta.prepare, theta.expected_stats, theta.viterbi, theta.log_likelihood):
        with pytest.raises(ValueError, match=message): f(x)

def test_more_data_errors():
    theta = HMM([0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]], G2)
    x = np.zeros((4, 2)); x[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2 of sequence 0 misses 1 of 2 values"): theta.prepare(x, missing="nan")
    with pytest.raises(ValueError, match="missing must be"): theta.prepare(x, missing="drop")
    with pytest.raises(ValueError, match="all are missing"): theta.prepare(np.full((3, 2), np.nan), missing="nan")
    x = np.arange(8.0).reshape(4, 2)
    with pytest.raises(ValueError, match="weights must have shape"): theta.prepare([x, x], weights=[1, 2, 3])
    with pytest.raises(ValueError, match="not negative"): theta.prepare([x, x], weights=[1, -2])
    with pytest.raises(ValueError, match="states must hold one number"): theta.prepare(x, states=[0, 1])
    with pytest.raises(ValueError, match="0 to 1, or -1"): theta.prepare(x, states=[0, 1, 2, 0])
    with pytest.raises(ValueError, match="prepared already"): theta.prepare(theta.prepare(x), weights=[1])
    assert theta.split(x) is None
    for bad in (0, -1, 2.5):
        with pytest.raises(ValueError, match="n must hold"): theta.sample(bad, 0)
        with pytest.raises(ValueError, match="steps must be"): theta.predict_next(x, bad)
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="k must be a whole"): HMM.from_data(x, bad)
    with pytest.raises(ValueError, match="at most the number of rows"): HMM.from_data(x, 5)

def test_impossible_data_name_sequence_and_time():
    theta = HMM([1, 0], [[0.5, 0.5], [0, 1]], Categorical([[0.5, 0.5, 0], [0, 0.5, 0.5]]))
    x = [[0, 1, 2], [0, 2, 1, 0]]
    assert theta.log_likelihood(x) == -np.inf and np.array_equal(np.isfinite(theta.log_prob(x)), [True, False])
    for f in (theta.expected_stats, theta.resp, theta.viterbi, theta.posterior, theta.mode_stats):
        with pytest.raises(chains.Impossible, match="sequence 1 .* time 3"): f(x)
    with pytest.raises(chains.Impossible, match="time 3"): em(theta, x)

def test_same_bits_at_any_thread_count():
    for k in (3, 6):
        theta = model("full", k, 2, k)
        x, _ = theta.sample([9000, 40, 3000, 1, 77], 0)
        seen = []
        for n in (1, 2, 3):
            with kernels.threads(n):
                stats, bound = theta.expected_stats(x)
            seen.append((bound, stats.trans.tobytes(), stats.initial.tobytes(), stats.emit.mean.tobytes(), stats.emit.scatter.tobytes()))
        assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("k", [3, 6])
def test_compiled_equals_numpy(name, k):
    theta = model(name, k, 3, 9)
    x, _ = theta.sample([400, 1, 30], 2)
    theta = model(name, k, 3, 10)
    def everything():
        stats, bound = theta.expected_stats(x)
        return [bound, *leaves(stats), *theta.resp(x), *theta.log_prob(x), *theta.viterbi(x)[1], *theta.sample_path(x, 0)]
    fast = everything()
    with kernels.backend("numpy"): slow = everything()
    for a, b in zip(fast, slow, strict=True): assert np.allclose(a, b, rtol=1e-10, atol=1e-11)

def test_spread_and_offset_keep_their_digits():
    "Clusters a million away from the origin and ten thousand of their own deviations apart."
    for gap, offset in ((10.0, 1e6), (1e4, 0.0), (1e4, 1e6)):
        means = offset + gap * np.array([[0.0, 0], [1, 0], [0, 1]])
        theta = HMM(np.full(3, 1 / 3), np.full((3, 3), 0.1) + 0.7 * np.eye(3), Gaussian(means, np.array([np.eye(2)] * 3)))
        x, z = theta.sample(3000, 0)
        stats, bound = theta.expected_stats(x)
        for j in range(3):
            own = x[z == j]
            assert np.allclose(stats.emit.count[j], len(own)) and np.allclose(stats.emit.mean[j], own.mean(0), rtol=1e-12)
            assert np.allclose(stats.emit.scatter[j] / len(own), np.cov(own.T, bias=True), rtol=1e-7, atol=1e-8)

def test_a_sequence_that_underflows_is_right_beside_others():
    theta = HMM([1, 0, 0], [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]], Gaussian([0.0, 1.0, 2.0], [1e-4, 1e-4, 1e-4], "spherical"))
    x = [np.array([0.0, 2.0, 2.0, 2.0]), np.array([0.0, 1.0, 2.0]), np.array([2.0, 2.0])]
    stats, bound = theta.expected_stats(x)
    total = 0.0
    for a in x:
        joint = chains.all_paths(theta.initial, theta.trans, theta.loglik(a))[1]
        total += joint.max() + np.log(np.exp(joint - joint.max()).sum())
    assert np.isclose(bound, total, rtol=1e-12) and np.isclose(stats.trans.sum(), 6)
    assert check_model(theta, x, skip={3: "a tiny example", 7: "a tiny example", 8: "a tiny example", 6: "a tiny example"})
