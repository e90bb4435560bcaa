"""Executable notes on Expectation-Maximization: one driver, models that are their parameters, bounds in nats."""
__version__ = "0.1.0"

from em_notes.em import BoundFell, EMResult, EMState, Stats, argmax, check_model, em, em_init, em_step, exact, mode, replace, stepwise
from em_notes.families import Bernoulli, BetaPrior, Categorical, DirichletPrior, GammaPrior, Poisson
from em_notes.gaussian import Degenerate, Gaussian, NormalInverseWishart
from em_notes.hmm import HMM
from em_notes.mixture import GMM, Mixture, MixturePrior

__all__ = ["BoundFell", "EMResult", "EMState", "Stats", "argmax", "check_model", "em", "em_init", "em_step", "exact", "mode", "replace", "stepwise",
           "Bernoulli", "BetaPrior", "Categorical", "DirichletPrior", "GammaPrior", "Poisson", "Degenerate", "Gaussian", "NormalInverseWishart", "GMM", "HMM", "Mixture", "MixturePrior"]
