import pytest

from streamserver.cli.arguments import COMMANDS, Options, parse


def test_no_argument_means_serve() -> None:
    assert parse([]) == Options(command="serve")


def test_options_without_a_command_belong_to_serve() -> None:
    assert parse(["--config", "a.toml", "--open", "--tls-self-signed"]) == Options(
        config="a.toml", open_browser=True, tls_self_signed=True
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "a", "--set", "x.y=1", "--set", "x.z=a=b", "demo"],
        ["demo", "--config", "a", "--set", "x.y=1", "--set", "x.z=a=b"],
        ["--set", "x.y=1", "demo", "--config", "a", "--set", "x.z=a=b"],
    ],
)
def test_options_may_stand_before_and_behind_the_command(words: list[str]) -> None:
    assert parse(words) == Options(command="demo", config="a", overrides=("x.y=1", "x.z=a=b"))


def test_the_log_level_is_an_override_of_its_key() -> None:
    assert parse(["--log-level", "debug"]).overrides == ("log.level=debug",)


def test_version_can_be_json() -> None:
    assert parse(["version", "--json"]).json


@pytest.mark.parametrize(
    "words",
    [
        ["serv"],
        ["--prot", "1"],
        ["--conf", "a"],
        ["--log-level", "loud"],
        ["version", "--open"],
        ["check", "--tls-self-signed"],
        ["--set"],
    ],
)
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(words)
    assert caught.value.code == 2
    assert "usage: streamserver" in capsys.readouterr().err


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)
    assert "78 the configuration is at fault" in " ".join(shown.split())
