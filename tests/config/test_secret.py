from streamserver.config import Secret


def test_no_rendering_shows_it() -> None:
    secret = Secret("hunter22")
    assert {repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s" % secret} == {  # noqa: UP031 - a rendering
        "Secret('***')",
        "***",
    }


def test_it_compares_by_its_text_and_only_with_its_like() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("ä")) == hash(Secret("ä"))


def test_an_empty_one_is_false_and_shows_that_it_is_empty() -> None:
    assert not Secret("")
    assert repr(Secret("")) == "Secret('')"
    assert str(Secret("")) == ""
