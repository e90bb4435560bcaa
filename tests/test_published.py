"""Published results that the library must reproduce, each with its source; values recomputed elsewhere to the tolerances used."""
import numpy as np
import pytest
from em_notes import GMM, HMM, Bernoulli, Gaussian, Mixture, Poisson, em
from em_notes.data.datasets import deaths, earthquakes, faithful, iris, murray


def test_death_notices():
    "Hasselblad 1969; Varadhan and Roland 2008."
    run = em(Mixture([0.3, 0.7], Poisson([1.0, 2.5])), deaths())
    assert abs(run.theta.weights[0] - 0.359885397) < 1e-3 and abs(run.bound + 1989.9458598829642) < 1e-5  # the default tolerance
    exact = em(run, deaths(), tol=1e-12, max_iter=100_000)
    assert np.allclose(exact.theta.components.rates.ravel(), [1.2560951012, 2.6634043566], atol=1e-5)
    assert abs(exact.theta.weights[0] - 0.359885397) < 1e-4


@pytest.mark.parametrize("k, value, weights, rates", [
    (1, 391.91892816549495, [1.0], None), (2, 360.3690436105308, [0.67572566, 0.32427434], [15.77710808, 26.83989479]),
    (3, 356.84893907080465, [0.27756667, 0.59277963, 0.1296537], [12.73607775, 19.78552096, 31.62980707])])
def test_earthquake_mixtures(k, value, weights, rates):
    "Zucchini and MacDonald 2009, table 1.2."
    run = em(Mixture.start(earthquakes(), k, Poisson, rng=0), earthquakes(), tol=1e-9, max_iter=50_000)
    order = run.theta.components.rates.ravel().argsort()
    assert abs(run.bound + value) < 1e-4 and np.allclose(run.theta.weights[order], weights, atol=1e-3)
    if rates: assert np.allclose(run.theta.components.rates.ravel()[order], rates, atol=1e-3)


def test_earthquake_chain_path():
    "Zucchini and MacDonald 2009, table 4.1."
    start = HMM([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], Poisson([10.0, 30.0]))
    run = em(start, earthquakes(), tol=0, max_iter=50)
    known = {0: 413.2754196229131, 1: 343.7602341119361, 2: 343.1361814166129, 30: 341.8787061777569, 50: 341.87870101185246}
    assert all(abs(run.bounds[t] + v) < 1e-8 for t, v in known.items())


@pytest.mark.parametrize("k, value, aic, bic", [(2, 342.3182667880585, 692.6365, 703.3278), (3, 329.46027626451024, 676.9206, 700.976)])
def test_earthquake_stationary_chains(k, value, aic, bic):
    "Zucchini and MacDonald 2009, chapters 3 and 6."
    run = em(HMM.start(earthquakes(), k, Poisson, stationary=True, rng=0), earthquakes(), tol=1e-9)
    assert abs(run.bound + value) < 1e-3
    assert run.theta.n_parameters == k * k
    assert abs(run.theta.aic(earthquakes()) - aic) < 3e-3 and abs(run.theta.bic(earthquakes()) - bic) < 3e-3


def test_waiting_times():
    "mixtools, Journal of Statistical Software 2009."
    run = em(Mixture([0.5, 0.5], Gaussian([55.0, 80.0], [[25.0]], "tied")), faithful()[:, 1], tol=1e-10)
    assert np.allclose(run.theta.weights, [0.36084956, 0.63915044], atol=1e-5) and abs(run.bound + 1034.0017603578647) < 1e-6


@pytest.mark.parametrize("k, covariance, value, bic, icl, free", [
    (3, "tied", -1126.31592783, -2314.29567838, -2358.38876266, 11), (2, "full", -1130.26396018, -2322.1917431, -2322.70468033, 11)])
