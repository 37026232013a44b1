"""Writes tests/optim_values.inc: what PyTorch's optimizers make of two small
networks. Needs torch and numpy:  python tests/oracle_optim.py

The networks: tiny, log_softmax(relu(x . W)) * m + m, summed; teeny, (x * W)
summed. Each row of the table is one case: the optimizer, its options, the
number of steps, the tolerance for float32, and the parameters x [1, 4] and
W [4, 4] afterwards, computed in float32 and in float64.
"""
import itertools
import os

import numpy as np
import torch

rng = np.random.RandomState(1337)
X, W, M = (rng.randn(*shape).astype(np.float32) for shape in ((1, 4), (4, 4), (1, 4)))


def train(case, dtype):
    x, w = (torch.tensor(a, dtype=dtype, requires_grad=True) for a in (X, W))
    m = torch.tensor(M, dtype=dtype)
    options = {"lr": case["lr"]}
    for name in ("momentum", "nesterov"):
        if case["kind"] == "SGD":
            options[name] = case[name]
    if case["weight_decay"] is not None:
        options["weight_decay"] = case["weight_decay"]
    optimizer = getattr(torch.optim, case["kind"])([x, w], **options)
    for _ in range(case["steps"]):
        if case["teeny"]:
            out = (x * w).sum()
        else:
            out = (torch.log_softmax(torch.relu(x @ w), 1) * m + m).sum()
        optimizer.zero_grad()
        out.backward()
        optimizer.step()
    return np.concatenate([p.detach().numpy().ravel() for p in (x, w)])


def cases():
    high_rates = (1.1, 9, 10)
    for lr, momentum, nesterov, decay, steps, teeny in itertools.product(
            (0.001, 0.1) + high_rates, (0, 0.9), (False, True), (0, 0.1), (1, 2, 10), (False, True)):
        if nesterov and not momentum:
            continue
        if lr * decay == 1 and (nesterov or not momentum) and steps > 1:
            continue  # 1 - lr * decay is 0 or a rounding error, and what follows is noise
        high = lr in high_rates
        yield dict(kind="SGD", lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay,
                   steps=steps, teeny=teeny, atol=1e-5 if momentum else 1e-6, rtol=3e-4 if high else 1e-6)
    for lr, steps, teeny in itertools.product((0.001, 0.1) + high_rates, (1, 2, 10), (False, True)):
        high = lr in high_rates
        for kind, decay in (("Adam", None), ("AdamW", None), ("AdamW", 0), ("AdamW", 0.1)):
            yield dict(kind=kind, lr=lr, momentum=0, nesterov=False, weight_decay=decay, steps=steps,
                       teeny=teeny, atol=5e-4 if high else 1e-5, rtol=2e-3 if high else 0)


def numbers(values, form):
    return "{" + ", ".join(form % v for v in values) + "}"


def main():
    lines = ["/* Made by tests/oracle_optim.py with PyTorch %s. Do not edit. */" % torch.__version__]
    for name, values in (("init_x", X), ("init_w", W), ("init_m", M)):
        lines.append("static const float %s[] = %s;" % (name, numbers(values.ravel(), "%.9gf")))
    lines.append("static const optim_case optim_cases[] = {")
    for case in cases():
        decay = -1 if case["weight_decay"] is None else case["weight_decay"]
        head = "%s, %d, %d, %g, %g, %g, %d, %g, %g" % (
            case["kind"].upper(), case["steps"], case["teeny"], case["lr"], case["momentum"], decay,
            case["nesterov"], case["atol"], case["rtol"])
        f32, f64 = train(case, torch.float32), train(case, torch.float64)
        assert np.isfinite(f32).all() and np.isfinite(f64).all(), case
        lines.append("  {%s,\n   %s,\n   %s}," % (head, numbers(f32, "%.9g"), numbers(f64, "%.15g")))
    lines.append("};")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "optim_values.inc"), "w") as out:
        out.write("\n".join(lines).replace(".f,", ".0f,") + "\n")


main()
