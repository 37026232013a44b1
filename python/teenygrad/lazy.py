"""LazyBuffer: a tensor's value without its gradient, which is what Functions compute with.

It has the primitive operations under teenygrad's names (e, r, const, stride ...); everything else it passes on to
Tensor, so that x.exp() or x * y work too.
"""
from teenygrad import _teenygrad
from teenygrad.ops import BinaryOps, LoadOps, ReduceOps, TernaryOps, UnaryOps

Tensor = _teenygrad.Tensor

_UNARY = {
    UnaryOps.NOOP: lambda x, arg: x, UnaryOps.EXP2: lambda x, arg: x.exp2(), UnaryOps.LOG2: lambda x, arg: x.log2(),
    UnaryOps.SIN: lambda x, arg: x.sin(), UnaryOps.SQRT: lambda x, arg: x.sqrt(),
    UnaryOps.RECIP: lambda x, arg: x.reciprocal(), UnaryOps.NEG: lambda x, arg: x.neg(),
    UnaryOps.CAST: lambda x, arg: x.bitcast(arg[0]) if arg[1] else x.cast(arg[0])}
_BINARY = {
    BinaryOps.ADD: Tensor.add, BinaryOps.SUB: Tensor.sub, BinaryOps.MUL: Tensor.mul, BinaryOps.DIV: Tensor.div,
    BinaryOps.MAX: Tensor.maximum, BinaryOps.CMPLT: Tensor.lt, BinaryOps.CMPEQ: Tensor.eq}


class Realized:
    """The memory of a realized LazyBuffer."""
    __slots__ = ("_tensor",)

    def __init__(self, tensor):
        self._tensor = tensor

    size = property(lambda self: self._tensor.numel())
    dtype = property(lambda self: self._tensor.dtype)

    def toCPU(self):
        return self._tensor.numpy()

    def __repr__(self):
        return f"<buffer of {self.size} {self.dtype}>"


class LazyBuffer:
    __slots__ = ("_tensor",)

    def __init__(self, buf):
        """buf: a Tensor, or an array, as in teenygrad's first version."""
        self._tensor = (buf if isinstance(buf, Tensor) else Tensor(buf)).detach()

    shape = property(lambda self: self._tensor.shape)
    dtype = property(lambda self: self._tensor.dtype)
    device = property(lambda self: self._tensor.device)
    _np = property(lambda self: self._tensor.numpy(), doc="The elements, under the name they have in teenygrad.")

    @property
    def realized(self):
        """The memory, or None while the value has not been computed."""
        return Realized(self._tensor) if self._tensor.is_realized else None

    @staticmethod
    def fromCPU(x):
        return LazyBuffer(Tensor(x))

    @staticmethod
    def loadop(op, shape, dtype, device=None, arg=None, src=None):
        """A new value: LoadOps.EMPTY, RAND or CONST."""
        shape = tuple(shape)
        if op == LoadOps.EMPTY:
            return LazyBuffer(Tensor.empty(shape, dtype=dtype, device=device))
        if op == LoadOps.RAND:
            return LazyBuffer(Tensor.rand(shape, dtype=dtype, device=device))
        if op == LoadOps.CONST:
            return LazyBuffer(Tensor.full(shape, arg, dtype=dtype, device=device))
        if op in (LoadOps.FROM, LoadOps.COPY, LoadOps.CONTIGUOUS):
            return LazyBuffer(src._tensor.to(device) if device else src._tensor)
        raise NotImplementedError(op)

    def toCPU(self):
        return self._tensor.numpy()

    def realize(self):
        self._tensor.realize()
        return self

    def const(self, value):
        """This shape and dtype, filled with a value."""
        return LazyBuffer(self._tensor.full_like(value))

    const_like = const

    def e(self, op, *srcs, arg=None):
        """An elementwise operation."""
        if op in _UNARY:
            return LazyBuffer(_UNARY[op](self._tensor, arg))
        others = [s._tensor for s in srcs]
        if op in _BINARY:
            return LazyBuffer(_BINARY[op](self._tensor, *others))
        if op == TernaryOps.WHERE:
            return LazyBuffer(self._tensor.where(*others))
        if op == TernaryOps.MULACC:
            return LazyBuffer(self._tensor * others[0] + others[1])
        raise NotImplementedError(op)

    def r(self, op, new_shape):
        """A reduction of the axes that have size 1 in new_shape."""
        axes = tuple(i for i, (a, b) in enumerate(zip(self.shape, new_shape)) if a != b)
        if not axes:
            return self
        f = {ReduceOps.SUM: Tensor.sum, ReduceOps.MAX: Tensor.max}[op]
        return LazyBuffer(f(self._tensor, axes, keepdim=True).cast(self.dtype))

    def stride(self, arg):
        """Every arg[i]-th element along axis i; negative: from the back."""
        return LazyBuffer(self._tensor[tuple(slice(None, None, s) for s in arg)])

    def __reduce__(self):
        return LazyBuffer, (self._tensor,)

    def __getattr__(self, name):
        if name.startswith("__"):  # protocols look on the type, and copy and pickle must not find Tensor's
            raise AttributeError(name)
        value = getattr(self._tensor, name)
        return _lazy_method(value) if callable(value) else _as_lazy(value)

    def __repr__(self):
        state = "realized" if self._tensor.is_realized else "lazy"
        return f"<LB {self.shape} {self.dtype!r} {state}>"


def _as_lazy(value):
    return LazyBuffer(value) if isinstance(value, Tensor) else value


def _plain(value):
    return value._tensor if isinstance(value, LazyBuffer) else value


def _lazy_method(method):
    def call(*args, **kwargs):
        return _as_lazy(method(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()}))
    return call


def _operator(name):
    method = getattr(Tensor, name)

    def call(self, *args):
        result = method(self._tensor, *map(_plain, args))
        return result if result is NotImplemented else _as_lazy(result)
    call.__name__ = name
    return call


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    setattr(LazyBuffer, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(LazyBuffer, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("lt", "le", "gt", "ge", "neg", "abs", "getitem"):
    setattr(LazyBuffer, f"__{_name}__", _operator(f"__{_name}__"))
