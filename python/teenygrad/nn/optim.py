"""Optimizers. SGD and LAMB (Adam and AdamW are LAMB without the trust ratio) are the C library's; Optimizer is the
base for those written in Python."""
from itertools import count, takewhile

from teenygrad import _teenygrad
from teenygrad.helpers import dedup, getenv
from teenygrad.tensor import Tensor


class Optimizer:
    """The parameters, each once; lr, a tensor of one element unless CONST_LR is set."""

    def __init__(self, params, lr):
        params = list(params)
        for x in params:
            if x.requires_grad is None:
                x.requires_grad = True
        self.params = dedup([x for x in params if x.requires_grad])
        assert len(self.params) != 0, "optimizer must have at least one param"
        self.device = self.params[0].device
        self.buffers = dedup([x for x in params if not x.requires_grad])
        self.lr = lr if getenv("CONST_LR") else Tensor([lr], requires_grad=False, device=self.device)

    def zero_grad(self):
        """Drops the gradients."""
        for param in self.params:
            param.grad = None

    def realize(self, extra=None):
        """Computes the parameters, and what else is given, in one schedule."""
        Tensor.corealize((list(extra) if extra is not None else []) + self.params + self.buffers)

    def step(self):
        """Updates the parameters from their gradients."""
        raise NotImplementedError


_NUMBERS = ["momentum", "wd", "nesterov", "b1", "b2", "eps"]


class _Native(Optimizer):
    """An optimizer of the C library. Its rate follows self.lr, whatever that is set to, and so do its other numbers."""

    def _start(self, kind, lr, momentum=0.0, wd=0.0, nesterov=False, b1=0.9, b2=0.999, eps=1e-8):
        self._made = (kind, lr, momentum, wd, nesterov, b1, b2, eps)
        self._native = _teenygrad.Optimizer(kind, self.params, lr, momentum, wd, nesterov, b1, b2, eps)
        self._native.follow(self.lr, False)

    def _again(self, made, kept):
        """A C optimizer with other numbers and the state of before."""
        native = _teenygrad.Optimizer(made[0], self.params, *made[1:])
        native.follow(self.lr, True)
        for i, t in enumerate(kept, len(self.params)):
            mine = native.state(i)
            if mine is not None:  # there is no momentum any more
                mine.assign(t)
        return native

    def _kept(self):
        kept = takewhile(lambda t: t is not None, map(self._native.state, count(len(self.params))))
        return [t.detach() for t in kept]

    def __setattr__(self, name, value):
        if name in _NUMBERS and "_native" in self.__dict__:
            made, at = list(self._made), _NUMBERS.index(name) + 2
            made[at] = type(made[at])(value)
            self._native, self._made = self._again(made, self._kept()), tuple(made)
        super().__setattr__(name, value)

    def __getstate__(self):
        """For pickle and copy: what Python sees, and the state that the C optimizer keeps."""
        return {k: v for k, v in self.__dict__.items() if k != "_native"}, self._kept()

    def __setstate__(self, state):
        named, kept = state
        self.__dict__.update(named)
        self._native = self._again(self._made, kept)

    def _state(self, group):
        n = len(self.params)
        return [self._native.state(group * n + i) for i in range(n)]

    def step(self):
        for param in self.params:
            assert param.grad is not None, "a parameter has no gradient; call backward() first"
        self._native.follow(self.lr, True)
        self._native.step()


class SGD(_Native):
    """p -= lr g, with momentum, weight decay and Nesterov's momentum."""

    def __init__(self, params, lr=0.001, momentum=0, weight_decay=0.0, nesterov=False):
        super().__init__(params, lr)
        self.momentum, self.wd, self.nesterov = momentum, weight_decay, nesterov
        self._start("sgd", lr, float(momentum), float(weight_decay), bool(nesterov))

    @property
    def b(self):
        """The momentum of each parameter."""
        return self._state(1) if self.momentum else []


def AdamW(params, lr=0.001, b1=0.9, b2=0.999, eps=1e-8, wd=0.01):
    """Loshchilov and Hutter 2017."""
    return LAMB(params, lr, b1, b2, eps, wd, adam=True)


def Adam(params, lr=0.001, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma and Ba 2014."""
    return LAMB(params, lr, b1, b2, eps, 0.0, adam=True)


class LAMB(_Native):
    """You et al. 2019; adam=True leaves out the trust ratio."""

    def __init__(self, params, lr=0.001, b1=0.9, b2=0.999, eps=1e-6, wd=0.0, adam=False):
        super().__init__(params, lr)
        self.b1, self.b2, self.eps, self.wd, self.adam = b1, b2, eps, wd, adam
        self._start("adamw" if adam else "lamb", lr, wd=float(wd), b1=float(b1), b2=float(b2), eps=float(eps))

    m = property(lambda self: self._state(1), doc="The mean of the gradients.")
    v = property(lambda self: self._state(2), doc="The mean of their squares.")
    t = property(lambda self: self._native.state(3 * len(self.params)), doc="The number of steps.")
