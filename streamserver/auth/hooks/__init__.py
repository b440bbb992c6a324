"""HTTP hooks: a URL of the user's backend that is asked, in the words that it knows."""

from streamserver.auth.hooks.hook import HookDecider, HookStats
from streamserver.auth.hooks.words import Notice

__all__ = ["HookDecider", "HookStats", "Notice"]
