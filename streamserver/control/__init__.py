"""The operations of the server, as plain calls."""

from streamserver.control.control import Control, ControlSettings
from streamserver.control.facts import ListenerFacts, LoopLag, ServerFacts
from streamserver.control.totals import Totals

__all__ = ["Control", "ControlSettings", "ListenerFacts", "LoopLag", "ServerFacts", "Totals"]
