"""teenygrad: tensors, autograd and training, in C behind teenygrad's Python interface."""
from teenygrad._teenygrad import ArgumentError, Error, from_dlpack, version as __version__
from teenygrad import helpers, ops, lazy  # noqa: F401
from teenygrad.tensor import Function, Tensor
from teenygrad.helpers import dtypes
from teenygrad.ops import Device
from teenygrad import mlops, nn

__all__ = ["ArgumentError", "Device", "Error", "Function", "Tensor", "dtypes", "from_dlpack", "helpers", "mlops",
           "nn", "ops", "__version__"]
