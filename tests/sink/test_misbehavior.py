import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import ConfigError
from streamserver.sink import Fault, Misbehavior


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("none", Misbehavior()),
        ("refuse", Misbehavior(fault=Fault.REFUSE)),
        ("silent", Misbehavior(fault=Fault.SILENT)),
        ("drop", Misbehavior(fault=Fault.DROP, after_s=10)),
        ("drop:250ms", Misbehavior(fault=Fault.DROP, after_s=0.25)),
        ("drop:2m", Misbehavior(fault=Fault.DROP, after_s=120)),
        ("slow", Misbehavior(fault=Fault.SLOW, bits_per_s=500_000)),
        ("slow:80k", Misbehavior(fault=Fault.SLOW, bits_per_s=80_000)),
        ("slow:1.5M", Misbehavior(fault=Fault.SLOW, bits_per_s=1_500_000)),
        ("reject:not: you", Misbehavior(fault=Fault.REJECT, sentence="not: you")),
        ("close-each", Misbehavior(fault=Fault.CLOSE_EACH)),
        ("close-each:3", Misbehavior(fault=Fault.CLOSE_EACH, message=3)),
        ("tls-bad", Misbehavior(fault=Fault.TLS_BAD)),
        ("tls-bad:name", Misbehavior(fault=Fault.TLS_BAD)),
        ("tls-bad:expired", Misbehavior(fault=Fault.TLS_BAD, expired=True)),
    ],
)
def test_words_are_read(text: str, meant: Misbehavior) -> None:
    assert Misbehavior.parse(text) == meant


def test_a_rejection_says_something_also_where_no_sentence_was_given() -> None:
    assert "refuse" in Misbehavior.parse("reject").sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("explode", "there are none, refuse, silent"),
        ("", "there are"),
        ("drop:", "measure"),
        ("drop:ten", "such as 10s; units: ms s m"),
        ("drop:-1s", "such as 10s"),
        ("slow:500K", "such as 500k; units: k M"),
        ("slow:1", "at least 1000"),
        ("stall:5s", "stall has no measure"),
        ("close-each:0", "number of a message"),
        ("close-each:²", "number of a message"),
        ("tls-bad:ugly", "tls-bad:expired"),
    ],
)
def test_what_is_none_is_refused_with_what_there_is(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Misbehavior.parse(text)


@given(
    st.one_of(st.text(max_size=20), st.builds("{}:{}".format, st.sampled_from(Fault), st.text()))
)
def test_any_text_is_a_misbehavior_or_a_fault_of_the_caller(text: str) -> None:
    try:
        found = Misbehavior.parse(text)
    except ConfigError:
        return
    assert text.startswith(found.fault)
