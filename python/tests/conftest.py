"""What all tests share: the same seed, modes as at the start, and comparison with PyTorch."""
import os
import signal

os.environ.setdefault("TG_THREADS", "2")
# A job that a shell started in the background ignores Ctrl-C, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from teenygrad import Tensor, dtypes

settings.register_profile("tests", max_examples=25, deadline=None, derandomize=True,
                          suppress_health_check=list(HealthCheck))
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def fresh():
    np.random.seed(0)
    torch.manual_seed(0)
    Tensor.manual_seed(0)
    Tensor.training, Tensor.no_grad, Tensor.default_type = False, False, dtypes.float32
    yield
    Tensor.training, Tensor.no_grad, Tensor.default_type = False, False, dtypes.float32
