"""The cmaf feed: packets become initialisation segments, parts and segments (ISO/IEC 23000-19)."""

from streamserver.feeds.cmaf.feed import CmafFeed
from streamserver.feeds.cmaf.settings import CmafCounters, CmafSettings

__all__ = ["CmafCounters", "CmafFeed", "CmafSettings"]
