"""Every bad input is a clear ValueError, or works and is right; nothing crashes, hangs or turns into nan."""
import numpy as np
import pytest
from em_notes import (Bernoulli, BetaPrior, Categorical, Degenerate, DirichletPrior, GMM, GammaPrior, Gaussian, Mixture,
                      NormalInverseWishart, Poisson, em)
from em_notes.data import datasets
from em_notes.data.rows import as_data
from em_notes.families.counting import CountStats, PoissonStats

X = np.random.default_rng(0).standard_normal((40, 2))
THETA = GMM([0.4, 0.6], [[0.0, 0], [1, 1]], np.stack([np.eye(2)] * 2))
METHODS = ["log_prob", "log_likelihood", "resp", "predict", "expected_stats", "entropy", "mode_stats"]

BAD_X = {
    "nan": (np.where(np.arange(80).reshape(40, 2) == 7, np.nan, X), r"x must be finite, but x\[3, 1\] is nan"),
    "inf": (np.where(np.arange(80).reshape(40, 2) == 0, np.inf, X), r"x\[0, 0\] is inf"),
    "-inf": (np.where(np.arange(80).reshape(40, 2) == 79, -np.inf, X), r"x\[39, 1\] is -inf"),
    "three axes": (X[None], "shape"), "no rows": (X[:0], "at least one row"), "a scalar": (3.0, "shape"), "no columns": (X[:, :0], "at least one"),
    "text": (np.array([["a", "b"]]), "real numbers"), "objects": (np.array([[1, None], [2, {}]], dtype=object), "real numbers"),
    "complex": (X + 1j, "real numbers"), "ragged": ([[1.0, 2], [3.0]], None), "none": (None, None), "all missing": (np.ma.masked_less(X, 1e9), "all are missing"), "sparse": (__import__("scipy.sparse").sparse.csr_array(X), r"sparse matrix; pass x.toarray\(\)"),
    "dates": (np.array([["2020-01-01", "2020-01-02"]], dtype="datetime64[D]"), "real numbers"), "huge": (X * 1e200, "1e150"),
}

@pytest.mark.parametrize("name", BAD_X)
def test_bad_data(name):
    x, message = BAD_X[name]
    with pytest.raises(ValueError, match=message): GMM.start(x, 2)
    with pytest.raises(ValueError, match=message): em(THETA, x)
    for method in METHODS:
        with pytest.raises(ValueError, match=message): getattr(THETA, method)(x)

