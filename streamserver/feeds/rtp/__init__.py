"""The rtp feed: packets become RTP payloads with sequence numbers, once for all viewers."""

from streamserver.feeds.rtp.feed import RtpFeed, RtpSource
from streamserver.feeds.rtp.items import RtpItem

__all__ = ["RtpFeed", "RtpItem", "RtpSource"]
