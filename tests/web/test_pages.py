import gzip
import hashlib
import re
import tomllib
from html.parser import HTMLParser
from importlib.resources import files
from posixpath import normpath
from urllib.parse import urljoin, urlsplit

import pytest

from streamserver.web.pages import HLS_JS, PageKind, Pages

PAGES = Pages()
PATHS = {
    PageKind.DASHBOARD: "",
    PageKind.PLAY: "play/live/demo",
    PageKind.PUBLISH: "publish/live/demo",
    PageKind.EMBED: "embed/live/demo",
    PageKind.DOCS: "api/v1/docs",
}
SCRIPTS = {
    PageKind.DASHBOARD: [
        "dashboard.js",
        "publish-recipes.js",
        "dialogs.js",
        "registered.js",
        "viewer-list.js",
        "event-list.js",
    ],
    PageKind.PLAY: ["play.js", "stage.js", "destinations.js"],
    PageKind.PUBLISH: ["publish.js"],
    PageKind.EMBED: ["embed.js", "stage.js"],
    PageKind.DOCS: ["docs.js"],
}
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Document(HTMLParser):
    """What a page consists of, as far as these tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fields: set[str] = set()
        self.references: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.inline: list[str] = []
        self.labels: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            self.attributes.append((name, value or ""))
            if name == "id":
                self.ids.append(value or "")
            if name == "data-field":
                self.fields.add(value or "")
            if name in ("src", "href"):
                self.references.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style") and data.strip():
            self.inline.append(data)


def document(kind: PageKind) -> Document:
    return Document(PAGES.page(kind).body.decode())


def own_sources(folder: str) -> dict[str, str]:
    root = files("streamserver.web") / "static" / folder
    return {entry.name: entry.read_text() for entry in root.iterdir()}


@pytest.mark.parametrize("kind", PageKind)
def test_the_policy_allows_nothing_inline_and_nobody_else(kind):
    policy = PAGES.page(kind).headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert "unsafe" not in policy
    assert rules["default-src"] == rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["connect-src"] == rules["form-action"] == "'self'"
    assert rules["base-uri"] == rules["object-src"] == "'none'"
    assert rules["media-src"] == rules["worker-src"] == "'self' blob:"
    assert rules["frame-ancestors"] == ("*" if kind is PageKind.EMBED else "'self'")


def test_who_may_frame_the_embedded_player_is_a_setting():
    pages = Pages(embed_ancestors="https://club.example")
    policy = pages.page(PageKind.EMBED).headers["Content-Security-Policy"]
    assert policy.endswith("frame-ancestors https://club.example")
    assert "club" not in pages.page(PageKind.PLAY).headers["Content-Security-Policy"]


@pytest.mark.parametrize("told", ["", ":8443", "https://media.example/x", '"><script>'])
def test_the_page_that_publishes_knows_where_https_is(told):
    page = Document(Pages(https=told).page(PageKind.PUBLISH).body.decode())
    assert ("data-https", told) in page.attributes
    assert page.inline == []


@pytest.mark.parametrize("kind", PageKind)
def test_pages_have_no_inline_script_style_or_handler(kind):
    page = document(kind)
    assert page.inline == []
    assert page.open == [], "every element is closed"
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name != "style"
        assert not value.strip().lower().startswith("javascript:")


@pytest.mark.parametrize("kind", PageKind)
def test_ids_are_unique(kind):
    ids = document(kind).ids
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("prefix", ["/", "/some/prefix/"])
@pytest.mark.parametrize("kind", PageKind)
def test_every_reference_of_a_page_is_found_below_any_prefix(kind, prefix):
    for reference in document(kind).references:
        if reference.startswith("#"):
            continue
        path = urlsplit(urljoin(f"http://host{prefix}{PATHS[kind]}", reference)).path
        assert path.startswith(prefix)
        assert PAGES.find(path.removeprefix(prefix)) is not None, reference


def test_every_import_of_a_script_is_found():
    for name, text in own_sources("js").items():
        for target in re.findall(r'from "([^"]+)"', text):
            path = normpath(f"{PAGES.version}/js/{target}")
            assert PAGES.asset(path) is not None, f"{name} imports {target}"


@pytest.mark.parametrize("kind", PageKind)
def test_every_element_that_a_script_asks_for_is_on_its_page(kind):
    sources = own_sources("js")
    asked = {i for name in SCRIPTS[kind] for i in re.findall(r'byId\("([^"]+)"\)', sources[name])}
    assert asked
    assert asked <= set(document(kind).ids)


def test_every_field_of_a_card_is_in_its_template():
    text = own_sources("js")["card.js"]
    asked = set(re.findall(r"(?:\bf|#fields)\.(\w+)", text)) | set(
        re.findall(r'#fields\["([^"]+)"\]', text)
    )
    assert asked <= document(PageKind.DASHBOARD).fields


@pytest.mark.parametrize("folder", ["js", "css"])
def test_our_files_name_no_other_host_and_no_root(folder):
    for name, text in own_sources(folder).items():
        assert not re.search(r"https?:|[\"'(]//", text), name
        assert not re.search(r"[\"'`(]/(api|hls|whip|whep|play|publish|embed|assets)\b", text), name


def test_text_reaches_the_document_only_as_text():
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    )
    for name, text in own_sources("js").items():
        assert not re.search(forbidden, text), name


@pytest.mark.parametrize("kind", PageKind)
def test_pages_are_asked_for_each_time_and_their_assets_never_again(kind):
    page = PAGES.find(PATHS[kind])
    assert page is PAGES.page(kind)
    assert page.cache_control == "no-cache"
    assert page.content_type == "text/html; charset=utf-8"
    assert b"{{" not in page.body
    for path in PAGES.paths():
        asset = PAGES.asset(path)
        assert asset is not None
        assert ("immutable" in asset.cache_control) == path.startswith(f"{PAGES.version}/")
        assert asset.headers["X-Content-Type-Options"] == "nosniff"
        assert asset.content_type != "application/octet-stream"


def test_compressed_bodies_hold_the_same():
    for path in PAGES.paths():
        asset = PAGES.asset(path)
        assert asset is not None
        if asset.gzip_body is not None:
            assert len(asset.gzip_body) < len(asset.body)
            assert gzip.decompress(asset.gzip_body) == asset.body
    script = PAGES.find(f"assets/{PAGES.version}/vendor/hls.js-1.7.4/hls.light.min.js")
    assert script is not None
    assert script.gzip_body is not None


def test_the_same_files_give_the_same_names_and_tags():
    again = Pages()
    assert again.version == PAGES.version
    assert list(again.paths()) == list(PAGES.paths())
    assert again.page(PageKind.PLAY) == PAGES.page(PageKind.PLAY)


@pytest.mark.parametrize(
    "path",
    [
        "index.html", "play", "play/", "play/live", "play/live/", "play/live/demo/",
        "play/live/demo/x", "play//demo", "play/../demo", "play/live/..", "play/api/x",
        "play/live/a b", "embed/live/\x00", "embed/live/é", "assets", "assets/",
        "assets/dashboard.html",
        f"assets/{PAGES.version}", f"assets/{PAGES.version}/",
        f"assets/{PAGES.version}/../pages.py",
        f"assets/{PAGES.version}/dashboard.html", "assets/000000000000/css/base.css",
        f"{PAGES.version}/css/base.css", "vendor/VENDOR.toml", "/etc/passwd", "//", "favicon.ico/x",
    ],
)  # fmt: skip
def test_any_other_path_is_nothing(path):
    assert PAGES.find(path) is None


def test_renditions_and_the_icon_of_every_browser_are_found():
    assert PAGES.find("play/live/demo@720p") is PAGES.page(PageKind.PLAY)
    icon = PAGES.find("favicon.ico")
    assert icon is not None
    assert icon.content_type == "image/svg+xml"


def test_what_is_not_ours_is_what_its_makers_published_and_brings_its_licence():
    vendor = files("streamserver.web") / "vendor"
    packages = tomllib.loads((vendor / "VENDOR.toml").read_text())["package"]
    listed = set()
    for package in packages:
        folder = vendor / package["folder"]
        assert package["license"]
        assert "LICENSE" in package["files"]
        for name, digest in package["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            listed.add(f"{package['folder']}/{name}")
    there = {f"{folder.name}/{entry.name}" for folder in vendor.iterdir() if folder.is_dir()
             for entry in folder.iterdir()}  # fmt: skip
    assert there == listed


def test_other_sites_find_our_hls_js_under_a_name_that_never_changes() -> None:
    stable = PAGES.asset("hls.js")
    versioned = PAGES.asset(f"{PAGES.version}/{HLS_JS}")
    assert versioned is not None
    assert stable is not None
    assert stable.cache_control == "no-cache"
    assert stable.content_type == "text/javascript; charset=utf-8"
    assert stable.body == versioned.body
