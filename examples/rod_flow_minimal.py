"""Rod flow for gradient descent in plain torch, nothing else: python examples/rod_flow_minimal.py

With zbar the centre of two iterates, G(z) = -lr grad L(z) and Sigma = d d^T + A A^T the covariance of the rod,

    E = G(zbar) + sum_i [(G(zbar + a_i) + G(zbar - a_i))/2 - G(zbar)],   O_i = (G(zbar + a_i) - G(zbar - a_i))/2
    d zbar/dt = E at zbar - E/2,   d Sigma/dt = (E E^T + sum_i O_i O_i^T)/2 - 2 Sigma,   one step = one unit of time

summed over the drift's column d = E/2 and the r columns of A. docs/theory.md derives it; rodflow/flows/rod.py is the
same for any optimizer, with care for rounding, and a test compares the two.
"""

import math

import torch


def velocity(G, z, A, d=None):
    """dz/dt, the images O of A's columns and of d, and d, which is E/2 of A's columns unless it is given."""
    here = G(z)
    ends = {i: (G(z + a), G(z - a)) for i, a in enumerate(A.T)}
    E = here + sum((plus + minus) / 2 - here for plus, minus in ends.values())
    d = E / 2 if d is None else d
    ends["drift"] = plus, minus = G(z + d), G(z - d)
    E = E + (plus + minus) / 2 - here
    images = torch.stack([(plus - minus) / 2 for plus, minus in ends.values()], 1)
    return E + ends["drift"][1] - here, images, d


def moved(z, A, dz, images, h):
    """Centre and columns a time h later: the columns decay like exp(-h) and take up the images; r of them are kept."""
    grown = torch.cat([math.exp(-h) * A, math.sqrt(-math.expm1(-2 * h) / 4) * images], 1)
    u, s, _ = torch.linalg.svd(grown, full_matrices=False)
    return z + h * dz, (u * s)[:, : A.shape[1]]


def step(G, z, A, h=1.0):
    """One Runge-Kutta step of the centre with the drift's column held, and of the columns from its middle stages."""
    k1, o1, d = velocity(G, z, A)
    k2, o2, _ = velocity(G, *moved(z, A, k1, o1, h / 2), d)
    k3, o3, _ = velocity(G, *moved(z, A, k2, o2, h / 2), d)
    k4, _, _ = velocity(G, *moved(z, A, k3, o3, h), d)
    return moved(z, A, (k1 + 2 * k2 + 2 * k3 + k4) / 6, torch.cat([o2, o3], 1) / math.sqrt(2), h)


def start(G, w, following, columns=3):
    """Centre and columns from two consecutive iterates: their mean, and half of their difference less the drift."""
    z, A = (w + following) / 2, w.new_zeros(len(w), min(columns, len(w)))
    A[:, 0] = (following - w) / 2 - G(z) / 2
    return z, A


def gradient(w):
    """Of (y + x) x^2/2 - 0.01 (x + y): a valley along y, of sharpness y, that falls for ever (Berthier, 2609.01034)."""
    x, y = w
    return torch.stack([(y + x) * x + x**2 / 2 - 0.01, x**2 / 2 - 0.01])


if __name__ == "__main__":
    lr = 0.3
    w = stable = torch.tensor([0.01, 6.0], dtype=torch.float64)
    z, A = start(lambda z: -lr * gradient(z), w, w - lr * gradient(w))
    print(f"the edge is at y = 2/lr = {2 / lr:.2f}\nstep  gradient descent  gradient flow  rod flow  (all: y)")
    for t in range(1, 1001):
        w = w - lr * gradient(w)
        for _ in range(4):  # gradient flow by short midpoint steps
            stable = stable - lr / 4 * gradient(stable - lr / 8 * gradient(stable))
        z, A = step(lambda z: -lr * gradient(z), z, A)
        if t % 100 == 0:
            print(f"{t:4}  {w[1]:16.2f}  {stable[1]:13.2f}  {z[1]:8.2f}")
