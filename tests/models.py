"""Random models and data of every family, for the tests that try laws and kernels on all of them."""
import numpy as np
from em_notes import Bernoulli, BetaPrior, Categorical, DirichletPrior, GammaPrior, Gaussian, Mixture, MixturePrior, NormalInverseWishart, Poisson
from em_notes.gaussian import COVARIANCES, cov_shape

FAMILIES = [*COVARIANCES, "poisson", "bernoulli", "categorical"]

def random_covs(covariance: str, k: int, d: int, rng) -> np.ndarray:
    "Covariances of the type's shape, well conditioned."
    shape = cov_shape(covariance, k, d)
    if COVARIANCES[covariance] != "full": return np.exp(0.5 * rng.standard_normal(shape))
    a = rng.standard_normal((*shape[:-1], d)) / np.sqrt(d)
    return a @ np.swapaxes(a, -1, -2) + np.eye(d)

def random_mixture(family: str, k: int, d: int, seed: int, apart: float = 2.0) -> Mixture:
    "A mixture of `family` with interior parameters; `apart` spreads Gaussian means."
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(k, 5.0))
    if family == "poisson": parts = Poisson(rng.gamma(4.0, size=(k, d)))
    elif family == "bernoulli": parts = Bernoulli(rng.uniform(0.1, 0.9, (k, d)))
    elif family == "categorical": parts = Categorical(rng.dirichlet(np.full(d + 1, 3.0), k))
    else: parts = Gaussian(apart * rng.standard_normal((k, d)), random_covs(family, k, d, rng), family)
    return Mixture(weights, parts)

def interior_prior(family: str, d: int) -> MixturePrior:
    "A proper prior for each family, with its mode inside."
    if family in COVARIANCES:
        scatter = {"full": np.eye(d), "diag": np.ones(d), "spherical": 1.5}[COVARIANCES[family]]
        return MixturePrior(DirichletPrior(2.0), NormalInverseWishart(np.full(d, 0.3), 0.7, scatter, d + 2.0))
    return MixturePrior(DirichletPrior(2.0), {"poisson": GammaPrior(2.0, 0.5), "bernoulli": BetaPrior(2.0, 3.0), "categorical": DirichletPrior(1.5)}[family])
