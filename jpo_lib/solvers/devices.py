"""Problems spread over several devices: which rows of an array are where, and how they get there and back.

Problems do not know of each other, so each device works on its own share of them without a word to the
others. The one exchange is that of the gradients of a network whose problems are on several devices.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"
EACH = PartitionSpec(AXIS)  # split along the first axis
SECOND = PartitionSpec(None, AXIS)
ALL = PartitionSpec()  # a copy on each device


def mesh_for(devices: int | Sequence | None) -> Mesh | None:
    """The devices as a mesh with one axis; None for a single one.

    Arguments:
        devices: how many of those that JAX sees, or a sequence of them; None for JAX's default device.
    Raises:
        ValueError: if there are not as many.
    """
    if devices is None:
        return None
    if isinstance(devices, bool) or not isinstance(devices, (int, np.integer, Sequence, np.ndarray)):
        needed = "a number or a sequence of JAX devices"
        raise ValueError(f"devices: expected {needed}, got {devices!r}; pass for example jax.devices().")
    if isinstance(devices, (int, np.integer)):
        known = jax.devices()
        if not 1 <= devices <= len(known):
            raise ValueError(
                f"devices: expected 1 to {len(known)} that JAX sees, got {devices}; ask for fewer."
            )
        devices = known[:devices]
    devices = list(devices)
    of_jax = all(isinstance(device, jax.Device) for device in devices)
    if not devices or not of_jax or len(set(devices)) < len(devices):
        needed = "different JAX devices, at least one"
        raise ValueError(f"devices: expected {needed}, got {devices}; pass for example jax.devices().")
    return None if devices == [jax.devices()[0]] else Mesh(np.array(devices), AXIS)


def check_shares(mesh: Mesh | None, count: int, what: str) -> None:
    """Refuse a number of problems that is no multiple of the number of devices."""
    if mesh is not None and count % mesh.size:
        kind = f"a divisor of the {count} {what}"
        raise ValueError(f"devices: expected {kind}, got {mesh.size} devices; use another number of either.")


def mesh_of(leaves) -> Mesh | None:
    """The mesh that some of the arrays have been placed on."""
    for leaf in leaves:
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding):
            # Our meshes are of real devices.
            return sharding.mesh  # pyright: ignore[reportReturnType]
    return None


def placed(tree, mesh: Mesh | None, parts=EACH):
    """The arrays of a tree on the devices of a mesh; `parts`, one for all or a tree that begins like it, says
    how they are split."""
    if mesh is None:
        return tree

    def place(leaf, part):
        sharding = NamedSharding(mesh, part)
        if getattr(leaf, "sharding", None) == sharding:
            return leaf
        if mesh_of([leaf]) is None and not mesh.is_multi_process:
            return jax.device_put(leaf, sharding)
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                place(jax.random.key_data(leaf), part), impl=jax.random.key_impl(leaf)
            )
        return jax.device_put(leaf if mesh_of([leaf]) else np.asarray(leaf), sharding)

    return jax.tree.map(
        lambda part, subtree: jax.tree.map(lambda leaf: place(leaf, part), subtree),
        parts,
        tree,
        is_leaf=lambda node: isinstance(node, PartitionSpec),
    )


def on_host(tree):
    """NumPy copies of all arrays, whole on each process."""

    def fetch(leaf):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable and not leaf.is_fully_replicated:
            return np.array(multihost_utils.process_allgather(leaf, tiled=True))
        return np.array(leaf)

    return jax.tree.map(fetch, tree)
