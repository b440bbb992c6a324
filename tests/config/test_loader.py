import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from streamserver.config import (
    Config,
    InvalidConfigError,
    KeyAction,
    LogLevel,
    Secret,
    SourceKind,
    load,
)
from streamserver.errors import ConfigError


def write(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text, "utf-8")
    return path


def faults_of(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        load(path, environ=environ, overrides=overrides, directory=Path("/nowhere"))
    return str(caught.value).splitlines()


def test_without_a_file_every_key_has_its_default(tmp_path: Path) -> None:
    loaded = load(directory=tmp_path)
    assert loaded.config == Config()
    assert loaded.file is None
    assert {source.kind for _, _, source in loaded.items()} == {SourceKind.DEFAULT}


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = write(tmp_path, "[rtmp]\nport = 1\ntls_port = 2\nchunk_size = 4096\n")
    loaded = load(
        path,
        environ={"STREAMSERVER_RTMP__PORT": "3", "STREAMSERVER_RTMP__TLS_PORT": "4"},
        overrides=["rtmp.port=5"],
    )
    rtmp = loaded.config.rtmp
    assert (rtmp.port, rtmp.tls_port, rtmp.chunk_size, rtmp.setup_timeout_s) == (5, 4, 4096, 10)
    assert [
        loaded.source(f"rtmp.{key}").kind.value
        for key in ("port", "tls_port", "chunk_size", "setup_timeout_s")
    ] == ["flag", "environment", "file", "default"]
    assert str(loaded.source("rtmp.chunk_size")) == f"{path}:4"
    assert str(loaded.source("rtmp.tls_port")) == "STREAMSERVER_RTMP__TLS_PORT"


def test_config_toml_in_the_directory_is_read_unless_another_is_named(tmp_path: Path) -> None:
    write(tmp_path, "[http]\nport = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[http]\nport = 2\n")
    named = tmp_path / "named.toml"
    named.write_text("[http]\nport = 3\n")
    environ = {"STREAMSERVER_CONFIG": str(other)}
    assert load(directory=tmp_path).config.http.port == 1
    assert load(directory=tmp_path, environ=environ).config.http.port == 2
    assert load(named, directory=tmp_path, environ=environ).config.http.port == 3


def test_a_named_file_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "no.toml"
    assert faults_of(path) == [f"{path}: cannot be read: No such file or directory"]


def test_an_unknown_key_is_told_with_file_line_and_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, "[rtmp]\n\nprot = 1935\n")
    assert faults_of(path) == [f"{path}:3: rtmp.prot: unknown key; did you mean rtmp.port?"]


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(tmp_path: Path) -> None:
    path = write(tmp_path, "[hls]\ntrusted_proxies = []\n")
    assert faults_of(path)[0].endswith("unknown key; did you mean http.trusted_proxies?")


def test_an_unknown_section_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "[rtpm]\nport = 1\n")
    assert faults_of(path) == [f"{path}:1: rtpm: unknown key; did you mean rtmp?"]


def test_a_wrong_type_is_told_with_line_and_key(tmp_path: Path) -> None:
    path = write(tmp_path, '[http]\nport = "80"\n')
    assert faults_of(path) == [f"{path}:2: http.port: expected int, got str"]


def test_a_value_where_a_section_belongs_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "rtmp = 1935\n")
    found = faults_of(path, {"STREAMSERVER_RTMP__PORT": "1"})
    assert found == [f"{path}:1: rtmp: expected a table of keys"]


def test_all_faults_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[rtmp]\nport = 70000\nprot = 1\n[log]\nlevel = 'loud'\n"
        "[http]\ncert_file = 'x'\ntrusted_proxies = ['10.0.0.0/8', 'example.org']\n",
    )
    assert [fault.removeprefix(f"{path}:").split(": ")[:2] for fault in faults_of(path)] == [
        ["2", "rtmp.port"],
        ["3", "rtmp.prot"],
        ["5", "log.level"],
        ["7", "http.cert_file"],
        ["8", "http.trusted_proxies[1]"],
    ]


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "[rtmp]\nport = \n")
    assert faults_of(path) == [f"{path}:2: Invalid value"]


