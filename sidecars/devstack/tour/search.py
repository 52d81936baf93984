"""The search: what arrived in Elasticsearch, asked for as a person would, and read to the last document for the books.

Only requests that the stand-in and every Elasticsearch since 8 know.
"""

from collections import Counter
from typing import Any

import aiohttp

from .board import TourError

_ID = "http.request.id"
_PAGE = 10_000
_TIMEOUT = aiohttp.ClientTimeout(total=60)


class Search:
    """The shop's log in Elasticsearch."""

    def __init__(self, session: aiohttp.ClientSession, pattern: str = "shop*") -> None:
        self.url = ""
        self._pattern = pattern  # of the index: while it is not there, the answer is empty and no error
        self._session = session

    async def find(self, request: str) -> list[dict[str, Any]]:
        """The documents of a request, by its id."""
        question = {"query": {"term": {f"{_ID}.keyword": request}}}
        hits = (await self._ask("_search", question))["hits"]["hits"]
        return [hit["_source"] for hit in hits]

    async def count(self) -> int:
        """How many documents of requests can be found at this moment."""
        return int((await self._ask("_count", {"query": {"exists": {"field": _ID}}}))["count"])

    async def all_requests(self) -> Counter[str]:
        """How often each request is there."""
        await self._ask("_refresh", {})
        found: Counter[str] = Counter()
        question: dict[str, Any] = {"size": _PAGE, "sort": [{"_seq_no": "asc"}], "query": {"exists": {"field": _ID}}}
        while hits := (await self._ask("_search", question))["hits"]["hits"]:
            found.update(hit["_source"]["http"]["request"]["id"] for hit in hits)
            question["search_after"] = hits[-1]["sort"]
        return found

    async def _ask(self, what: str, question: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/{self._pattern}/{what}"
        try:
            async with self._session.post(url, json=question or None, timeout=_TIMEOUT) as reply:
                answer: dict[str, Any] = await reply.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TourError(f"cannot ask Elasticsearch at {url}: {str(error) or type(error).__name__}") from None
        if reply.status >= 300:
            raise TourError(f"cannot ask Elasticsearch at {url}: it answers {reply.status}: {str(answer)[:300]}")
        return answer
