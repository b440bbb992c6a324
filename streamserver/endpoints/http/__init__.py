"""The HTTP door: a front that answers prebuilt objects itself and lends the rest to aiohttp."""
