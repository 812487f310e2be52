"""Dagster's webserver as it comes and behind `deploy/proxy`: who gets what, attack by attack, and what people do all day."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterInstance
from dagster_webserver.webserver import DagsterWebserver
from playwright.sync_api import BrowserContext, expect, sync_playwright
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ml_platform_tests.deploy.attacks import AS_JSON, ATTACKS, IN_URL, JSON, Attack
from ml_platform_tests.needed import program
from ml_platform_tests.repository import project_root
from ml_platform_tests.servers import PATIENT_SECONDS, free_port, wait_until

pytestmark = pytest.mark.full

PROXY = project_root() / "deploy" / "proxy"
PASSWORD = "correct horse"
LOGIN = ("Authorization", "Basic " + b64encode(f"me:{PASSWORD}".encode()).decode())
LOCATION = """
import dagster as dg

@dg.asset
def flag(context: dg.AssetExecutionContext) -> None:
    context.log.info("the flag is up")

@dg.asset_check(asset=flag)
def is_up() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)

defs = dg.Definitions([flag], asset_checks=[is_up], executor=dg.in_process_executor)
"""
INSTANCE = """
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
telemetry: {enabled: false}
nux: {enabled: false}
"""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


def send(port: int, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: str = "") -> Answer:
    """Sends a request whose path and headers are as given, however odd."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path)
    for name, value in [*headers, ("Content-Length", str(len(body)))]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    found = Answer(answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace"))
    connection.close()
    return found


def converse(port: int, path: str, headers: Sequence[tuple[str, str]], query: str) -> dict[str, Any]:
    """Starts a GraphQL operation by websocket as the UI does; gives the first answer, or why there was no handshake."""
    try:
        with connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers, subprotocols=["graphql-ws"]) as socket:
            socket.send('{"type": "connection_init", "payload": {}}')
            assert json.loads(socket.recv(10)) == {"type": "connection_ack"}
            socket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": query}}))
            return dict(json.loads(socket.recv(10)))
    except InvalidStatus as refused:
        return {"type": str(refused.response.status_code)}


class Served(NamedTuple):
    """One webserver, reached directly and through the proxy."""

    instance: DagsterInstance
    stock: int
    proxied: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.proxied}"

    def written(self) -> set[str | None]:
        """Lists the partitions that anything was written for."""
        flag = AssetKey("flag")
        entries = [
            record.event_log_entry
            for fetch in (self.instance.fetch_materializations, self.instance.fetch_observations)
            for record in fetch(flag, limit=1000).records
        ]
        history = self.instance.event_log_storage.get_asset_check_execution_history(AssetCheckKey(flag, "is_up"), 1000)
        checks = {record.partition for record in history}
        return checks | {entry.dagster_event.partition for entry in entries if entry.dagster_event}

    def outcome(self, attack: Attack, port: int, mark: str, login: Sequence[tuple[str, str]] = ()) -> str:
        def filled(text: str) -> str:
            return text.replace("MARK", mark).replace("ORIGIN", self.origin).replace("HOST", self.origin[7:])

        headers = [*[(name, filled(value)) for name, value in attack.headers], *login]
        path, body = filled(attack.path), filled(attack.body)
        if attack.method == "WEBSOCKET":
            found = converse(port, path, headers, body)["type"].replace("data", "answers")
        else:
            answer = send(port, attack.method, path, headers, body)
            page = "a page" if "<html" in answer.body else "answers"
            found = page if answer.status == 200 else str(answer.status)
        return "writes" if mark in self.written() else found


@contextmanager
def running(command: Sequence[str | Path], port: int, path: str, **options: Any) -> Iterator[None]:
    """Runs a server, with whatever it starts, from its first answer on."""
    folder = Path(options["cwd"])
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **options)
        try:
            wait_until(lambda: answers(port, path) or process.poll() is not None, PATIENT_SECONDS, f"{command[0]}")
            assert process.poll() is None, (folder / "server.log").read_text()
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(port: int, path: str) -> bool:
    try:
        return send(port, "GET", path).status == 200
    except ConnectionRefusedError:
        return False


@contextmanager
def nginx(path: str, upstream: int, port: int, edit: str = "true") -> Iterator[None]:
    """Runs the proxy, its configuration edited, as whoever runs the tests, or as nobody where that is root."""
    folder = Path(tempfile.mkdtemp(prefix="proxy-", dir="/tmp"))  # pytest's own folders are closed to nobody
    whom: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
    address = f"127.0.0.1:{port}"
    try:
        done = render(folder, f"http://{address}", PROXY_LISTEN=address, PROXY_UPSTREAM=f"127.0.0.1:{upstream}")
        assert done.returncode == 0, done.stderr
        subprocess.run(["sh", "-c", edit.replace("/var/lib/ml-proxy", str(folder))], check=True)
        hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True)
        (folder / "users").write_text(f"me:{hashed.stdout}")
        if whom:
            shutil.chown(folder, "nobody")
        with running([path, "-p", folder, "-c", "nginx.conf"], port, "/healthz", cwd=folder, **whom):
            yield
    finally:
        shutil.rmtree(folder)


