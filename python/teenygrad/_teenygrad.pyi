"""Types of the C extension."""
from typing import Any, Dict

from teenygrad.tensor import Tensor as Tensor

version: str


class Error(RuntimeError, AssertionError, ValueError): ...
class ArgumentError(TypeError, RuntimeError, AssertionError): ...


def from_dlpack(x: Any) -> Tensor: ...
def counters() -> Dict[str, int]: ...
