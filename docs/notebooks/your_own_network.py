# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own network
#
# Any torch module, any loss, any data that fit into memory: this notebook trains a small network on a regression of
# its own, with an optimizer of its own, and puts rod flow beside it. It takes a few seconds on a CPU.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

import rodflow as rf

torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.linspace(-2, 2, 60)[:, None]
y = torch.sin(3 * x) + 0.3 * x
module = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

# %% [markdown]
# ## The objective
#
# An `Objective` is the loss as a function of one flat vector of weights. The vector holds the parameters that require
# gradients; frozen ones stay as they are. Activations should be smooth, since flows ask for curvature: take `GELU` or
# `Tanh` rather than `ReLU`.

# %%
objective = rf.Objective.from_module(module, x, y, loss="mse")
w0 = rf.flat_parameters(module)
print(f"{len(w0)} weights, loss {objective.value(w0):.3f}")

# %% [markdown]
# What cannot work is refused by name. Dropout draws other numbers in each evaluation, so there is no loss to follow:

# %%
try:
    rf.Objective.from_module(nn.Sequential(module, nn.Dropout(0.1)), x, y, loss="mse")
except rf.InvalidInput as error:
    print(error)

# %% [markdown]
# ## The optimizer
#
# A step is a function of state, gradient and time. This one is gradient descent whose step cannot get longer than
# `RATE`. Its first steps shorten the gradient; near a minimum it is plain gradient descent, which has the threshold
# 2.

# %%
RATE = 0.21


@rf.step_map(learning_rate=RATE)
def clipped(state, gradient, t):
    return state._replace(w=state.w - RATE * gradient / torch.sqrt(1 + gradient @ gradient))


STEPS, START = 600, 20
run = rf.train(objective, clipped, w0, steps=STEPS)
steps, sharpness = run.record_steps.numpy(), run.sharpness[:, 0].numpy()

# %% [markdown]
# Is the run at its edge? Look before you ask a flow: below the edge all flows agree, and there is nothing to see.

# %%
figure, (top, bottom) = plt.subplots(2, sharex=True, figsize=(7, 5), constrained_layout=True)
top.semilogy(run.loss.numpy())
top.set(ylabel="loss")
bottom.plot(steps, sharpness, label="run")
bottom.axhline(clipped.threshold, color="black", linestyle="--", linewidth=1, label="threshold")
bottom.set(xlabel="step", ylabel="effective sharpness")
bottom.legend()
plt.show()
# %% [markdown]
# ## The flows
#
# No flow knows this optimizer. All they use is its step. They are integrated in double precision, the run is in
# single.

# %%
window = run.window(START)
flows = {"stable flow": rf.StableFlow, "rod flow": rf.RodFlow, "drift-free rod flow": rf.DriftFreeRod}
settings = {"dtype": torch.float64, "reference": run}
followed = {
    name: rf.integrate(flow(objective, clipped), window, STEPS - START, **settings) for name, flow in flows.items()
}
figure, axes = plt.subplots(figsize=(7, 4), constrained_layout=True)
for name, flow in followed.items():
    axes.semilogy(flow.series["step"], flow.series["error"], label=name)
axes.set(xlabel="step", ylabel="distance from the run's midpoint")
axes.legend()
plt.show()
# %% [markdown]
# With `reference=run` the series of a flow holds everything that is measured against the run; [the columns are
# explained here](../outputs.md).

# %%
columns = ["step", "error", "sharpness", "discrete_sharpness", "rod_length", "oscillation"]
print(followed["rod flow"].series[columns].iloc[9::10].round(4).to_string(index=False))
