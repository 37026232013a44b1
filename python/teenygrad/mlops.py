"""teenygrad's primitive Functions. Tensor's methods call the C library's own; these are for scripts that apply,
subclass or read them. Each computes with LazyBuffers, forward beside backward."""
import math

from teenygrad.helpers import argsort
from teenygrad.tensor import Function


class Contiguous(Function):
    def forward(self, x):
        return x.contiguous()

    def backward(self, grad):
        return grad


class ContiguousBackward(Function):
    def forward(self, x):
        return x

    def backward(self, grad):
        return grad.contiguous()


class Cast(Function):
    def forward(self, x, dtype, bitcast=False):
        self.input_dtype, self.bitcast = x.dtype, bitcast
        return x.bitcast(dtype) if bitcast else x.cast(dtype)

    def backward(self, grad):
        return grad.bitcast(self.input_dtype) if self.bitcast else grad.cast(self.input_dtype)


class Zero(Function):
    def forward(self, x):
        return x.const(0)

    def backward(self, grad):
        return grad.const(0)


class Neg(Function):
    def forward(self, x):
        return -x

    def backward(self, grad):
        return -grad


class Sin(Function):
    def forward(self, x):
        self.x = x
        return x.sin()

    def backward(self, grad):
        return (math.pi / 2 - self.x).sin() * grad


class Relu(Function):
    def forward(self, x):
        self.ret = x.maximum(0)
        return self.ret

    def backward(self, grad):
        return (self.ret > 0) * grad


class Log(Function):
    def forward(self, x):
        self.x = x
        return x.log()

    def backward(self, grad):
        return grad / self.x


class Exp(Function):
    def forward(self, x):
        self.ret = x.exp()
        return self.ret

    def backward(self, grad):
        return self.ret * grad


class Sqrt(Function):
    def forward(self, x):
        self.ret = x.sqrt()
        return self.ret

    def backward(self, grad):
        return grad / (self.ret * 2)


class Sigmoid(Function):
    def forward(self, x):
        self.ret = x.sigmoid()
        return self.ret

    def backward(self, grad):
        return self.ret * (1 - self.ret) * grad


def _reduced(shape, new_shape):
    return tuple(i for i, (a, b) in enumerate(zip(shape, new_shape)) if a != b)


class Sum(Function):
    def forward(self, x, new_shape):
        self.input_shape = x.shape
        axes = _reduced(x.shape, new_shape)
        return x.sum(axes, keepdim=True) if axes else x

    def backward(self, grad):
        return grad.expand(self.input_shape)


class Max(Function):
    def forward(self, x, new_shape):
        axes = _reduced(x.shape, new_shape)
        self.x, self.ret = x, x.max(axes, keepdim=True) if axes else x
        return self.ret

    def backward(self, grad):
        chosen = (self.x >= self.ret).cast(self.x.dtype)
        axes = _reduced(self.x.shape, self.ret.shape)
        ties = chosen.sum(axes, keepdim=True) if axes else chosen
        return chosen / ties * grad


class Less(Function):
    def forward(self, x, y):
        return x < y


class Add(Function):
    def forward(self, x, y):
        return x + y

    def backward(self, grad):
        return grad if self.needs_input_grad[0] else None, grad if self.needs_input_grad[1] else None


class Sub(Function):
    def forward(self, x, y):
        return x - y

    def backward(self, grad):
        return grad if self.needs_input_grad[0] else None, -grad if self.needs_input_grad[1] else None


class Mul(Function):
    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y

    def backward(self, grad):
        return (self.y * grad if self.needs_input_grad[0] else None,
                self.x * grad if self.needs_input_grad[1] else None)


class Div(Function):
    def forward(self, x, y):
        self.x, self.y = x, y
        return x / y

    def backward(self, grad):
        return (grad / self.y if self.needs_input_grad[0] else None,
                -grad * self.x / (self.y * self.y) if self.needs_input_grad[1] else None)


class Where(Function):
    def forward(self, x, y, z):
        self.x = x
        return x.where(y, z)

    def backward(self, grad):
        return (None, self.x.where(grad, grad.const(0)) if self.needs_input_grad[1] else None,
                self.x.where(grad.const(0), grad) if self.needs_input_grad[2] else None)


class Expand(Function):
    def forward(self, x, shape):
        self.input_shape = x.shape
        return x.expand(shape)

    def backward(self, grad):
        axes = _reduced(grad.shape, self.input_shape)
        return grad.sum(axes, keepdim=True) if axes else grad


class Reshape(Function):
    def forward(self, x, shape):
        self.input_shape = x.shape
        return x.reshape(shape)

    def backward(self, grad):
        return grad.reshape(self.input_shape)


class Permute(Function):
    def forward(self, x, order):
        self.input_order = order
        return x.permute(order)

    def backward(self, grad):
        return grad.permute(argsort(tuple(self.input_order)))


class Pad(Function):
    def forward(self, x, arg):
        self.narg = tuple((p[0], s + p[0]) for s, p in zip(x.shape, arg))
        return x.pad(arg)

    def backward(self, grad):
        return grad.shrink(self.narg)


class Shrink(Function):
    def forward(self, x, arg):
        self.narg = tuple((p[0], s - p[1]) for s, p in zip(x.shape, arg))
        return x.shrink(arg)

    def backward(self, grad):
        return grad.pad(self.narg)


class Flip(Function):
    def forward(self, x, axis):
        self.axis = tuple(axis)
        return x.flip(self.axis)

    def backward(self, grad):
        return grad.flip(self.axis)