def test_faithful_as_mclust_has_it(k, covariance, value, bic, icl, free):
    "mclust 6.0 at tolerance 1e-12; its BIC and ICL have the other sign."
    x = faithful()
    run = em(GMM.start(x, k, covariance, rng=0), x, tol=1e-10)
    assert abs(run.bound - value) < 1e-5 and run.theta.n_parameters == free
    assert abs(run.theta.bic(x) + bic) < 1e-4 and abs(run.theta.icl(x) + icl) < 1e-2


@pytest.mark.parametrize("name, covariance, value, bic", [
    ("EII", "tied_spherical", -401.802175789, -878.76388099), ("VII", "spherical", -384.314095061, -853.808990122), ("EEI", "tied_diag", -361.425522043, -813.04247938),
    ("EEE", "tied", -256.354043126, -632.96333331), ("VVV", "full", -180.185477131, -580.838907203)])
def test_iris_as_mclust_has_it(name, covariance, value, bic):
    x, _ = iris()
    run = em(GMM.start(x, 3, covariance, rng=0), x, tol=1e-9)
    assert abs(run.bound - value) < 1e-5 and abs(run.theta.bic(x) + bic) < 1e-3


def test_iris_diagonal_is_at_least_as_high():
    "mclust's VVI at three components is a local maximum; there is a higher one."
    x, _ = iris()
    assert em(GMM.start(x, 3, "diag", rng=0), x, tol=1e-9).bound > -307.177571598 - 1e-6


def test_iris_two_components():
    "BIC of mclust's VVV with two components, by the usual sign 574.018."
    x, _ = iris()
    run = em(GMM.start(x, 2, rng=0), x, tol=1e-9)
    assert abs(run.bound + 214.35470437) < 1e-5 and abs(run.theta.bic(x) - 574.018) < 1e-3


def murray_model(rho):
    v = 2.5
    return GMM([1.0], [[0.0, 0.0]], [[[v, rho * v], [rho * v, v]]], missing="nan")


def test_murray_stays_at_the_saddle_and_finds_both_modes():
    "Murray 1977: twelve pairs, eight of them with one entry missing."
    x = murray()
    saddle = em(murray_model(0.0), x, tol=0, max_iter=50)
    cov = saddle.theta.components.covs[0]
    assert np.allclose(saddle.theta.components.means, 0, atol=1e-9) and np.allclose(cov, 2.5 * np.eye(2), atol=1e-9)
    assert abs(saddle.bound + 30.033342386267996) < 1e-8
    for side in (0.1, -0.1):
        run = em(murray_model(side), x, tol=1e-12, max_iter=100_000)
        cov = run.theta.components.covs[0]
        assert abs(run.bound + 29.974286410465016) < 1e-7
        assert np.allclose(np.diag(cov), 8 / 3, atol=1e-4) and abs(cov[0, 1] / cov[0, 0] - np.sign(side) * 0.5) < 1e-4


def test_ice_cream_and_umbrella():
    "Jurafsky and Martin, appendix A; Russell and Norvig's model with the evidence of Wikipedia's page on forward-backward."
    from em_notes import Categorical
    ice = HMM([0.8, 0.2], [[0.6, 0.4], [0.5, 0.5]], Categorical([[0.2, 0.4, 0.4], [0.5, 0.4, 0.1]]))
    assert abs(ice.log_likelihood([2, 0, 2]) - np.log(0.028562)) < 1e-12
    path, best = ice.viterbi([2, 0, 2])
    assert list(path) == [0, 1, 0] and abs(best - np.log(0.0128)) < 1e-12
    rain = HMM([0.5, 0.5], [[0.7, 0.3], [0.3, 0.7]], Bernoulli([[0.9], [0.2]]))
    seen = np.array([1, 1, 0, 1, 1])
    post = rain.posterior(seen)
    assert np.allclose(post.filtered[:, 0], [0.81818182, 0.88335704, 0.19066794, 0.730794, 0.86733889], atol=1e-8)
    assert np.allclose(post.gamma[:, 0], [0.86733889, 0.82041905, 0.30748358, 0.82041905, 0.86733889], atol=1e-8)
    assert abs(rain.log_likelihood(seen) - np.log(0.0343037005)) < 1e-8