def test_a_syntax_error_at_the_end_names_the_last_line(tmp_path: Path) -> None:
    path = write(tmp_path, "[rtmp]\nport = 1\nhost")
    assert faults_of(path)[0].startswith(f"{path}:3: ")


def test_a_file_that_is_not_utf_8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"[rtmp]\n# \xff\n")
    assert faults_of(path) == [f"{path}:2: is not UTF-8"]


def test_a_byte_order_mark_and_crlf_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[rtmp]\r\nport = 5\r\n")
    loaded = load(path)
    assert loaded.config.rtmp.port == 5
    assert loaded.source("rtmp.port").line == 2


def test_text_from_the_environment_takes_the_type_of_its_key() -> None:
    config = load(
        environ={
            "STREAMSERVER_AUTH__ANONYMOUS_PUBLISH": "true",
            "STREAMSERVER_HLS__SESSIONS": "0",
            "STREAMSERVER_SERVER__DRAIN_TIMEOUT_S": "0.5",
            "STREAMSERVER_LOG__LEVEL": "debug",
            "STREAMSERVER_SERVER__APPS": "live, studio",
            "STREAMSERVER_HTTP__TRUSTED_PROXIES": '["10.0.0.0/8", "::1"]',
            "STREAMSERVER_HTTP__HOST": "127.0.0.1",
            "HOME": "/root",
        },
        directory=Path("/nowhere"),
    ).config
    assert config.auth.anonymous_publish
    assert not config.hls.sessions
    assert config.server.drain_timeout_s == 0.5
    assert config.log.level is LogLevel.DEBUG
    assert config.server.apps == ("live", "studio")
    assert config.http.trusted_proxies == ("10.0.0.0/8", "::1")
    assert config.http.host == "127.0.0.1"


def test_keys_come_from_a_file_from_a_flag_and_from_the_environment(tmp_path: Path) -> None:
    text = '[{ app = "live", key = "0123456789", actions = ["publish", "play"] }]'
    table = '[[auth.keys]]\napp = "live"\nkey = "0123456789"\nactions = ["publish", "play"]\n'
    for loaded in (
        load(write(tmp_path, table)),
        load(overrides=[f"auth.keys={text}"], directory=Path("/nowhere")),
        load(environ={"STREAMSERVER_AUTH__KEYS": text}, directory=Path("/nowhere")),
    ):
        (key,) = loaded.config.auth.keys
        assert (key.app, key.name, key.key) == ("live", "*", Secret("0123456789"))
        assert key.actions == (KeyAction.PUBLISH, KeyAction.PLAY)


def test_faults_of_keys_name_the_line_of_each(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[auth]\nkeys = [\n{ key = "short" },\n{ key = "short", app = "/" },\n]\n'
    )
    assert faults_of(path) == [
        f"{path}:3: auth.keys[0].key: is shorter than 8 characters",
        f"{path}:4: auth.keys[1].app: is no name, and no name with * in it",
        f"{path}:4: auth.keys[1].key: is shorter than 8 characters",
    ]


def test_a_key_without_its_secret_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, '[[auth.keys]]\napp = "a"\n[[auth.keys]]\nkye = "0123456789"\n')
    empty = "is empty: give a key, or the addresses (ips) that need none"
    assert faults_of(path) == [
        f"{path}:1: auth.keys[0].key: {empty}",
        f"{path}:3: auth.keys[1].key: {empty}",
        f"{path}:4: auth.keys[1].kye: unknown key; did you mean auth.keys[1].key?",
    ]


