"""What takes over a changed configuration without a restart, part by part; see `Reloading`."""

from streamserver.config import Config
from streamserver.control.apps import Apps
from streamserver.control.reloading import LivePart
from streamserver.outputs.destinations.assembly import configured_destinations
from streamserver.outputs.destinations.manager import Destinations
from streamserver.webhooks.assembly import configured_webhooks
from streamserver.webhooks.manager import Webhooks

__all__ = ["live_parts"]


def live_parts(destinations: Destinations, webhooks: Webhooks, apps: Apps) -> tuple[LivePart, ...]:
    """Those of a whole server."""

    def check_destinations(config: Config) -> None:
        destinations.check_configured(configured_destinations(config))

    async def change_destinations(config: Config) -> None:
        await destinations.configure(configured_destinations(config))

    def check_webhooks(config: Config) -> None:
        webhooks.check_configured(configured_webhooks(config.webhooks))

    async def change_webhooks(config: Config) -> None:
        await webhooks.configure(configured_webhooks(config.webhooks))

    async def change_apps(config: Config) -> None:
        apps.names = config.server.apps

    return (
        LivePart(keys=("destinations",), check=check_destinations, apply=change_destinations),
        LivePart(keys=("webhooks",), check=check_webhooks, apply=change_webhooks),
        LivePart(keys=("server.apps",), apply=change_apps),
    )
