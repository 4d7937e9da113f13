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
# # Adam at the edge, in five minutes
#
# A small network, 150 images of digits, Adam with all images in each step. You will see training reach the edge of
# stability, a flow without an oscillation lose the run there, and rod flow stay with it. Everything runs on a CPU in
# half a minute. This file is a script (`python docs/notebooks/adam_at_the_edge.py`) and a notebook (jupytext).

# %%
import matplotlib.pyplot as plt
import torch

import rodflow as rf

torch.set_num_threads(1)  # the network is too small for more
problem = rf.problems.digits(architecture="mlp")
adam = rf.Adam(learning_rate=5e-3)
run = rf.train(problem.objective, adam, problem.w0, steps=500)

# %% [markdown]
# ## The edge
#
# *Effective sharpness* is the largest curvature of the loss as Adam sees it: the largest eigenvalue of `lr P^-1/2 H
# P^-1/2`, with H the Hessian and P Adam's diagonal preconditioner. On a quadratic Adam becomes unstable where it
# exceeds the *threshold* 2 (1 + beta1)/(1 - beta1), which is 38 here. Training does not stop there. The sharpness
# stays near the threshold, and the weights oscillate along the sharpest direction.

# %%
steps, sharpness = run.record_steps.numpy(), run.sharpness[:, 0].numpy()
figure, (top, bottom) = plt.subplots(2, sharex=True, figsize=(7, 5), constrained_layout=True)
top.plot(steps, sharpness, label="run")
top.axhline(adam.threshold, color="black", linestyle="--", linewidth=1, label="threshold")
top.set(ylabel="effective sharpness")
top.legend()
bottom.semilogy(run.oscillation.numpy())
bottom.set(xlabel="step", ylabel="length of the oscillation")
plt.show()
# %% [markdown]
# ## Two flows beside the run
#
# A flow is an ordinary differential equation for the weights; one unit of its time is one step of Adam. The *stable
# flow* has no oscillation. *Rod flow* carries a centre and the covariance of an oscillation around it. Both start
# from the run's own states at step 60, when Adam's first moment has formed. The run is in single precision, as people
# train; flows are integrated in double precision, since a short oscillation is a small difference of two gradients.

# %%
START = 60
window = run.window(START)
flows = {
    "stable flow": rf.StableFlow(problem.objective, adam),
    "rod flow": rf.RodFlow(problem.objective, adam),
    "drift-free rod flow": rf.DriftFreeRod(problem.objective, adam),
    "twin": rf.Twin(problem.objective, adam),
}
followed = {name: rf.integrate(flow, window, steps=500 - START, dtype=torch.float64) for name, flow in flows.items()}

# %% [markdown]
# The *error* is the distance in weight space of a flow's centre from the run's midpoint `(w_{t-1} + 2 w_t +
# w_{t+1})/4`. The *twin* is no model: it is Adam again, from the same states, with other rounding errors. No model
# can be expected to be nearer to the run than a twin is.

# %%
figure, axes = plt.subplots(figsize=(7, 4), constrained_layout=True)
for name, flow in followed.items():
    flow.error(run).plot(ax=axes, logy=True, label=name, linestyle=":" if name == "twin" else "-")
entered = steps[(sharpness >= 0.9 * adam.threshold) & (steps >= START)][0]
axes.axvline(entered, color="black", linestyle="--", linewidth=1, label="the run reaches 0.9 thresholds")
axes.set(xlabel="step", ylabel="distance from the run's midpoint")
axes.legend()
plt.show()
# %% [markdown]
# ## The same as numbers
#
# Mean errors over the *edge window*, the records at which the run's effective sharpness is at 0.9 of the threshold or
# above, and what a step of each flow costs in full-batch gradients.

# %%
edge = steps[(sharpness >= 0.9 * adam.threshold) & (steps > START)].tolist()
for name, flow in followed.items():
    gradients = flow.cost.gradients / (500 - START)
    print(f"{name:20} mean error {flow.error(run).reindex(edge).mean():8.4f}   {gradients:5.1f} gradients a step")

# %% [markdown]
# Where to go from here: [your own network](your_own_network.py), [the theory](../theory.md), [which flow to
# take](../which_flow.md).
