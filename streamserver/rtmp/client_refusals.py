"""What a no means, and where to go instead: from a status to the event that tells the host."""

import os
from dataclasses import replace

from streamserver.rtmp.auth_schemes import Challenge, answer_challenge, introduce, read_challenge
from streamserver.rtmp.client_events import ReconnectWith, Redirected, Rejected, RetryHint
from streamserver.rtmp.client_settings import ClientSettings
from streamserver.rtmp.status import Status, clean
from streamserver.rtmp.target import InvalidTargetError, PublishTarget, parse_target

__all__ = ["connect_refused", "reconnect_requested", "refused", "words"]


def words(settings: ClientSettings, status: Status) -> str:
    """What the far side says, for people: masked, one line; may be empty."""
    return clean(settings.target.hide(status.description))


def refused(settings: ClientSettings, status: Status) -> Rejected:
    """A plain no."""
    text = words(settings, status) or "the far side refused without saying why"
    return Rejected(status.code, text, status.retry_hint)


def connect_refused(
    settings: ClientSettings, status: Status, auth_nonce: str | None = None
) -> Rejected | ReconnectWith | Redirected:
    """A no to connect, which may ask for authentication or point elsewhere."""
    if status.redirect is not None:
        return _redirected(settings, status, *status.redirect)
    challenge = read_challenge(status.description)
    if challenge is not None:
        return _authenticate(settings, status, challenge, auth_nonce)
    return refused(settings, status)


def reconnect_requested(
    settings: ClientSettings, status: Status, *, closing: bool
) -> Redirected | None:
    """Enhanced RTMP v2, "Reconnect Request": without a tcUrl, to where we are.

    None when it leads nowhere: it is a wish, and this connection still works.
    """
    url = status.values.get("tcUrl")
    try:
        target = settings.target.follow(url if isinstance(url, str) else "")
    except InvalidTargetError:
        return None
    return Redirected(_anew(settings, target), closing, words(settings, status))


def _redirected(
    settings: ClientSettings, status: Status, tc_url: str, full_url: str
) -> Rejected | Redirected:
    """302: SRS and Ant Media name a tcUrl, a full URL, or both. The key stays ours."""
    try:
        target = settings.target.follow(tc_url or parse_target(full_url).tc_url)
    except InvalidTargetError as fault:
        text = f"the far side redirects to where we cannot go: {fault}"
        return Rejected(status.code, text, RetryHint.LATER)
    return Redirected(_anew(settings, target), True, words(settings, status))


def _anew(settings: ClientSettings, target: PublishTarget) -> ClientSettings:
    # An answer is good for one challenge, so authentication begins again.
    return replace(settings, target=target, auth_query="")


def _authenticate(
    settings: ClientSettings, status: Status, challenge: Challenge, auth_nonce: str | None
) -> Rejected | ReconnectWith:
    """The next of its steps; a step that comes twice means that it failed."""
    target, before = settings.target, settings.auth_query
    failed = challenge.refused or "response=" in before or (before and not challenge.reason)
    if failed:
        text = "the far side does not take this user and password"
    elif not challenge.known:
        text = f"the far side wants authentication of the unknown kind {challenge.scheme!r}"
    elif not target.user:
        text = "the far side wants a user and a password: rtmp://user:password@host/app/key"
    else:
        query = introduce(challenge, target.user)
        if challenge.reason:
            nonce = auth_nonce or os.urandom(4).hex()
            query = answer_challenge(challenge, target.user, target.password, target.app, nonce)
        return ReconnectWith(replace(settings, auth_query=query))
    return Rejected(status.code, text, RetryHint.AUTH)
