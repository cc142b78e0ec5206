"""Who sees the console: sign-in, the cookie, the token of forms, and what a key of each scope is offered."""

import html
import re

import pytest

from api.tables.states import Status
from tests.api.conftest import Service, Start
from tests.api.console.conftest import Reader, reader_of


def test_a_service_of_this_machine_without_keys_asks_for_none(service: Service) -> None:
    assert "Nothing is here yet" in Reader(service.client).get("/")


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/job_1", "/jobs?status=failed"])
def test_a_reader_without_a_key_is_asked_for_one_and_comes_back(closed: Service, path: str) -> None:
    answer = closed.client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?next=")
    shown = Reader(closed.client).get(answer.headers["location"])
    assert f'name="next" value="{html.escape(path)}"' in shown


@pytest.mark.parametrize("path", ["/jobs/job_1/curves", "/jobs/job_1/log", "/compare/curves?job=job_1"])
def test_what_scripts_ask_for_needs_a_key_as_well(closed: Service, path: str) -> None:
    assert closed.client.get(path).status_code == 401


def test_a_poll_of_a_reader_who_was_signed_out_leads_to_the_sign_in(closed: Service) -> None:
    answer = closed.client.get("/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/sign-in?next=%2F")


@pytest.mark.parametrize("key", ["rdr_1_2", "", "ключ", "secret\x00", "x" * 9000])
def test_a_wrong_key_opens_nothing(closed: Service, key: str) -> None:
    reader = Reader(closed.client)
    assert reader.sign_in(key).status_code == 401
    assert closed.client.get("/").status_code == 303


def test_the_cookie_is_for_this_site_and_no_script(closed: Service) -> None:
    answer = Reader(closed.client).sign_in("t")
    assert answer.headers["location"] == "/jobs"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "rdrkd-80=gaaaa" in cookie
    closed.client.get("/jobs").raise_for_status()


def test_a_cookie_outlives_the_process_and_ends_with_its_key(start: Start) -> None:
    with start() as service:
        key = service.key()["Authorization"].removeprefix("Bearer ")
        Reader(service.client).sign_in(key)
        cookies = dict(service.client.cookies)
    with start(database_url=service.app.state.settings.database_url) as again:
        again.client.cookies.update(cookies)
        again.client.get("/jobs").raise_for_status()
        again.client.cookies.clear()
        assert again.client.get("/jobs").status_code == 303


@pytest.mark.parametrize("forged", ["", "x", "whsec_{}", 'whsec_console-session:{"key": null, "csrf": "x", "at": 9e9}'])
def test_a_forged_cookie_is_none(open_service: Service, forged: str) -> None:
    open_service.client.cookies.set("rdrkd-80", f'"{forged}"')
    answer = open_service.client.post("/jobs/job_1/cancel", data={"csrf": "x"})
    assert answer.status_code == 403


@pytest.mark.parametrize("csrf", ["", "x", "ü"])
def test_a_form_needs_its_sessions_token(open_service: Service, csrf: str) -> None:
    service = open_service
    job = service.job()
    reader = Reader(service.client)
    reader.get("/")
    assert reader.post(f"/jobs/{job}/cancel", csrf=csrf).status_code == 403
    assert service.client.get(f"/v1/jobs/{job}").json()["status"] == "queued"
    assert reader.post(f"/jobs/{job}/cancel").status_code == 303
    assert service.client.get(f"/v1/jobs/{job}").json()["status"] == "cancelled"


def test_a_form_of_another_site_is_refused(service: Service) -> None:
    reader = Reader(service.client)
    token = reader.csrf()
    answer = service.client.post("/jobs/job_1/cancel", data={"csrf": token}, headers={"Origin": "https://example.org"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")


def test_a_link_from_elsewhere_keeps_the_reader_signed_in(closed: Service) -> None:
    answer = closed.client.get("/jobs", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("target", ["//example.org", "https://example.org", "/\\example.org", "javascript:x", "\n/x"])
def test_a_sign_in_leads_nowhere_else(closed: Service, target: str) -> None:
    answer = Reader(closed.client).post("/sign-in", key="t", next=target)
    assert answer.headers["location"] == "/"


def test_signing_out_ends_it(closed: Service) -> None:
    reader = Reader(closed.client)
    reader.sign_in("t")
    assert reader.post("/sign-out").status_code == 303
    assert closed.client.get("/jobs").status_code == 303


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("submit", 303), ("admin", 303)])
def test_a_key_is_offered_what_it_may_do(closed: Service, scope: str, status: int) -> None:
    closed.client.headers.update(closed.key(owner="alice"))
    job = closed.job(Status.RUNNING)
    reader = reader_of(closed, owner="alice", scope=scope)
    shown = reader.get(f"/jobs/{job}")
    offered = re.findall(rf'action="/jobs/{job}/(\w+)"', shown)
    assert offered == ([] if scope == "read" else ["pause", "cancel"])
    assert reader.post(f"/jobs/{job}/cancel").status_code == status


def test_a_stranger_to_a_job_does_not_see_it(closed: Service) -> None:
    job = closed.job(name="secret site")
    reader = reader_of(closed, owner="alice", scope="submit")
    reader.get(f"/jobs/{job}", 404)
    assert "secret site" not in reader.get("/jobs")


def test_off_leaves_the_start_page(start: Start) -> None:
    with start(console=False) as service:
        assert "The API, to read and to try" in service.client.get("/").text
        assert service.client.get("/jobs").status_code == 404
        assert service.client.get("/static/console.css").status_code == 404
