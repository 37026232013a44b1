"""teenygrad: tensors, autograd and training, in C behind teenygrad's Python interface."""
import atexit
import os
import time

from teenygrad import _teenygrad
from teenygrad._teenygrad import ArgumentError, Error, from_dlpack, version as __version__
from teenygrad import helpers, ops, lazy  # noqa: F401
from teenygrad.tensor import Function, Tensor
from teenygrad.helpers import dtypes
from teenygrad.ops import Device
from teenygrad import mlops, nn


def _before_fork():
    """Waits until no thread runs kernels, and stops the library's threads: the child will have none of them."""
    while not _teenygrad.fork_prepare():
        time.sleep(0.0005)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_teenygrad.fork_done, after_in_child=_teenygrad.fork_done)

atexit.register(_teenygrad.finish)

__all__ = ["ArgumentError", "Device", "Error", "Function", "Tensor", "dtypes", "from_dlpack", "helpers", "mlops",
           "nn", "ops", "__version__"]