@pytest.mark.parametrize("method", METHODS)
def test_wrong_d_at_predict(method):
    with pytest.raises(ValueError, match="x must have 2 columns like the model"): getattr(THETA, method)(np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"): getattr(THETA, method)(np.ones(2))

@pytest.mark.parametrize("k", [0, -1, 1.5, "2", None, True, 41])
def test_bad_k(k):
    with pytest.raises(ValueError, match="^k must be"): GMM.start(X, k)

def fitted(x, k, covariance="full"): return em(GMM.start(x, k, covariance), x)

@pytest.mark.slow
def test_degenerate_data():
    constant = np.column_stack([X[:, 0], np.full(40, 3.0)])
    for covariance in ("full", "tied", "diag", "tied_diag"):
        with pytest.raises(Degenerate, match="column 1.*prior='weak'"): fitted(constant, 2, covariance)
        assert np.isfinite(em(GMM.start(constant, 2, covariance, prior="weak"), constant, prior="weak").bound) # and that cure works
    assert np.isfinite(fitted(constant, 2, "spherical").bound) # a constant column is no harm here
    same = np.full((40, 2), 7.0)
    for k in (1, 2):
        with pytest.raises(Degenerate, match="collapsed"): fitted(same, k)
    with pytest.raises(Degenerate, match="dependent"): fitted(X[:, [0, 0]], 1)
    with pytest.raises(ValueError): fitted(X[:3], 3) # as many components as points
    assert np.isfinite(THETA.log_likelihood(same)) # fixed parameters can judge any data

def test_what_works_is_right():
    want = THETA.log_prob(X)
    for x in (np.asfortranarray(X), X[::-1][::-1], np.repeat(X, 2, axis=1)[:, ::2], X.tolist(), X.astype(object), X.astype(">f8")):
        np.testing.assert_array_equal(THETA.log_prob(x), want)
    frozen = X.copy(); frozen.flags.writeable = False
    np.testing.assert_array_equal(THETA.log_prob(frozen), want)
    run = em(THETA, frozen, max_iter=3)
    np.testing.assert_array_equal(run.bounds, em(THETA, X, max_iter=3).bounds)
    np.testing.assert_allclose(THETA.log_prob(X.astype(np.float32)), want, rtol=1e-5)
    whole = np.round(3 * X).astype(np.int8)
    np.testing.assert_array_equal(THETA.log_prob(whole), THETA.log_prob(whole.astype(float)))
    before = X.copy(); em(GMM.start(X, 2), X); np.testing.assert_array_equal(X, before) # the caller's data stay as they were
    np.testing.assert_allclose(THETA.log_prob(X[:1]), want[:1], rtol=1e-13) # one row alone: BLAS may add in another order
    one = GMM([1.0], [0.0], [[[1.0]]])
    np.testing.assert_array_equal(one.log_prob([1.0, 2.0]), one.log_prob([[1.0], [2.0]])) # a column may come flat

def test_far_points_are_not_nan():
    far = np.array([[1e8, -1e8], [0, 0], [1e12, 1e12]])
    assert np.isfinite(THETA.log_prob(far)).all() and np.isfinite(THETA.resp(far)).all()
    np.testing.assert_allclose(THETA.log_prob(far)[0], np.log(0.6) - np.log(2 * np.pi) - 0.5 * ((1e8 - 1) ** 2 + (-1e8 - 1) ** 2), rtol=1e-12)

@pytest.mark.parametrize("weights, message", [([0.5, 0.6], "weights sums to 1.1, expected 1"), ([0.5, 0.5, 0], "shape"), ([-0.5, 1.5], "lie in"), ([np.nan, 1], "finite"), ("ab", "real numbers"), ([[0.5, 0.5]], "shape")])
def test_bad_mixture_weights(weights, message):
    with pytest.raises(ValueError, match=message): Mixture(weights, THETA.components)

@pytest.mark.parametrize("weights, message", [([1.0], "shape"), (np.full(40, -1.0), r"weights\[0\] is -1"), (np.full(40, np.nan), "finite"), (np.zeros(40), "all be zero"), (["a"] * 40, "real numbers")])
def test_bad_observation_weights(weights, message):
    with pytest.raises(ValueError, match=message): THETA.prepare(X, weights)
    with pytest.raises(ValueError, match=message): GMM.start(X, 2, weights=weights)

def test_weights_come_once():
    with pytest.raises(ValueError, match="prepared Data already"): THETA.prepare(THETA.prepare(X), np.ones(40))

BAD_GAUSSIAN = [
    (dict(covs=[[[1, 2], [2, 1]], np.eye(2)]), r"covs\[0\] must be positive definite, but its smallest eigenvalue is -1"),
    (dict(covs=[[[1, 0.5], [0, 1]], np.eye(2)]), "symmetric"),
    (dict(covs=np.zeros((2, 2, 2))), "positive definite"), (dict(covs=np.ones((2, 2))), r"covs must have shape \(2, 2, 2\)"),
    (dict(covs=np.ones((2, 2, 2)) * np.nan), "finite"), (dict(covariance="diag", covs=[[1, 1], [1, -1]]), "positive variances"),
    (dict(covariance="spherical", covs=[1, 0]), "positive variances"), (dict(covariance="round"), "covariance must be one of full, tied"),
    (dict(means=np.zeros((2, 2, 2))), "means must have shape"), (dict(means=[[0, np.inf], [1, 1]]), "means must be finite"), (dict(means=[["a", 1], [1, 1]]), "means must be real"),
    (dict(covariance="tied", covs=[[1, 2], [2, 1]]), "covs must be positive definite"),
]

@pytest.mark.parametrize("change, message", BAD_GAUSSIAN)
def test_bad_gaussian(change, message):
    with pytest.raises(ValueError, match=message): Gaussian(**dict(means=[[0.0, 0], [1, 1]], covs=np.stack([np.eye(2)] * 2)) | change)

def test_bad_counts():
    with pytest.raises(ValueError, match=r"x\[1, 0\] is -1"): Mixture([1.0], Poisson([2.0])).log_prob([1, -1])
    with pytest.raises(ValueError, match=r"is 1.5"): Mixture.start([1, 1.5, 2], 1, Poisson)
    with pytest.raises(ValueError, match="0 and 1"): Mixture([1.0], Bernoulli([[0.5]])).log_prob([2])
    with pytest.raises(ValueError, match="symbols 0 to 2 like the model, but x\\[1, 0\\] is 3"): Mixture([1.0], Categorical([[0.2, 0.3, 0.5]])).log_prob([0, 3])
    with pytest.raises(ValueError, match="symbols"): Mixture.start([0, -1], 1, Categorical)
    with pytest.raises(ValueError, match="row 1 sums to 0.9"): Categorical([[0.5, 0.5], [0.5, 0.4]])
    with pytest.raises(ValueError, match="rates must not be negative"): Poisson([-1.0])
    with pytest.raises(ValueError, match="lie in"): Bernoulli([[1.5]])

def test_impossible_is_minus_infinity_never_nan():
    theta = Mixture([0.5, 0.5], Categorical([[0.5, 0.5, 0], [1.0, 0, 0]]))
    assert theta.log_prob([2])[0] == -np.inf and theta.log_likelihood([0, 2]) == -np.inf
    np.testing.assert_array_equal(theta.resp([1])[0], [1, 0])
    with pytest.raises(ValueError, match="probability zero under the model: at row 2"): em(theta, [0, 1, 2])
    run = em(theta, [0, 0, 1, 0, 1], max_iter=5) # zeros stay zero
    assert run.theta.components.probs[1, 1] == 0 and np.isfinite(run.bounds).all()
    zero = Mixture([0.0, 1.0], Poisson([0.0, 3.0]))
    assert np.isfinite(zero.log_likelihood([0, 4])) and zero.resp([0])[0, 0] == 0
    assert Mixture([1.0], Poisson([0.0])).log_prob([3])[0] == -np.inf and Mixture([1.0], Bernoulli([[1.0]])).log_prob([0])[0] == -np.inf

def test_an_empty_component_says_so():
    start = GMM([0.5, 0.5], [[0.0, 0], [1e4, 1e4]], np.stack([np.eye(2)] * 2))
    with pytest.raises(Degenerate, match="component 1 is empty.*prior") as e: em(start, X)
    assert e.value.state.t == 0 and "last good state" in e.value.__notes__[0]

def test_data_of_another_family_is_checked_again():
    gaussian = THETA.prepare(X)
    with pytest.raises(ValueError, match="counts"): Mixture([1.0], Poisson([[1.0, 1.0]])).log_prob(gaussian)
    assert THETA.prepare(gaussian) is gaussian
    tied = GMM([1.0], [[0.0, 0]], np.eye(2), "tied")
    np.testing.assert_allclose(tied.log_prob(gaussian), tied.log_prob(X))
    with pytest.raises(ValueError, match="columns"): GMM([1.0], [[0.0] * 3], np.eye(3)[None]).log_prob(gaussian)

@pytest.mark.parametrize("argument", [dict(stop="never"), dict(tol=-1), dict(tol=np.nan), dict(max_iter=-1)])
def test_bad_driver_arguments(argument):
    with pytest.raises(ValueError, match=next(iter(argument))): em(THETA, X, **argument)

def test_data_repr_and_sizes():
    data = as_data(datasets.faithful())
    assert len(data) == 272 and data.d == 2 and data.total == 272

@pytest.mark.parametrize("make, message", [
    (lambda: GammaPrior(-3.0, 1.0), "shape of GammaPrior must be positive, got -3"), (lambda: BetaPrior(1.0, 0.0), "b of BetaPrior"),
    (lambda: DirichletPrior([1.0, -1.0]), "alpha of DirichletPrior"), (lambda: NormalInverseWishart([0.0], -1.0, 1.0, 3.0), "kappa of NormalInverseWishart must not be negative"),
    (lambda: NormalInverseWishart([0.0], 1.0, 1.0, -1.0), "df of NormalInverseWishart must be positive")])
def test_bad_priors(make, message):
    with pytest.raises(ValueError, match=message): make()

def test_a_posterior_without_a_mode_says_so():
    count = lambda n, total, kind=CountStats: kind(np.array([[n]]), np.array([[total]]), 0.0)
    with pytest.raises(Degenerate, match="a - 1 . count must not be negative"): Bernoulli([[0.5]]).maximize(count(0.5, 0.2), BetaPrior(0.3, 0.3)) # else a minimum
    with pytest.raises(Degenerate, match="component 0 is empty"): Bernoulli([[0.5]]).maximize(count(0.0, 0.0))
    with pytest.raises(Degenerate, match="use shape >= 1"): Poisson([1.0]).maximize(count(1.0, 0.0, PoissonStats), GammaPrior(0.5, 1.0))
