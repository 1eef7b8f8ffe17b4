"""The code of an optimizer that a user could have written, for tests of files and notebooks."""

LION = """
import torch

class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(mean.lerp(p.grad, 0.1).sign(), alpha=group["lr"])
                mean.lerp_(p.grad, 0.01)
"""
