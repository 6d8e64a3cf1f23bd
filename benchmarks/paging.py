"""Races of list-results: pages of a hundred among few and many results, and the raw client on the many."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from functions.list_results.queries import question_of
from shared.paging import PageTokens
from shared.records import ResultQuery

from .calls import Call
from .contests import CLIENTS
from .databases.rows import MODELS, position
from .races import Comparison, Entrant, Race, Task
from .storing import MAX_TIMES_RAW, raw_source
from .subjects import function_source
from .wire import JsonCheck, http_request

PAGE_RESULTS = 100
FEW_RESULTS = 1000
MAX_TIMES_FEW = 1.5
PAGE_TOKEN_KEY = "benchmarks of pages"
_MODEL = MODELS[0]


def page_race(
    name: str, many: int, few_env: Mapping[str, str], many_env: Mapping[str, str], raw: Mapping[str, str]
) -> Race:
    """Return list-results on few results, the same on many, and the raw client on the very same many.

    Args:
        name: `pages-` and the database.
        many: How many results those are.
        few_env, many_env, raw: The environments of the three, which say where their databases are.
    """
    rival = name.replace("pages-", "raw_", 1)
    few_name, many_name = f"list_results of {FEW_RESULTS:,}", f"list_results of {many:,}"
    raw_name = f"{rival} of {many:,}"
    source, key = function_source("list_results"), {"PAGE_TOKEN_KEY": PAGE_TOKEN_KEY}
    entrants = (
        Entrant(few_name, source, {**few_env, **key}, [*_first_pages(FEW_RESULTS), *_deep_pages(FEW_RESULTS)]),
        Entrant(many_name, source, {**many_env, **key}, [*_first_pages(many), *_deep_pages(many)]),
        Entrant(raw_name, raw_source(rival), raw, _first_pages(many)),
    )
    return Race(
        name,
        entrants,
        [
            Comparison(many_name, few_name, f"{FEW_RESULTS:,}", MAX_TIMES_FEW),
            Comparison(many_name, raw_name, "raw", MAX_TIMES_RAW),
        ],
    )


def _first_pages(kept: int) -> Sequence[Task]:
    newest, of_model = _page(kept), _page(kept, model=_MODEL)
    return (
        Task("newest", 1, "pages", lambda: newest),
        Task("newest of a model", 1, "pages", lambda: of_model),
        Task(f"newest, {CLIENTS} at once", CLIENTS, "pages", lambda: newest),
    )


def _deep_pages(kept: int) -> Sequence[Task]:
    middle, of_model = _page(kept // 2, follows=True), _page(kept // 2, model=_MODEL, follows=True)
    return (
        Task("from the middle", 1, "pages", lambda: middle),
        Task("from the middle, of a model", 1, "pages", lambda: of_model),
    )


def _page(end: int, *, model: str | None = None, follows: bool = False) -> Call:
    """Ask for the page of the newest results before result number `end`.

    Args:
        follows: With the token of the page that ended there; without, there is nothing newer.
    """
    parameters = {"page_size": str(PAGE_RESULTS), **({"model": model} if model else {})}
    if follows:
        ended = position(end)
        where = [ended.created_at.isoformat(), ended.id]
        tokens = PageTokens(PAGE_TOKEN_KEY.encode())
        parameters["page_token"] = tokens.encode(question_of(ResultQuery(model=model)), where)
    numbers = [number for number in range(end - 1, -1, -1)[: PAGE_RESULTS * len(MODELS)] if _is_of(model, number)]
    expected = [position(number).id for number in numbers[:PAGE_RESULTS]]

    def is_right(value: Any) -> bool:
        return [result["id"] for result in value["results"]] == expected

    query = "&".join(f"{name}={quote(text)}" for name, text in parameters.items())
    return Call(http_request("GET", f"/?{query}"), JsonCheck(is_right))


def _is_of(model: str | None, number: int) -> bool:
    return model is None or MODELS[number % len(MODELS)] == model
