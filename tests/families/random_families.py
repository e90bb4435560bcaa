"""Random families of every kind, with rows they could have made."""
import numpy as np
from scipy.special import logsumexp

from em_notes.families.base import form, prepared
from em_notes.families.counting import Bernoulli, Categorical, Poisson
from em_notes.families.covariances import TYPES
from em_notes.families.exponential import Exponential
from em_notes.families.gaussian import Gaussian
from em_notes.families.priors import BetaPrior, DirichletPrior, GammaPrior, NormalInverseWishart
from em_notes.families.product import Product, ProductPrior

GAUSSIANS = list(TYPES)
KINDS = [*GAUSSIANS, "poisson", "bernoulli", "categorical", "exponential", "product"]


def random_family(kind, k, rng, d=3, narrow=1.0, apart=2.0):
    "A family with interior parameters."
    if kind in TYPES:
        t = TYPES[kind]
        root = t.from_vector(0.3 * rng.standard_normal(t.n_parameters(k, d)), np.ones(t.shape(k, d))) * narrow
        return Gaussian(apart * rng.standard_normal((k, d)), t.covs_of(root), kind)
    if kind == "poisson": return Poisson(rng.gamma(4.0, size=(k, d)))
    if kind == "bernoulli": return Bernoulli(rng.uniform(0.1, 0.9, (k, d)))
    if kind == "categorical": return Categorical(rng.dirichlet(np.full(5, 3.0), k))
    if kind == "exponential": return Exponential(rng.gamma(4.0, size=(k, d)))
    return Product(random_family("full", k, rng, 2), random_family("poisson", k, rng, 1), random_family("categorical", k, rng), columns=[[0, 2], [1], [3]])


def interior_prior(kind):
    "A proper prior with its mode inside."
    if kind in TYPES: return NormalInverseWishart(0.3, 0.7, 1.5, 6.0)
    if kind == "product": return ProductPrior((NormalInverseWishart(0.3, 0.7, 1.5, 6.0), GammaPrior(2.0, 0.5), DirichletPrior(1.5)))
    return {"poisson": GammaPrior(2.0, 0.5), "exponential": GammaPrior(2.0, 0.5), "bernoulli": BetaPrior(2.0, 3.0), "categorical": DirichletPrior(1.5)}[kind]


def responsibilities(l):
    "exp(l), rows divided by their sums."
    return np.exp(l - logsumexp(l, axis=1, keepdims=True))


def climb(family, x, steps, prior=None, weights=None, missing="error"):
    "EM of a mixture with free weights: the family, its weights, the bounds, and the largest fall as a share of what rounding explains."
    data, log_weights = prepared(family, x, weights, missing), np.full(family.k, -np.log(family.k))
    bounds, worst, last = [], -np.inf, 0.0
    for _ in range(steps):
        f = form(family, data, log_weights)
        counts, stats, bound = f.em_pass()
        if prior is not None: bound += family.log_prior(prior)
        slack = data.total * f.rounding + 16 * np.finfo(float).eps * (1 + abs(bound) + len(data))
        if bounds: worst = max(worst, (bounds[-1] - bound) / (slack + last))
        bounds.append(bound)
        last, log_weights = slack, np.log(counts / counts.sum())
        family = family.maximize(stats) if prior is None else family.maximize(stats, prior)
    return family, log_weights, np.array(bounds), worst
