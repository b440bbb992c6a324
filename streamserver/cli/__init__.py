"""The command line: arguments, logging setup, exit codes."""

from streamserver.cli.program import main

__all__ = ["main"]
