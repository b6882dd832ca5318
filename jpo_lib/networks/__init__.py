"""The networks: Equinox modules that map one target (and what else is known) to one parameter vector.

Every network is a callable (y, context, identifier) -> x, shape (d,), for one problem; batches come from
`jax.vmap`. A network without trainable sharing between problems is a group of size one, see
`jpo_lib.JointOptimization`.
"""

from jpo_lib.networks.centred_flow import CentredFlow
from jpo_lib.networks.dense import Dense, WithIdentifiers, network_for
from jpo_lib.networks.dense_velocity import DenseVelocity
from jpo_lib.networks.energy_centroid import EnergyCentroid1D
from jpo_lib.networks.layers import Convolution1D

__all__ = [
    "CentredFlow",
    "Convolution1D",
    "Dense",
    "DenseVelocity",
    "EnergyCentroid1D",
    "WithIdentifiers",
    "network_for",
]