def render(folder: Path, origin: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "PROXY_ORIGIN": origin, "PROXY_USERS": f"{folder}/users", **variables}
    return subprocess.run([PROXY / "render", folder], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def nginx_path() -> str:
    """Debian's nginx; `make test-all` installs it where it may."""
    return program("nginx", "nginx")


@pytest.fixture(scope="module")
def served(nginx_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("proxied")
    (home / "dagster.yaml").write_text(INSTANCE)
    (home / "flag.py").write_text(LOCATION)
    (home / "storage").mkdir()
    (home / "storage" / "secret.txt").write_text("what a run wrote")
    stock, proxied = free_port(), free_port()
    webserver = ["dagster-webserver", "--host", "127.0.0.1", "--port", str(stock), "-f", "flag.py"]
    with (
        DagsterInstance.from_config(str(home)) as instance,
        running(webserver, stock, "/server_info", cwd=home, env={**os.environ, "DAGSTER_HOME": str(home)}),
        nginx(nginx_path, stock, proxied),
    ):
        yield Served(instance, stock, proxied)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_has_this_outcome_on_the_stock_webserver_and_that_behind_the_proxy(
    served: Served, attack: Attack
) -> None:
    mark = str(ATTACKS.index(attack))
    found = {
        "stock": served.outcome(attack, served.stock, f"stock-{mark}"),
        "with credentials": served.outcome(attack, served.proxied, f"known-{mark}", [LOGIN]),
        "without": served.outcome(attack, served.proxied, f"unknown-{mark}"),
    }
    assert found == {"stock": attack.stock, "with credentials": attack.proxied, "without": "401"}


def test_every_route_of_the_webserver_is_known() -> None:
    """A route that a later Dagster adds is open to whoever has credentials until somebody has looked at it."""
    webserver = DagsterWebserver(None)  # type: ignore[type-var]
    files = {route.path for route in webserver.build_static_routes()}
    assert {route.path for route in webserver.build_routes()} - files == {
        "/",
        "/{path:path}",  # the UI's page
        "/graphql",
        "/logs/{path:path}",
        "/download_debug/{run_id:str}",  # everything about a run, for whoever has credentials
        "/report_asset_materialization/{asset_key:path}",
        "/report_asset_check/{asset_key:path}",
        "/report_asset_observation/{asset_key:path}",
        "/notebook",
        "/dagit/notebook",
        "/dagit_info",
        "/server_info",
    }


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_a_program_writes_with_credentials_and_the_known_origin(served: Served, content_type: str) -> None:
    body = AS_JSON.replace("MARK", content_type)
    headers = [("Content-Type", content_type), ("Origin", served.origin)]
    assert send(served.proxied, "POST", "/graphql", headers, body).status == 401
    assert content_type not in served.written()
    answer = send(served.proxied, "POST", "/graphql", [*headers, LOGIN], body)
    assert answer.status == 200, answer
    assert content_type in served.written()


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic bWU=", "Basic " + b64encode(b"me:").decode(), "Basic " + b64encode(b"you:x").decode(), "Bearer x"],
)
def test_wrong_credentials_get_nothing(served: Served, authorization: str) -> None:
    answer = send(served.proxied, "GET", "/", [("Authorization", authorization)])
    assert (answer.status, "Dagster</title>" in answer.body) == (401, False)
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Dagster"'


@pytest.mark.parametrize(("login", "status"), [([LOGIN], 413), ([], 401)], ids=["known", "unknown"])
def test_a_body_of_more_than_four_mebibytes_is_refused(
    served: Served, login: list[tuple[str, str]], status: int
) -> None:
    headers = [("Content-Type", "application/json"), ("Origin", served.origin), *login]
    assert send(served.proxied, "POST", "/graphql", headers, " " * (4 * 2**20 + 1)).status == status


@pytest.mark.parametrize("path", ["/", "/graphql", "/_next/none", "/healthz"])
@pytest.mark.parametrize("login", [[LOGIN], []], ids=["known", "unknown"])
def test_every_answer_says_how_a_browser_must_treat_it(served: Served, path: str, login: list[tuple[str, str]]) -> None:
    headers = send(served.proxied, "GET", path, login).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Server"] == "nginx"


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([self.path, *self.headers.items()]).encode())

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_the_webserver_is_told_who_asks_and_never_the_password(nginx_path: str, echo: int) -> None:
    port = free_port()
    claims = [(f"X-Forwarded-{name}", "root") for name in ("For", "Host", "Proto", "User")]
    headers = [LOGIN, JSON, ("Origin", f"http://127.0.0.1:{port}"), *claims]
    with nginx(nginx_path, echo, port):
        path, *seen = json.loads(send(port, "POST", f"/graphql?{IN_URL}", headers, "{}").body)
        page, *_ = json.loads(send(port, "GET", "/runs?a=%2Fb", headers).body)
    assert (path, page) == ("/graphql", "/runs?a=%2Fb")
    assert "authorization" not in {name.lower() for name, _ in seen}
    forwarded = {name.removeprefix("X-Forwarded-"): value for name, value in seen if name.startswith("X-Forwarded-")}
    assert forwarded == {"For": "127.0.0.1", "Host": "127.0.0.1", "Proto": "http", "User": "me"}


