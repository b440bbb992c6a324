"""The routes about settings, and the one that reads the configuration again."""

from typing import Any, Final

import msgspec

from streamserver.api.access import Access
from streamserver.api.calls import Call, NoQuery
from streamserver.api.handlers import Services
from streamserver.api.route import Route
from streamserver.control.live_settings import check_pattern
from streamserver.control.settings_models import (
    Reloaded,
    Setting,
    Settings,
    SettingsChange,
    SettingSource,
    StreamSettings,
)

__all__ = ["SETTINGS_EXAMPLES", "SETTINGS_ROUTES"]

_SETTINGS: Final = "/api/v1/settings"
_OF_PATTERN: Final = f"{_SETTINGS}/{{app}}/{{scope}}"


async def settings(services: Services, call: Call[NoQuery]) -> Settings:
    """``GET /api/v1/settings``."""
    return services.settings.show()


async def change_settings(services: Services, call: Call[NoQuery]) -> Settings:
    """``PATCH /api/v1/settings``."""
    return await services.settings.change(call.read(SettingsChange))


async def settings_of_pattern(services: Services, call: Call[NoQuery]) -> Settings:
    """``GET /api/v1/settings/{app}/{scope}``."""
    return services.settings.show(check_pattern(*call.pattern))


async def change_settings_of_pattern(services: Services, call: Call[NoQuery]) -> Settings:
    """``PATCH /api/v1/settings/{app}/{scope}``."""
    return await services.settings.change(call.read(StreamSettings), check_pattern(*call.pattern))


async def reload(services: Services, call: Call[NoQuery]) -> Reloaded:
    """``POST /api/v1/server/reload``."""
    return await services.reloading.reload()


SETTINGS_ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        method="GET",
        path=_SETTINGS,
        handler=settings,
        name="getSettings",
        tag="settings",
        summary="What may change while the server runs, each value with its source.",
        access=Access.READ,
        query=NoQuery,
        response=Settings,
    ),
    Route(
        method="PATCH",
        path=_SETTINGS,
        handler=change_settings,
        name="changeSettings",
        tag="settings",
        summary="Change settings, over restarts; null goes back to the configuration.",
        access=Access.WRITE,
        query=NoQuery,
        body=SettingsChange,
        response=Settings,
    ),
    Route(
        method="GET",
        path=_OF_PATTERN,
        handler=settings_of_pattern,
        name="getSettingsOfPattern",
        tag="settings",
        summary="The same for app/name, or app/* for all streams of an app.",
        access=Access.READ,
        query=NoQuery,
        response=Settings,
    ),
    Route(
        method="PATCH",
        path=_OF_PATTERN,
        handler=change_settings_of_pattern,
        name="changeSettingsOfPattern",
        tag="settings",
        summary="Change settings of one stream, or of all of an app.",
        access=Access.WRITE,
        query=NoQuery,
        body=StreamSettings,
        response=Settings,
        problems=(409,),
    ),
    Route(
        method="POST",
        path="/api/v1/server/reload",
        handler=reload,
        name="reloadServer",
        tag="server",
        summary="Read the configuration again; names what changed and what needs a restart.",
        access=Access.WRITE,
        query=NoQuery,
        response=Reloaded,
        problems=(409,),
    ),
)
"""Their part of the one table."""

SETTINGS_EXAMPLES: Final[tuple[msgspec.Struct, ...]] = (
    Settings(
        pattern="live/*",
        items=[
            Setting(
                key="server.reconnect_window_s",
                value=60.0,
                source=SettingSource.API,
                where="live/*",
            )
        ],
    ),
    SettingsChange(reconnect_window_s=30.0),
    StreamSettings(reconnect_window_s=60.0),
    Reloaded(changed=["auth.keys"], needs_restart=["rtmp.port"]),
)
"""One example of each of their shapes."""
