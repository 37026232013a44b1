"""One line per operation: forward and gradient against PyTorch, on the same numpy arrays."""
import numpy as np
import torch

from teenygrad import Tensor


def close(ours, theirs, atol=1e-5, rtol=1e-4):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"shape {ours.shape} is not {theirs.shape}"
    np.testing.assert_allclose(ours, theirs, atol=atol, rtol=rtol)


def arrays(shapes, low=-1.5, high=1.5, dtype=np.float32):
    return [np.random.uniform(low, high, size=shape).astype(dtype) for shape in shapes]


def compare(f, *inputs, torch_f=None, grad=True, atol=1e-5, rtol=1e-4):
    """f(*tensors) beside torch_f(*tensors); the loss is ((out + 1) ** 2).mean()."""
    ours = [Tensor(x, requires_grad=grad) for x in inputs]
    theirs = [torch.tensor(x, requires_grad=grad) for x in inputs]
    out, wanted = f(*ours), (torch_f or f)(*theirs)
    close(out.numpy(), wanted.detach().numpy(), atol, rtol)
    if not grad or out.numel() == 0:
        return
    (out + 1).square().mean().backward()
    (wanted + 1).square().mean().backward()
    for x, y in zip(ours, theirs):
        if y.grad is not None:
            close(x.grad.numpy(), y.grad.numpy(), atol, rtol)