def test_behind_an_identity_provider_all_other_rules_stay(nginx_path: str, echo: int) -> None:
    (edit,) = re.findall("^sed .*", (PROXY / "README.md").read_text(), re.MULTILINE)
    port = free_port()
    user, home = ("X-Forwarded-User", "somebody"), ("Origin", f"http://127.0.0.1:{port}")
    with nginx(nginx_path, echo, port, edit):
        seen = json.loads(send(port, "POST", "/graphql", [user, home, JSON], "{}").body)
        refused = send(port, "POST", "/graphql", [user, JSON], "{}")
    assert list(user) in seen
    assert refused.status == 403


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PROXY_ORIGIN", ""),
        ("PROXY_ORIGIN", "null"),
        ("PROXY_ORIGIN", "~."),
        ("PROXY_ORIGIN", "https://dagster.example.org/"),
        ("PROXY_ORIGIN", 'https://a" 1; default "'),
        ("PROXY_ORIGIN", "https://dagster.example.org\n~."),
        ("PROXY_LISTEN", "8080; auth_basic off"),
        ("PROXY_UPSTREAM", "127.0.0.1"),
        ("PROXY_USERS", "users"),
    ],
)
def test_a_setting_that_would_open_the_proxy_is_refused_by_name(tmp_path: Path, variable: str, value: str) -> None:
    done = render(tmp_path, **{"origin": "https://dagster.example.org", variable: value})
    assert done.returncode != 0
    assert variable in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("origin", "status"), [("https://dagster.example.org", 0), ("", 1), ("null", 1)], ids=["named", "empty", "null"]
)
def test_nginx_refuses_an_origin_that_anyone_has(nginx_path: str, tmp_path: Path, origin: str, status: int) -> None:
    """Its own image puts the variables in without a look at them."""
    assert render(tmp_path, "https://dagster.example.org").returncode == 0
    configuration = tmp_path / "conf.d" / "default.conf"
    configuration.write_text(configuration.read_text().replace("https://dagster.example.org", origin))
    (tmp_path / "temp").mkdir()
    done = subprocess.run(
        [nginx_path, "-t", "-p", tmp_path, "-c", "nginx.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert ("conflicting parameter" in done.stderr) == bool(status)


@pytest.fixture(scope="module")
def known(served: Served, browser_path: str) -> Iterator[BrowserContext]:
    """A browser whose user has typed the password once."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        credentials: Any = {"username": "me", "password": PASSWORD, "origin": served.origin}
        context = browser.new_context(http_credentials=credentials, viewport={"width": 1600, "height": 1200})
        context.set_default_timeout(1000 * PATIENT_SECONDS)
        expect.set_options(timeout=1000 * PATIENT_SECONDS)
        yield context
        browser.close()


def test_a_run_is_launched_and_followed_in_the_ui(served: Served, known: BrowserContext) -> None:
    page, refused, frames = known.new_page(), list[str](), list[str]()
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    page.goto(f"{served.origin}/assets/flag")
    page.get_by_role("button", name="Materialize").first.click()
    wait_until(lambda: len(served.instance.get_run_ids()) == 1, PATIENT_SECONDS, "the run")
    (run_id,) = served.instance.get_run_ids()
    page.goto(f"{served.origin}/runs/{run_id}")
    expect(page.get_by_text("the flag is up")).to_be_visible()
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    page.close()
    assert any("the flag is up" in frame for frame in frames), "the log came by another way than a subscription"
    assert refused == []


FORGED = """([address, query, body]) => Promise.allSettled([
  fetch(`${address}/graphql?${query}`, {mode: "no-cors", credentials: "include"}),
  fetch(`${address}/graphql`, {mode: "no-cors", credentials: "include", method: "POST", body,
                               headers: {"Content-Type": "text/plain; x=application/json"}}),
])"""


def test_a_foreign_page_in_the_browser_of_who_is_known_writes_nothing(
    served: Served, known: BrowserContext, echo: int
) -> None:
    page = known.new_page()
    page.goto(f"{served.origin}/runs")  # the browser knows the password from here on
    page.goto(f"http://localhost:{echo}")
    for port, mark in ((served.stock, "forged-stock"), (served.proxied, "forged-proxied")):
        filled = [text.replace("MARK", mark) for text in (IN_URL, AS_JSON)]
        page.evaluate(FORGED, [f"http://127.0.0.1:{port}", *filled])
    page.close()
    assert {mark for mark in served.written() if mark and mark.startswith("forged")} == {"forged-stock"}
