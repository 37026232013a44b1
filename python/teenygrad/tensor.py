"""Tensor (the C extension's type, completed here by what is easier said in Python) and Function."""
from contextlib import ContextDecorator

from teenygrad import _teenygrad, helpers  # noqa: F401
from teenygrad._teenygrad import Tensor
from teenygrad.helpers import dtypes, getenv
from teenygrad.lazy import LazyBuffer
from teenygrad.ops import Device


class Function:
    """An operation of your own: forward(self, *values, **named) and backward(self, grad), written with LazyBuffers.

    MyFunction.apply(tensor, ...) runs forward and records it; backward gives a gradient per input (None: none), or one
    value where there is one input. self keeps what backward needs.
    """

    def __init__(self, device, *tensors):
        self.device = device
        self.needs_input_grad = [t.requires_grad for t in tensors]
        self.requires_grad = True if any(self.needs_input_grad) else None if None in self.needs_input_grad else False
        self._count = len(tensors)

    def forward(self, *args, **kwargs):
        raise NotImplementedError(f"forward not implemented for {type(self)}")

    def backward(self, *args, **kwargs):
        raise RuntimeError(f"backward not implemented for {type(self)}")

    @classmethod
    def apply(cls, *x, **kwargs):
        """The result of forward, with a record for the gradient."""
        ctx = cls(x[0].device if x else Device.DEFAULT, *x)

        def forward(inputs):
            return _value(ctx.forward(*map(LazyBuffer, inputs), **kwargs))

        # no reference to x: the record keeps the inputs
        return _teenygrad.apply(cls.__name__, ctx, forward, _backward_of(ctx), x)


def _value(result):
    return result._tensor if isinstance(result, LazyBuffer) else result


def _backward_of(ctx):
    def backward(grad):
        grads = ctx.backward(LazyBuffer(grad))
        if not isinstance(grads, (tuple, list)):
            grads = (grads,)
        return tuple(map(_value, grads))
    return backward


class train(ContextDecorator):
    """with Tensor.train(): training mode inside; Tensor.train(False): evaluation mode."""

    def __init__(self, val=True):
        self.val = val

    def __enter__(self):
        self.before, Tensor.training = Tensor.training, self.val
        return self

    def __exit__(self, *exception):
        Tensor.training = self.before


def _get_lazydata(self):
    """The value as a LazyBuffer: lazydata.realized is None until it is computed."""
    return LazyBuffer(self)


def _set_lazydata(self, value):
    self.assign(_value(value).detach())


def _to_method(device, in_place):
    if in_place:
        return lambda self: self.to_(device)
    return lambda self: self.to(device)


Tensor.train = train
Tensor.lazydata = property(_get_lazydata, _set_lazydata)
Tensor.wino = int(getenv("WINO", "0"))
Tensor.__array_priority__ = 1000  # numpy's operators leave the work to Tensor's
for _device in Device._buffers:
    setattr(Tensor, _device.lower(), _to_method(_device, False))
    setattr(Tensor, _device.lower() + "_", _to_method(_device, True))


from teenygrad import mlops  # noqa: E402,F401  (it needs Function)
