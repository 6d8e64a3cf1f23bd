"""Page sizes that are coerced, tokens that cannot be made up, and the key that signs them."""

import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigurationError, InvalidRequestError
from shared.paging import PageTokens, page_size, page_token_key, single_values

QUERY = {"model": "digits", "order": "desc"}
TOKENS = PageTokens(b"a key for these tests")
POSITION = ["2026-11-22T10:00:00.000001+00:00", "abcdefghijklmnopqrstuvwxyz"]


def refused(token, query=QUERY):
    """Whether a token is refused for the one reason there is."""
    with pytest.raises(InvalidRequestError) as caught:
        TOKENS.decode(query, token)
    return caught.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *((None, 50), ("", 50), ("0", 50), ("000", 50), ("1", 1), ("50", 50), ("500", 500), ("501", 500)),
        *(("1000000000", 500), ("0000000000007", 7), ("9" * 5000, 500)),
    ],
)
def test_a_page_size_is_coerced(text, size):
    """As AIP-158 has it: 0 is the default, too many is the most there is."""
    assert page_size(text) == size


@pytest.mark.parametrize("text", ["-1", "1e9", "abc", "²", "٣", "1.0", " 1", "+1", "1_0", "0x10"])
def test_a_page_size_is_a_whole_number(text):
    """Nothing else that Python would take for one."""
    with pytest.raises(InvalidRequestError) as caught:
        page_size(text)

    assert caught.value.reason == "INVALID_PAGE_SIZE"


@settings(deadline=None)
@given(st.lists(st.text(max_size=40) | st.integers(), max_size=3), st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_token_gives_its_position_back_to_its_query(position, query):
    """Whatever the query and the position hold."""
    token = TOKENS.encode(query, position)

    assert TOKENS.decode(query, token) == position
    assert token.isascii()
    assert not set(token) & set("+/=&? ")


def test_a_token_changed_anywhere_is_refused():
    """Every character, against several others, the look-alikes of Base64 among them."""
    token = TOKENS.encode(QUERY, POSITION)

    for at, character in enumerate(token):
        for other in {*"AQgwBZ_-+/= \n\0é", chr(ord(character) ^ 1), chr(ord(character) + 1)} - {character}:
            assert refused(token[:at] + other + token[at + 1 :])


def test_a_token_cut_or_lengthened_is_refused():
    """At every length."""
    token = TOKENS.encode(QUERY, POSITION)

    for length in range(1, len(token)):
        assert refused(token[:length])
        assert refused(token[length:])
    for more in ("=", "==", "A", "AAAA", "\n", " "):
        assert refused(token + more)
        assert refused(more + token)


def test_a_token_has_one_spelling():
    """The standard alphabet says the same bytes, and is not taken."""
    for number in range(1000):
        query = {"n": number}
        token = TOKENS.encode(query, [1])
        if "-" in token and "_" in token:
            break

    assert TOKENS.decode(query, token) == [1]
    for other in (token.replace("-", "+"), token.replace("_", "/"), token + "=" * (-len(token) % 4)):
        assert refused(other, query)


@pytest.mark.parametrize("token", ["", "A", "=", "null", "x" * 1_000_000, "ü", "\ud800", "A" * 22, "A" * 1024])
def test_what_is_no_token_is_refused(token):
    """Quickly, and without a trace of how it failed."""
    assert refused(token)


def test_a_token_belongs_to_its_query_and_its_key():
    """A page of one question does not continue another."""
    token = TOKENS.encode(QUERY, POSITION)

    assert refused(token, {**QUERY, "order": "asc"})
    assert refused(token, {})
    assert refused(PageTokens(b"another key").encode(QUERY, POSITION))


def test_a_query_parameter_is_known_and_given_once():
    """An unknown or repeated one is refused and not ignored."""
    assert single_values({"a": ["1"], "label.x": ["y"]}, ("a",), prefix="label.") == {"a": "1", "label.x": "y"}
    for query, reason in (({"b": ["1"]}, "UNKNOWN_PARAMETER"), ({"a": ["1", "2"]}, "REPEATED_PARAMETER")):
        with pytest.raises(InvalidRequestError) as caught:
            single_values(query, ("a",))
        assert caught.value.reason == reason


def test_functions_that_start_at_once_agree_on_one_key(state_dir):
    """The key is made once, and only its owner can read it."""
    together = threading.Barrier(8)

    def start(_):
        together.wait()
        return page_token_key(None, state_dir, in_cloud=False)

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(start, range(8)))

    (path,) = state_dir.iterdir()
    assert keys == {path.read_bytes()}
    assert len(path.read_bytes()) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert page_token_key(None, state_dir, in_cloud=False) == path.read_bytes()


def test_a_given_key_is_used_and_none_is_made(state_dir):
    """PAGE_TOKEN_KEY stands before the file."""
    assert page_token_key(b"given", state_dir, in_cloud=False) == b"given"
    assert page_token_key(b"given", state_dir, in_cloud=True) == b"given"
    assert not state_dir.exists()


def test_in_the_cloud_a_key_has_to_be_given(state_dir):
    """Each instance would make its own, and refuse the tokens of the others."""
    with pytest.raises(ConfigurationError, match="PAGE_TOKEN_KEY"):
        page_token_key(None, state_dir, in_cloud=True)

    assert not state_dir.exists()
