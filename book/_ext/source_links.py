"""Links to the repository, all from one setting (`repository: url:` in _config.yml).

The role {source}`notebooks/03_wave_packet.ipynb` shows a path of the repository. It is a link when
the address is known, and plain text while it is empty.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxRole

KNOWN_HOSTS = ("github", "gitlab", "bitbucket")


class SourceRole(SphinxRole):
    """{source}`path`: a path of the repository, as a link where there is an address."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        literal = nodes.literal(self.text, self.text.removeprefix("notebooks/"), classes=["source-path"])
        # A planned notebook is named before there is a file to link to.
        if not self.config.jpo_repository or not (Path(self.env.srcdir).parent / self.text).exists():
            return [literal], []
        branch = self.config.html_theme_options.get("repository_branch") or "main"
        target = f"{self.config.jpo_repository}/blob/{branch}/{self.text}"
        return [nodes.reference("", "", literal, refuri=target, internal=False)], []


def read_address(app: Sphinx, config: Config) -> None:
    """Take the address from the one setting; show the theme's buttons only where they lead somewhere."""
    options = config.html_theme_options
    config.jpo_repository = (options.get("repository_url") or "").rstrip("/")
    known = any(host in config.jpo_repository for host in KNOWN_HOSTS)
    options.update(use_repository_button=known, use_issues_button=known)
    if not known:  # the theme refuses an address whose layout it does not know
        options["repository_url"] = ""


def setup(app: Sphinx) -> dict:
    app.add_config_value("jpo_repository", "", "env")
    app.add_role("source", SourceRole())
    app.connect("config-inited", read_address)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
