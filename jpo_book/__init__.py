"""The book about `jpo_lib`: studies, what they say, and the figures, tables and pages that show it."""

import sys


def main() -> None:
    """The command `jpo`, under the rules of `hermetic`, before anything else is imported. The library alone
    does not bring what it needs: then one sentence says what does."""
    from jpo_book import hermetic

    hermetic.seal("jpo", guard=True)
    try:
        from jpo_book import cli
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("jpo_book", "jpo_lib"):
            raise
        print(
            f"jpo: expected the packages of the extra 'notebooks', found no {error.name}: "
            'run pip install "jpo-lib[notebooks]".',
            file=sys.stderr,
        )
        sys.exit(2)
    cli.main()
