"""Attacks on Dagster's webserver that are tried, and what comes of each without and with the proxy before it?"""

import json
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

# ORIGIN stands for the one that the proxy knows, MARK for a partition that the attack tries to write.
MUTATION = (
    'mutation { reportRunlessAssetEvents(eventParams: {eventType: ASSET_MATERIALIZATION, assetKey: {path: ["flag"]}, '
    'partitionKeys: ["MARK"]}) { __typename } }'
)
AS_JSON = json.dumps({"query": MUTATION})
IN_URL = "query=" + quote(MUTATION)
SUBSCRIPTION = 'subscription { pipelineRunLogs(runId: "none") { __typename } }'
HOME = ("Origin", "ORIGIN")
FOREIGN = ("Origin", "https://attacker.example")
JSON = ("Content-Type", "application/json")
MULTIPART = ("Content-Type", "multipart/form-data; boundary=x")
REPORT = "report_asset_materialization/flag?partition=MARK"
CHECK = "report_asset_check/flag?check_name=is_up&passed=true&partition=MARK"


class Attack(NamedTuple):
    name: str
    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: str
    stock: str  # what comes of it without the proxy, and without credentials
    proxied: str = "403"  # and behind the proxy, with credentials


ATTACKS = [
    Attack("a mutation in a link", "GET", f"/graphql?{IN_URL}", [], "", "writes"),
    Attack("a mutation in a link, with the known origin", "GET", f"/graphql?{IN_URL}", [HOME], "", "writes"),
    Attack("a query in a link", "GET", "/graphql?query={version}", [], "", "answers"),
    Attack("the playground", "GET", "/graphql", [("Accept", "text/html")], "", "a page"),
    Attack("a link with another upgrade", "GET", f"/graphql?{IN_URL}", [HOME, ("Connection", "upgrade"), ("Upgrade", "h2c")], "", "writes"),
    Attack("a link that overrides its method", "GET", f"/graphql?{IN_URL}", [HOME, JSON, ("X-HTTP-Method-Override", "POST")], "", "writes"),
    Attack("only the head of a link", "HEAD", f"/graphql?{IN_URL}", [HOME], "", "405"),
    Attack("a form", "POST", f"/graphql?{IN_URL}", [HOME, ("Content-Type", "application/x-www-form-urlencoded")], "", "writes"),
    Attack("a multipart form", "POST", f"/graphql?{IN_URL}", [HOME, MULTIPART], "--x--", "writes"),
    Attack("no content type", "POST", f"/graphql?{IN_URL}", [HOME], "", "writes"),
    Attack("application/graphql", "POST", "/graphql", [HOME, ("Content-Type", "application/graphql")], MUTATION, "writes"),
    Attack("plain text", "POST", f"/graphql?{IN_URL}", [HOME, ("Content-Type", "text/plain")], AS_JSON, "writes"),
    Attack("plain text that names JSON", "POST", "/graphql", [HOME, ("Content-Type", "text/plain; x=application/json")], AS_JSON, "writes"),
    Attack("JSON that names plain text", "POST", "/graphql", [HOME, ("Content-Type", "application/json, text/plain")], AS_JSON, "writes"),
    Attack("two content types", "POST", "/graphql", [HOME, ("Content-Type", "text/plain;application/json"), JSON], AS_JSON, "writes"),
    Attack("JSON without an origin", "POST", "/graphql", [JSON], AS_JSON, "writes"),
    Attack("JSON from an empty origin", "POST", "/graphql", [JSON, ("Origin", "")], AS_JSON, "writes"),
    Attack("JSON from a null origin", "POST", "/graphql", [JSON, ("Origin", "null")], AS_JSON, "writes"),
    Attack("JSON from a foreign origin", "POST", "/graphql", [JSON, FOREIGN], AS_JSON, "writes"),
    Attack("JSON from an origin that begins like ours", "POST", "/graphql", [JSON, ("Origin", "ORIGIN.attacker.example")], AS_JSON, "writes"),
    Attack("JSON from an origin that ends like ours", "POST", "/graphql", [JSON, ("Origin", "https://attacker.example#ORIGIN")], AS_JSON, "writes"),
    Attack("JSON from our host by another scheme", "POST", "/graphql", [JSON, ("Origin", "https://HOST")], AS_JSON, "writes"),
    Attack("a foreign origin, then ours", "POST", "/graphql", [JSON, FOREIGN, HOME], AS_JSON, "writes"),
    Attack("a foreign origin that names our host", "POST", "/graphql", [JSON, FOREIGN, ("X-Forwarded-Host", "HOST"), ("Referer", "ORIGIN/")], AS_JSON, "writes"),
    Attack("a batch", "POST", "/graphql", [JSON, HOME], f"[{AS_JSON}]", "500", "500"),  # Dagster knows none
    Attack("a mutation beside an empty body", "POST", f"/graphql?{IN_URL}", [JSON, HOME], "{}", "400", "400"),
    Attack("PUT", "PUT", f"/graphql?{IN_URL}", [JSON, HOME], AS_JSON, "405"),
    Attack("PATCH", "PATCH", f"/graphql?{IN_URL}", [JSON, HOME], AS_JSON, "405"),
    Attack("DELETE", "DELETE", f"/graphql?{IN_URL}", [JSON, HOME], AS_JSON, "405"),
    Attack("OPTIONS", "OPTIONS", f"/graphql?{IN_URL}", [JSON, HOME], AS_JSON, "405"),
    Attack("TRACE", "TRACE", f"/graphql?{IN_URL}", [JSON, HOME], AS_JSON, "405"),
    Attack("a method nobody knows", "GETS", f"/graphql?{IN_URL}", [JSON, HOME], AS_JSON, "400"),
    Attack("a doubled slash", "POST", "//graphql", [JSON, HOME], AS_JSON, "405"),
    Attack("a slash behind", "POST", "/graphql/", [JSON, HOME], AS_JSON, "405"),
    Attack("capitals", "POST", "/GraphQL", [JSON, HOME], AS_JSON, "405"),
    Attack("an encoded letter, without an origin", "POST", "/%67raphql", [JSON], AS_JSON, "writes"),
    Attack("an encoded letter, in a link", "GET", f"/%67raphql?{IN_URL}", [HOME], "", "writes"),
    Attack("an encoded slash", "GET", f"/%2fgraphql?{IN_URL}", [HOME], "", "a page"),
    Attack("an encoded question mark", "GET", f"/graphql%3f{IN_URL}", [HOME], "", "a page"),
    Attack("an encoded percent sign", "GET", f"/%2567raphql?{IN_URL}", [HOME], "", "a page"),
    Attack("a backslash", "GET", f"/\\graphql?{IN_URL}", [HOME], "", "a page"),
    Attack("a path that climbs", "GET", f"/runs/../graphql?{IN_URL}", [HOME], "", "a page"),
    Attack("a path that climbs by encoded dots", "GET", f"/runs/%2e%2e/graphql?{IN_URL}", [HOME], "", "a page"),
    Attack("any file, by a path that climbs", "GET", "/logs/../storage/secret/txt", [], "", "answers"),
    Attack("a path that climbs from the health check", "POST", "/healthz/../graphql", [JSON], AS_JSON, "405"),
    Attack("a health check that writes", "POST", f"/healthz?{IN_URL}", [JSON, HOME], AS_JSON, "405"),
    Attack("a fragment", "GET", f"/graphql#?{IN_URL}", [HOME], "", "400"),
    Attack("the whole address", "GET", f"http://127.0.0.1/graphql?{IN_URL}", [HOME], "", "writes"),
    Attack("a reported materialization, from a foreign form", "POST", f"/{REPORT}", [FOREIGN], "", "writes"),
    Attack("a reported materialization", "POST", f"/{REPORT}", [JSON, HOME], "{}", "writes"),
    Attack("a reported materialization, encoded", "POST", f"/%72{REPORT[1:]}", [JSON, HOME], "{}", "writes"),
    Attack("a reported observation", "POST", f"/{REPORT.replace('materialization', 'observation')}", [JSON, HOME], "{}", "writes"),
    Attack("a reported check", "POST", f"/{CHECK}", [JSON, HOME], "{}", "writes"),
    Attack("a report in a link", "GET", f"/{REPORT}", [HOME], "", "a page"),
    Attack("a mutation posted to a page", "POST", f"/runs?{IN_URL}", [JSON, HOME], AS_JSON, "405"),
    Attack("any file of the instance's folder", "GET", "/logs/secret/txt", [], "", "answers"),
    Attack("any file, by an encoded slash", "GET", "/logs%2fsecret/txt", [], "", "answers"),
    Attack("any file, its path encoded", "GET", "/lo%67s/secret/txt", [], "", "answers"),
    Attack("a file outside that folder", "GET", "/logs/%2e%2e/dagster/yaml", [], "", "500"),
    Attack("which versions run", "GET", "/server_info", [], "", "answers"),
    Attack("which versions run, by the former name", "GET", "/dagit_info", [], "", "answers"),
    Attack("a notebook of the code location's machine", "GET", "/notebook?path=/x.ipynb&repoLocName=x", [], "", "answers"),
    Attack("a notebook, by the former name", "GET", "/dagit/notebook?path=/x.ipynb&repoLocName=x", [], "", "answers"),
    Attack("a subscription without an origin", "WEBSOCKET", "/graphql", [], SUBSCRIPTION, "answers"),
    Attack("a subscription from a null origin", "WEBSOCKET", "/graphql", [("Origin", "null")], SUBSCRIPTION, "answers"),
    Attack("a subscription from a foreign origin", "WEBSOCKET", "/graphql", [FOREIGN], SUBSCRIPTION, "answers"),
    Attack("a subscription at another path", "WEBSOCKET", "/runs", [HOME], SUBSCRIPTION, "403"),
    Attack("a mutation by websocket", "WEBSOCKET", "/graphql", [HOME], MUTATION, "error", "error"),
    Attack("a mutation by websocket from a foreign origin", "WEBSOCKET", "/graphql", [FOREIGN], MUTATION, "error"),
    Attack("a websocket with a mutation in its address", "WEBSOCKET", f"/graphql?{IN_URL}", [HOME], MUTATION, "error", "error"),
]  # fmt: skip
