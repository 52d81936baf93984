"""Prints the messages of every document in the index of its argument, as one JSON list; run beside the stand-in for
Elasticsearch, since a test cannot reach a pod's address from outside every cluster.
"""

import http.client
import json
import sys

PAGE = 5000


def ask(method: str, path: str, body: object = None) -> dict[str, object]:
    """One request. An index that is not there is empty."""
    connection = http.client.HTTPConnection("127.0.0.1", 9200, timeout=60)
    connection.request(method, path, json.dumps(body or {}), {"Content-Type": "application/json"})
    answer: dict[str, object] = json.load(connection.getresponse())
    return answer


index, found, after = sys.argv[1], [], None
ask("POST", f"/{index}/_refresh")
while True:
    question = {"size": PAGE, "sort": ["log.offset", "_doc"], **({"search_after": after} if after else {})}
    answer = ask("POST", f"/{index}/_search", question)
    outer = answer.get("hits")
    hits = outer["hits"] if isinstance(outer, dict) else []
    found += [hit["_source"]["message"] for hit in hits]
    if len(hits) < PAGE:
        break
    after = hits[-1]["sort"]
print(json.dumps(found))
