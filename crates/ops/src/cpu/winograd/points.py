#!/usr/bin/env python3
"""Matrices of F(m×m, 3×3) for given points, and the errors that they make in float32.

    python3 points.py        # needs numpy

Prints the matrices of transform.rs, then for each choice of points the root mean square and the
largest difference from float64, relative to the outputs' root mean square: 256 channels of rectified
normal inputs, 200 tiles. `direct` adds one product after the other.
"""

import math
from fractions import Fraction as F

import numpy as np


def times(a, b):
    """The product of two polynomials."""
    product = [F(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] += x * y
    return product


def matrices(points, m):
    """Aᵀ, G and Bᵀ after Cook and Toom, with the point at infinity; Bᵀ in whole numbers."""
    points = [F(p) for p in points]
    n = len(points) + 1
    at = [[p**i for p in points] + [F(i == m - 1)] for i in range(m)]
    g = [[p**j for j in range(3)] for p in points] + [[F(0), F(0), F(1)]]
    bt = []
    for i, p in enumerate(points + [None]):
        row, scale = [F(1)], F(1)
        for j, q in enumerate(points):
            if j != i:
                row, scale = times(row, [-q, F(1)]), scale * (1 if p is None else p - q)
        bt.append([x / scale for x in row] + [F(0)] * (n - len(row)))
    for i, row in enumerate(bt):
        whole = math.lcm(*(x.denominator for x in row))
        factor = F(whole, math.gcd(*(int(x * whole) for x in row)))
        bt[i], g[i] = [x * factor for x in row], [x / factor for x in g[i]]
    return at, g, bt


def errors(points, m, channels=256, tiles=200):
    at, g, bt = (np.array(matrix, dtype=np.float32) for matrix in matrices(points, m))
    rng = np.random.default_rng(0)
    n = m + 2
    x = np.maximum(rng.normal(size=(tiles, channels, n, n)), 0).astype(np.float32)
    w = (rng.normal(size=(channels, 3, 3)) * 0.05).astype(np.float32)
    exact, direct = np.zeros((tiles, m, m)), np.zeros((tiles, m, m), np.float32)
    for c in range(channels):
        for i in range(3):
            for j in range(3):
                part = x[:, c, i : i + m, j : j + m]
                exact += part.astype(float) * float(w[c, i, j])
                direct += part * w[c, i, j]
    products = np.zeros((tiles, n, n), np.float32)
    for c in range(channels):
        products += (bt @ x[:, c] @ bt.T) * (g @ w[c] @ g.T)
    fast = at @ products @ at.T
    rms = np.sqrt((exact**2).mean())
    return [(np.sqrt(((y - exact) ** 2).mean()) / rms, abs(y - exact).max() / rms) for y in (fast, direct)]


def main():
    for name, matrix in zip(["Aᵀ", "G", "Bᵀ"], matrices([0, 1, F(-1, 2), -2], 3)):
        print(name, *(" ".join(f"{x!s:>5}" for x in row) for row in matrix), sep="\n")
    print(f"{'outputs':>7} {'points':28} {'rms':>8} {'largest':>8}   direct")
    choices = [[0, 1, -1], [0, 1, -1, 2], [0, 1, -1, F(1, 2)], [0, F(2, 3), F(-2, 3), F(3, 2)], [0, 1, F(-1, 2), -2]]
    choices += [[0, 1, -1, 2, -2], [0, 1, -1, F(1, 2), -2], [0, F(3, 4), F(-3, 4), F(3, 2), F(-3, 2)]]
    for points in choices:
        (rms, largest), (direct, most) = errors(points, len(points) - 1)
        names = " ".join(map(str, points)) + " ∞"
        print(f"{len(points) - 1:>6}² {names:28} {rms:8.1e} {largest:8.1e}   {direct:.1e} {most:.1e}")


if __name__ == "__main__":
    main()