def test_a_secret_is_read_from_the_file_that_a_variable_names(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    environ = {"STREAMSERVER_AUTH__API_TOKEN_FILE": str(file)}
    loaded = load(environ=environ, directory=Path("/nowhere"))
    assert loaded.config.auth.api_token.reveal() == "0123456789abcdef"
    assert str(loaded.source("auth.api_token")) == "STREAMSERVER_AUTH__API_TOKEN_FILE"
    file.unlink()
    assert faults_of(environ=environ) == [
        f"STREAMSERVER_AUTH__API_TOKEN_FILE: auth.api_token: {file} cannot be read: "
        "No such file or directory"
    ]


def test_a_key_whose_name_ends_in_file_is_a_key_of_its_own() -> None:
    environ = {"STREAMSERVER_HTTP__CERT_FILE": "a.pem", "STREAMSERVER_HTTP__KEY_FILE": "b.pem"}
    assert load(environ=environ, directory=Path("/nowhere")).config.http.cert_file == "a.pem"


def test_a_variable_that_kubernetes_sets_for_a_service_of_our_name_is_ignored() -> None:
    loaded = load(
        environ={
            "STREAMSERVER_PORT": "tcp://10.0.0.1:80",
            "STREAMSERVER_SERVICE_HOST": "10.0.0.1",
            "STREAMSERVER_RTMP_PORT": "tcp://10.0.0.1:1935",
        },
        directory=Path("/nowhere"),
    )
    assert loaded.config == Config()
    assert loaded.warnings == ()


def test_a_variable_with_one_underscore_too_few_is_warned_of() -> None:
    loaded = load(environ={"STREAMSERVER_RTMP_PORT": "1936"}, directory=Path("/nowhere"))
    assert loaded.config.rtmp.port == 1935
    assert loaded.warnings == (
        "STREAMSERVER_RTMP_PORT sets nothing; did you mean STREAMSERVER_RTMP__PORT?",
    )


def test_an_unknown_variable_or_flag_is_a_fault() -> None:
    found = faults_of(environ={"STREAMSERVER_RTMP__PROT": "1"}, overrides=["http.prot=1", "x"])
    assert found == [
        "--set: is written --set section.key=value",
        "--set: http.prot: unknown key; did you mean http.port?",
        "STREAMSERVER_RTMP__PROT: rtmp.prot: unknown key; did you mean rtmp.port?",
    ]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("http.base_path=video", "http.base_path"),
        ("http.base_path=/video/", "http.base_path"),
        ("http.public_url=live.example.org", "http.public_url"),
        ("http.public_url=https://x.org/", "http.public_url"),
        ("http.cors_origins=https://a.org/path", "http.cors_origins[0]"),
        ("http.port=1935", "http.port"),
        ("rtmp.proxy_protocol=true", "rtmp.proxy_protocol"),
        ("server.apps=api", "server.apps[0]"),
        ("server.apps=../x", "server.apps[0]"),
        ("auth.api_token=short", "auth.api_token"),
        ('auth.keys=[{key="sha256:abc"}]', "auth.keys[0].key"),
        ('auth.keys=[{key="scrypt:31:8:1:0011223344556677:00"}]', "auth.keys[0].key"),
        ('auth.keys=[{key="0123456789", name="a/b"}]', "auth.keys[0].name"),
        ('auth.keys=[{key="0123456789", actions=[]}]', "auth.keys[0].actions"),
        ("hls.target_duration_s=1", "hls.target_duration_s"),
        ("hls.window_s=5", "hls.window_s"),
        ("limits.max_stream_memory_bytes=40000000", "limits.max_stream_memory_bytes"),
        ("limits.log_max_bytes=1048576", "limits.log_max_bytes"),
        ("limits.max_publishers=0", "limits.max_publishers"),
        ("rtmp.idle_timeout_s=inf", "rtmp.idle_timeout_s"),
        ("rtmp.idle_timeout_s=nan", "rtmp.idle_timeout_s"),
    ],
)
def test_a_value_that_breaks_a_rule_is_a_fault_of_its_key(override: str, key: str) -> None:
    (fault,) = faults_of(overrides=[override])
    assert fault.startswith(f"--set: {key}: ")


