"""What a request may carry: thousands of parameters, headers or cookies cost nothing, whichever address gets them."""

import re
import time

import pytest

from tests.api.conftest import Service

MANY: dict[str, tuple[str, dict[str, str], int]] = {
    "one parameter again and again": ("&".join(["name=x"] * 3000), {}, 400),
    "labels": ("&".join(f"label=a=b{number}" for number in range(1500)), {}, 400),
    "parameters that nobody knows": ("&".join(f"p{number}=1" for number in range(3000)), {}, 400),
    "empty parameters": ("&" * 3000, {}, 400),
    "a long parameter": ("name=" + "x" * 20_000, {}, 400),
    "headers": ("", {f"X-{number}": "1" for number in range(1000)}, 431),
    "a long header": ("", {"X-Long": "x" * 50_000}, 431),
    "cookies": ("", {"Cookie": "; ".join(f"c{number}=1" for number in range(10_000))}, 431),
    "languages": ("", {"Accept": ",".join(["a/b"] * 20_000)}, 431),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", MANY)
def test_too_much_is_refused_at_every_address_before_it_is_parsed(service: Service, which: str) -> None:
    query, headers, status = MANY[which]
    for path, item in service.app.openapi()["paths"].items():
        address = re.sub(r"{\w+}", "job_" + "0" * 32, path) + (f"?{query}" if query else "")
        for method in item:
            began = time.process_time()
            answer = service.client.request(method, address, headers=headers)
            assert answer.status_code in (status, 429), f"{method} {path}: {answer.text[:200]}"
            assert time.process_time() - began < 1
    assert service.client.get("/v1/jobs").status_code == 200


def test_what_people_use_is_let_through(service: Service) -> None:
    query = "&".join([f"label=team={number}" for number in range(16)] + ["status=queued", "status=failed"] * 9)
    assert service.client.get(f"/v1/jobs?{query}").status_code == 200
    browser = {"Cookie": "x=" + "y" * 4000, "Accept-Language": "de,en;q=0.5"}
    assert service.client.get("/v1/jobs", headers=browser).status_code == 200
