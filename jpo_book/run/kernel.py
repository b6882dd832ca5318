"""The process in which a notebook runs: this Python, and IPython without anybody's settings.

Jupyter would look for a kernel by its name, in folders of the user and of the system, and may find another
Python's. IPython would read settings of the system and of the working folder.
"""

from __future__ import annotations

import sys
from typing import Any

from ipykernel.kernelapp import IPKernelApp
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager


class OwnKernel(IPKernelApp):
    """A kernel that reads no file of settings and imports nothing from the working folder."""

    ignore_cwd = True
    exec_PYTHONSTARTUP = False

    def load_config_file(self, *arguments: Any, **named: Any) -> None:
        """There is none."""


class OwnKernelManager(AsyncKernelManager):
    """Starts `OwnKernel` with this Python. `status` is that of its last process: None while it lives."""

    status: int | None = None

    @property
    def kernel_spec(self) -> KernelSpec:
        """What starts a kernel; the name that Jupyter looks for does not matter."""
        command = [sys.executable, "-P", "-m", "jpo_book.run.kernel", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")

    async def _async_is_alive(self) -> bool:
        if self.provisioner and (status := await self.provisioner.poll()) is not None:
            OwnKernelManager.status = status
        return await super()._async_is_alive()

    is_alive = _async_is_alive  # pyright: ignore[reportAssignmentType]  as in jupyter_client


if __name__ == "__main__":
    OwnKernel.launch_instance()
