"""Types of teenygrad.nn.optim."""
from typing import Any, Iterable, List, Optional

from teenygrad.tensor import Tensor


class Optimizer:
    params: List[Tensor]
    buffers: List[Tensor]
    device: str
    lr: Any  # a Tensor of one element, unless CONST_LR is set or a number is assigned
    def __init__(self, params: Iterable[Tensor], lr: float) -> None: ...
    def zero_grad(self) -> None: ...
    def realize(self, extra: Optional[Iterable[Tensor]] = ...) -> None: ...
    def step(self) -> None: ...


class SGD(Optimizer):
    momentum: float
    wd: float
    nesterov: bool
    @property
    def b(self) -> List[Tensor]: ...
    def __init__(self, params: Iterable[Tensor], lr: float = ..., momentum: float = ..., weight_decay: float = ...,
                 nesterov: bool = ...) -> None: ...


class LAMB(Optimizer):
    b1: float
    b2: float
    eps: float
    wd: float
    adam: bool
    @property
    def m(self) -> List[Tensor]: ...
    @property
    def v(self) -> List[Tensor]: ...
    @property
    def t(self) -> Tensor: ...
    def __init__(self, params: Iterable[Tensor], lr: float = ..., b1: float = ..., b2: float = ..., eps: float = ...,
                 wd: float = ..., adam: bool = ...) -> None: ...


def AdamW(params: Iterable[Tensor], lr: float = ..., b1: float = ..., b2: float = ..., eps: float = ...,
          wd: float = ...) -> LAMB: ...
def Adam(params: Iterable[Tensor], lr: float = ..., b1: float = ..., b2: float = ..., eps: float = ...) -> LAMB: ...
