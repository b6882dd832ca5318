"""Nonlinear regression with certified answers: residuals, two starts, and the least sum of squares.

Source: NIST Statistical Reference Datasets, doi:10.18434/T43G6C.
"""

import jax.numpy as jnp
import numpy as np

VOLUME = np.array(
    [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
)
UPTAKE = np.array(
    [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
)
DAY, OXYGEN = np.array([1.0, 2, 3, 5, 7, 10]), np.array([109.0, 149, 149, 191, 213, 224])
TEMPERATURE = np.array([1.309, 1.471, 1.490, 1.565, 1.611, 1.680])
ENERGY = np.array([2.138, 3.421, 3.597, 4.340, 4.882, 5.660])
TIME = np.array([9.0, 14, 21, 28, 42, 57, 63, 70, 79])
YIELD = np.array([8.93, 10.80, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08])
DEGREES = 45.0 + 5.0 * np.arange(1, 17)
RESISTANCE = np.array(
    [34780.0, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
)

# {name: (residuals, (first start, second start), least sum of squares)}
PROBLEMS = {
    "Misra1a": (
        lambda b: UPTAKE - b[0] * (1 - jnp.exp(-b[1] * VOLUME)),
        ([500.0, 1e-4], [250.0, 5e-4]),
        1.2455138894e-1,
    ),
    "Misra1b": (
        lambda b: UPTAKE - b[0] * (1 - (1 + b[1] * VOLUME / 2) ** -2.0),
        ([500.0, 1e-4], [300.0, 2e-4]),
        7.5464681533e-2,
    ),
    "Misra1c": (
        lambda b: UPTAKE - b[0] * (1 - (1 + 2 * b[1] * VOLUME) ** -0.5),
        ([500.0, 1e-4], [600.0, 2e-4]),
        4.0966836971e-2,
    ),
    "Misra1d": (
        lambda b: UPTAKE - b[0] * b[1] * VOLUME / (1 + b[1] * VOLUME),
        ([500.0, 1e-4], [450.0, 3e-4]),
        5.6419295283e-2,
    ),
    "BoxBOD": (
        lambda b: OXYGEN - b[0] * (1 - jnp.exp(-b[1] * DAY)),
        ([1.0, 1.0], [100.0, 0.75]),
        1.1680088766e3,
    ),
    "DanWood": (lambda b: ENERGY - b[0] * TEMPERATURE ** b[1], ([1.0, 5.0], [0.7, 4.0]), 4.3173084083e-3),
    "Rat42": (
        lambda b: YIELD - b[0] / (1 + jnp.exp(b[1] - b[2] * TIME)),
        ([100.0, 1.0, 0.1], [75.0, 2.5, 0.07]),
        8.0565229338,
    ),
    "MGH10": (
        lambda b: RESISTANCE - b[0] * jnp.exp(b[1] / (DEGREES + b[2])),
        ([2.0, 4e5, 25e3], [0.02, 4e3, 250.0]),
        8.7945855171e1,
    ),
}
