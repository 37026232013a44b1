"""teenygrad.nn: the optimizers (teenygrad.nn.optim)."""
from teenygrad.nn import optim  # noqa: F401
