"""Test problems for unconstrained minimization, f(x) = sum_i r_i(x)^2, with their standard starts.

The numbers in brackets are those of the paper.

Source: Moré, Garbow & Hillstrom (1981), doi:10.1145/355934.355936.
"""

import jax
import jax.numpy as jnp
import numpy as np

PI = np.pi
BARD = np.array([14, 18, 22, 25, 29, 32, 35, 39, 37, 58, 73, 96, 134, 210, 439]) / 100
GAUSSIAN = np.array([9, 44, 175, 540, 1295, 2420, 3521, 3989, 3521, 2420, 1295, 540, 175, 44, 9]) / 1e4
KOWALIK_Y = np.array([1957, 1947, 1735, 1600, 844, 627, 456, 342, 323, 235, 246]) / 1e4
KOWALIK_U = np.array([4, 2, 1, 1 / 2, 1 / 4, 1 / 6, 1 / 8, 1 / 10, 1 / 12, 1 / 14, 1 / 16])


def helical(x):
    angle = jnp.arctan2(x[1], x[0]) / (2 * PI)
    # The paper's angle lies in (-1/4, 3/4), with its jump on the negative second axis.
    angle = jnp.where(angle < -0.25, angle + 1.0, angle)
    return jnp.stack([10 * (x[2] - 10 * angle), 10 * (jnp.hypot(x[0], x[1]) - 1), x[2]])


def bard(x):
    u = np.arange(1.0, 16.0)
    v = 16 - u
    return BARD - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


def box(x):
    t = np.arange(1, 11) / 10
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def powell_singular(x):
    a, b, c, d = x.reshape(-1, 4).T
    return jnp.concatenate(
        [a + 10 * b, np.sqrt(5) * (c - d), jnp.square(b - 2 * c), np.sqrt(10) * jnp.square(a - d)]
    )


def wood(x):
    a, b, c, d = x
    return jnp.stack(
        [
            10 * (b - a**2),
            1 - a,
            np.sqrt(90) * (d - c**2),
            1 - c,
            np.sqrt(10) * (b + d - 2),
            (b - d) / np.sqrt(10),
        ]
    )


def brown_dennis(x):
    t = np.arange(1, 21) / 5
    return jnp.square(x[0] + t * x[1] - np.exp(t)) + jnp.square(x[2] + x[3] * np.sin(t) - np.cos(t))


def watson(x):
    t = np.arange(1, 30)[:, None] / 29
    j = np.arange(x.size)
    slope = (j[1:] * t ** (j[1:] - 1)) @ x[1:]
    return jnp.concatenate([slope - jnp.square(t**j @ x) - 1, x[:1], (x[1] - x[0] ** 2 - 1)[None]])


def rosenbrock(x):
    return jnp.concatenate([10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]])


def variably_dimensioned(x):
    weighted = jnp.sum(np.arange(1, x.size + 1) * (x - 1))
    return jnp.concatenate([x - 1, jnp.stack([weighted, weighted**2])])


def trigonometric(x):
    i = np.arange(1, x.size + 1)
    return x.size - jnp.sum(jnp.cos(x)) + i * (1 - jnp.cos(x)) - jnp.sin(x)


def discrete_boundary(x):
    h = 1 / (x.size + 1)
    t = h * np.arange(1, x.size + 1)
    padded = jnp.pad(x, 1)
    return 2 * x - padded[:-2] - padded[2:] + h**2 * (x + t + 1) ** 3 / 2


def broyden_tridiagonal(x):
    padded = jnp.pad(x, 1)
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


# {name: (residuals, standard start, least value of f)}
N = 12
PLACES = np.arange(1, N + 1)
PROBLEMS = {
    "Rosenbrock (1)": (rosenbrock, [-1.2, 1.0], 0.0),
    "Beale (5)": (
        lambda x: jnp.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** jnp.array([1, 2, 3])),
        [1.0, 1.0],
        0.0,
    ),
    "helical valley (7)": (helical, [-1.0, 0.0, 0.0], 0.0),
    "Bard (8)": (bard, [1.0, 1.0, 1.0], 8.21487e-3),
    "Gaussian (9)": (
        lambda x: x[0] * jnp.exp(-x[1] * jnp.square((7 - np.arange(15)) / 2 + x[2]) / 2) - GAUSSIAN,
        [0.4, 1.0, 0.0],
        1.12793e-8,
    ),
    "box (12)": (box, [0.0, 10.0, 20.0], 0.0),
    "Powell singular (13)": (powell_singular, [3.0, -1.0, 0.0, 1.0], 0.0),
    "Wood (14)": (wood, [-3.0, -1.0, -3.0, -1.0], 0.0),
    "Kowalik and Osborne (15)": (
        lambda x: (
            KOWALIK_Y - x[0] * (KOWALIK_U**2 + KOWALIK_U * x[1]) / (KOWALIK_U**2 + KOWALIK_U * x[2] + x[3])
        ),
        [0.25, 0.39, 0.415, 0.39],
        3.07505e-4,
    ),
    "Brown and Dennis (16)": (brown_dennis, [25.0, 5.0, -5.0, -1.0], 85822.2),
    "Watson (20)": (watson, np.zeros(N), 4.72238e-10),
    "extended Rosenbrock (21)": (rosenbrock, np.tile([-1.2, 1.0], N // 2), 0.0),
    "extended Powell singular (22)": (powell_singular, np.tile([3.0, -1.0, 0.0, 1.0], N // 4), 0.0),
    "variably dimensioned (25)": (variably_dimensioned, 1 - PLACES / N, 0.0),
    "trigonometric (26)": (trigonometric, np.full(N, 1 / N), 0.0),
    "discrete boundary value (28)": (discrete_boundary, PLACES / (N + 1) * (PLACES / (N + 1) - 1), 0.0),
    "Broyden tridiagonal (30)": (broyden_tridiagonal, np.full(N, -1.0), 0.0),
}


def value(name: str, x) -> jax.Array:
    """f(x) of a problem."""
    return jnp.sum(jnp.square(PROBLEMS[name][0](x)))