@pytest.mark.parametrize(
    "override",
    [
        "http.base_path=/video/live",
        "http.public_url=https://x.org:8443/live",
        "http.cors_origins=https://a.org, http://b.org:81",
        "http.port=0",
        'auth.keys=[{key="sha256:' + "0" * 64 + '", name="cam-*"}]',
        "http.port=8443",
    ],
)
def test_a_value_within_the_rules_is_taken(override: str) -> None:
    load(overrides=[override], directory=Path("/nowhere"))


def test_one_port_on_two_addresses_is_no_clash() -> None:
    load(
        overrides=["rtmp.host=10.0.0.1", "http.host=10.0.0.2", "http.port=1935"],
        directory=Path("/nowhere"),
    )


@pytest.mark.parametrize(
    "override",
    ["auth.api_token=s3cr3t", 'auth.keys=[{key="s3cr3t"}]', 'auth.keys=[{key=["s3cr3t"]}]'],
)
def test_no_fault_shows_a_secret(override: str) -> None:
    assert "s3cr3t" not in "".join(faults_of(overrides=[override]))


def test_no_rendering_of_a_configuration_shows_a_secret() -> None:
    loaded = load(
        overrides=["auth.api_token=0123456789abcdef", 'auth.keys=[{key="fedcba9876543210"}]'],
        directory=Path("/nowhere"),
    )
    shown = f"{loaded!r} {loaded.config} {list(loaded.items())}"
    assert "0123456789abcdef" not in shown
    assert "fedcba9876543210" not in shown
    assert "***" in shown
    assert loaded.secrets() == ("0123456789abcdef", "fedcba9876543210")


def test_the_error_is_the_one_that_ends_with_exit_code_78() -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=["rtmp.prot=1"])
    assert caught.value.exit_code == 78


def test_streams_have_sources_under_names_that_the_file_chooses(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[streams."live/far"]\nsource = "rtmp://far.example/live/secretkey?x=secretquery"\n'
        '[streams."live/rare"]\nsource = "rtmps://far.example/live/b"\nsource_on_demand = true\n'
    )
    loaded = load(environ={}, directory=tmp_path)
    streams = loaded.config.streams
    assert list(streams) == ["live/far", "live/rare"]
    assert streams["live/far"].source.reveal().startswith("rtmp://far.example/")
    assert [one.source_on_demand for one in streams.values()] == [False, True]
    assert {"secretkey", "x=secretquery"} <= set(loaded.secrets())
    assert "secretkey" not in repr(loaded)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[streams."live/far"]\n', "streams.live/far.source: is missing"),
        ('[streams."live/far"]\nsauce = "rtmp://h/a/b"\n', "did you mean"),
        (
            '[streams."live/far"]\nsource = "file:///etc/passwd"\n',
            "begins with none of rtmp, rtmps",
        ),
        ('[streams."a/b/c"]\nsource = "rtmp://h/a/b"\n', "more than two segments"),
        ("streams = 3\n", "expected a table"),
        ('[streams]\n"live/far" = 3\n', "expected a table"),
    ],
)
def test_a_source_that_is_none_is_a_fault_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InvalidConfigError, match=re.escape(said)) as caught:
        load(environ={}, directory=tmp_path)
    assert caught.value.faults[0].source.line in (1, 2)


def test_srt_wants_an_ffmpeg_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[streams."live/far"]\nsource = "srt://h:9000?passphrase=very-secret"\n'
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert "live/far" in load(environ={}, directory=tmp_path).config.streams
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InvalidConfigError, match="apt install ffmpeg") as caught:
        load(environ={}, directory=tmp_path)
    assert "very-secret" not in str(caught.value)
