"""Executable notes on Expectation-Maximization: one driver, models that are their parameters, bounds in nats."""
__version__ = "0.2.0"
