import re
from dataclasses import replace

from streamserver.cli.banner import BannerInfo, banner
from streamserver.net import Listening
from tests.cli.helpers_cli import KEY, LISTENERS, TOKEN

FIRST_RUN = BannerInfo(
    version="1.2.3",
    config_source="config.toml",
    listeners=LISTENERS,
    host="192.168.1.20",
    publish_key=KEY,
    api_token=TOKEN,
)
LATER_RUN = replace(FIRST_RUN, publish_key=None, api_token=None)


def words(info: BannerInfo) -> str:
    """The banner with every run of blanks made one."""
    return re.sub(r"[ \t]+", " ", banner(info))


def test_the_first_run_shows_everything_that_a_newcomer_needs() -> None:
    assert (
        banner(FIRST_RUN)
        == f"""\
streamserver 1.2.3
configuration: config.toml

RTMP                 rtmp://192.168.1.20
HTTP                 http://192.168.1.20:8080

Publish with OBS Studio
  Settings > Stream
  Service            Custom...
  Server             rtmp://192.168.1.20/live
  Stream Key         demo?key={KEY}
  Settings > Output > Streaming (Output Mode: Advanced)
  Keyframe interval  2 s
  On this machine rtmp://localhost/live with the key demo will do.

Watch                http://192.168.1.20:8080/play/live/demo
Dashboard            http://192.168.1.20:8080/
Sign in with         {TOKEN}

The publish key and the API token are shown this once; write them down.
"""
    )


def test_a_later_run_cannot_show_the_secrets_and_says_where_they_are() -> None:
    shown = words(LATER_RUN)
    assert "Stream Key demo?key=<your publish key>" in shown
    assert "Sign in with the API token of the first run" in shown
    assert "The publish key was shown at the first run. If it is lost" in shown
    assert "this once" not in shown


def test_without_a_durable_storage_the_secrets_hold_for_this_run() -> None:
    shown = words(replace(FIRST_RUN, durable=False))
    assert "The publish key and the API token will be others at the next start." in shown


def test_a_single_generated_secret_is_named_alone() -> None:
    shown = words(replace(FIRST_RUN, publish_key=None))
    assert "The API token is shown this once" in shown


def test_open_publishing_needs_no_key_and_is_warned_of() -> None:
    shown = words(replace(LATER_RUN, key_needed=False))
    assert "Stream Key demo\n" in shown
    assert "Anyone who reaches this server can publish" in shown
    assert "publish key" not in shown


def test_configured_keys_are_needed_on_this_machine_too() -> None:
    shown = words(replace(LATER_RUN, local_key_needed=True, token_configured=True))
    assert "Stream Key demo?key=<your publish key>" in shown
    assert "On this machine" not in shown
    assert "Sign in with [auth] api_token" in shown
    assert "first run" not in shown


def test_behind_a_trusted_proxy_this_machine_has_no_privilege_to_speak_of() -> None:
    shown = words(replace(LATER_RUN, behind_proxy=True))
    assert "Stream Key demo?key=<your publish key>" in shown
    assert "On this machine" not in shown
    assert "The publish key was shown at the first run. If it is lost" in shown


def test_the_demonstration_leaves_its_name_to_itself() -> None:
    shown = words(replace(FIRST_RUN, demo=True, app="studio"))
    assert f"Stream Key camera?key={KEY}" in shown
    assert "Watch http://192.168.1.20:8080/play/live/demo" in shown


def test_the_configured_app_and_public_url_are_used() -> None:
    shown = words(replace(FIRST_RUN, app="studio", public_url="https://live.example.org/video"))
    assert "Server rtmp://192.168.1.20/studio" in shown
    assert "Watch https://live.example.org/video/play/studio/demo" in shown


def test_a_server_for_this_machine_alone_says_so() -> None:
    listeners = [replace(each, host="127.0.0.1") for each in LISTENERS]
    shown = words(replace(FIRST_RUN, listeners=listeners))
    assert "Server rtmp://127.0.0.1/live" in shown
    assert "All ports are open to this machine only." in shown


def test_https_is_the_way_in_where_there_is_no_http() -> None:
    listeners = [Listening("HTTPS", "https", "", 8443, "/video")]
    shown = words(replace(FIRST_RUN, listeners=listeners))
    assert "Dashboard https://192.168.1.20:8443/video/" in shown
    assert "OBS" not in shown


def test_there_is_no_escape_sequence_unless_asked_for() -> None:
    assert "\x1b" not in banner(FIRST_RUN)
    assert banner(FIRST_RUN, color=True).startswith("\x1b[1mstreamserver 1.2.3\x1b[0m\n")


def test_the_repr_of_what_it_is_made_of_shows_no_secret() -> None:
    assert KEY not in repr(FIRST_RUN)
    assert TOKEN not in repr(FIRST_RUN)
