"""An optimizer that rodflow does not know, and rod flow beside it: python examples/your_optimizer.py

Gradient descent whose step never gets longer than ``lr * LONGEST``: the gradient is shortened smoothly,
g / sqrt(1 + |g|^2 / LONGEST^2), a soft clipping. Training runs into the edge of stability, where effective sharpness
stays at the threshold 2. Both flows are integrated from the same states; no flow code is written here.
"""

import torch

import rodflow as rf

RATE, LONGEST, START, STEPS = 0.2, 1.0, 40, 600


@rf.step_map(learning_rate=RATE)  # threshold 2, no moments
def clipped(state, gradient, t):
    shortened = gradient / torch.sqrt(1 + (gradient @ gradient) / LONGEST**2)
    return state._replace(w=state.w - RATE * shortened)


torch.set_num_threads(1)
problem = rf.problems.digits("mlp", examples=200, sizes={"widths": (16, 16)}, dtype=torch.float64, device="cpu")
# errors as large as float32's rounding keep the oscillation alive until the edge, as in everyday training
run = rf.train(problem.objective, clipped, problem.w0, STEPS, perturbation=1.2e-7)
at_the_edge = run.record_steps[run.sharpness[:, 0] >= 0.9 * run.threshold]
print(f"at the edge: {len(at_the_edge)} of {len(run.record_steps)} records, from step {at_the_edge[0]} on")

for name, flow in {"stable flow": rf.StableFlow, "drift-free rod flow": rf.DriftFreeRod}.items():
    result = rf.integrate(flow(problem.objective, clipped), run.window(START), STEPS - START)
    error = result.error(run).reindex(at_the_edge[at_the_edge > START].tolist())
    print(f"{name}: mean error in the edge window {error.mean():.4f}")
