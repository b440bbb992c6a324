"""Texts that our API takes where JSON Schema has no words for them. Read by schemathesis."""

import re
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st

_HOST = st.from_regex(r"\A[a-z]{1,12}\.example\Z")
_WORD = st.from_regex(r"\A[a-z0-9]{1,12}\Z")

schemathesis.openapi.format(
    "rtmp-url",
    st.builds("{}://{}/{}/{}".format, st.sampled_from(["rtmp", "rtmps"]), _HOST, _WORD, _WORD),
)
schemathesis.openapi.format(
    "http-url", st.builds("{}://{}/{}".format, st.sampled_from(["http", "https"]), _HOST, _WORD)
)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Takes a fresh key where one is valid: an answer given again tells what is no longer."""
    headers = case.headers or {}
    for name, value in list(headers.items()):
        if name.lower() == "idempotency-key" and re.fullmatch(r"[!-~]{1,255}", str(value)):
            headers[name] = str(uuid.uuid4())
