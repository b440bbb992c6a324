import pytest

from streamserver.net.guard import ForbiddenAddressError, OutgoingGuard


class Names:
    """A resolver that knows one name."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str) -> tuple[str, ...]:
        return self._addresses


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "198.18.0.1",
]  # fmt: skip
NOWHERE = ["0.0.0.0", "::", "224.0.0.1", "ff02::1"]
PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
async def test_private_addresses_are_closed_where_the_configuration_says_so(address):
    with pytest.raises(ForbiddenAddressError, match="allow_private"):
        await OutgoingGuard(Names(address), allow_private=False).addresses("inside.test")
    assert await OutgoingGuard(Names(address), allow_private=True).addresses("inside.test")


@pytest.mark.parametrize("address", NOWHERE)
@pytest.mark.parametrize("allow_private", [True, False])
async def test_what_is_no_host_is_never_open(address, allow_private):
    with pytest.raises(ForbiddenAddressError):
        await OutgoingGuard(Names(address), allow_private=allow_private).addresses("x.test")


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_addresses_are_open(address):
    guard = OutgoingGuard(Names(address), allow_private=False)
    assert await guard.addresses("far.test") == (address,)


async def test_only_the_allowed_ones_of_a_name_are_answered():
    guard = OutgoingGuard(Names("10.0.0.1", "8.8.8.8", "::1"), allow_private=False)
    assert await guard.addresses("mixed.test") == ("8.8.8.8",)


@pytest.mark.parametrize("literal", ["10.0.0.1", "::1", "0.0.0.0"])
def test_a_literal_address_is_refused_at_once_and_a_name_later(literal):
    guard = OutgoingGuard(Names(), allow_private=False)
    with pytest.raises(ForbiddenAddressError):
        guard.check_literal(literal)
    guard.check_literal("some.name")
    guard.check_literal("8.8.8.8")
