import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.outputs.hls.directives import NO_DIRECTIVE, parse_directives


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", (NO_DIRECTIVE, NO_DIRECTIVE)),
        (b"_HLS_msn=12", (12, NO_DIRECTIVE)),
        (b"_HLS_msn=12&_HLS_part=3", (12, 3)),
        (b"_HLS_part=3&_HLS_msn=12", (12, 3)),
        (b"_HLS_msn=12&_HLS_part=3&_HLS_skip=YES", (12, 3)),
        (b"_HLS_skip=v2", (NO_DIRECTIVE, NO_DIRECTIVE)),
        (b"token=x%20y&_HLS_msn=7", (7, NO_DIRECTIVE)),
        (b"&&&=&a", (NO_DIRECTIVE, NO_DIRECTIVE)),
    ],
)
def test_directives_are_found_among_other_parameters(query, expected):
    assert parse_directives(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        b"_HLS_part=3",
        b"_HLS_msn=",
        b"_HLS_msn",
        b"_HLS_msn=-1",
        b"_HLS_msn=1.5",
        b"_HLS_msn=abc",
        b"_HLS_msn=1e3",
        b"_HLS_msn= 1",
        b"_HLS_msn=1&_HLS_msn=2",
        b"_HLS_msn=1&_HLS_part=",
        b"_HLS_msn=1&_HLS_part=x",
        b"_HLS_msn=" + b"9" * 19,
        b"_HLS_msn=1&_HLS_part=" + b"9" * 5000,
        "_HLS_msn=\N{ARABIC-INDIC DIGIT ONE}".encode(),
    ],
)
def test_directives_that_make_no_sense_are_refused(query):
    with pytest.raises(RemoteProtocolError):
        parse_directives(query)


@given(
    st.lists(
        st.sampled_from([b"_HLS_msn", b"_HLS_part", b"=", b"&", b"1", b"-", b"%", b"\xff", b"\0"]),
        max_size=12,
    )
)
def test_any_query_gives_numbers_or_the_one_error(pieces):
    try:
        msn, part = parse_directives(b"".join(pieces))
    except RemoteProtocolError:
        return
    assert msn >= NO_DIRECTIVE
    assert part >= NO_DIRECTIVE
    assert part == NO_DIRECTIVE or msn != NO_DIRECTIVE
