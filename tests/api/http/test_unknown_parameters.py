"""Lists refuse query parameters that they do not have; other addresses ignore them, as browsers may add some."""

import pytest

from tests.api.conftest import Service


@pytest.mark.parametrize(
    ("query", "parameter", "meant"),
    [
        ("/v1/jobs?stauts=running", "stauts", "status"),
        ("/v1/jobs?limit=5&Label=a=b", "Label", "label"),
        ("/v1/datasets?shard=true", "shard", "shared"),
        ("/v1/models?names=x", "names", "name"),
        ("/v1/audit?actoin=x", "actoin", "action"),
        ("/v1/api-keys?limits=5", "limits", "limit"),
        ("/v1/studies?colour=red", "colour", None),
        ("/v1/webhooks?%ED%A0%80=1", "\ufffd\ufffd\ufffd", None),
    ],
)
def test_a_list_refuses_a_parameter_that_it_does_not_have(
    service: Service, query: str, parameter: str, meant: str | None
) -> None:
    answer = service.client.get(query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    (error,) = answer.json()["errors"]
    assert error["parameter"] == parameter
    assert error["detail"].startswith("expected one of the parameters limit, after")
    assert error["detail"].endswith(f"; did you mean `{meant}`?" if meant else f"got `{parameter}`")


def test_every_list_knows_its_own_parameters(service: Service) -> None:
    seen = 0
    for path, item in service.app.openapi()["paths"].items():
        known = [one["name"] for one in item.get("get", {}).get("parameters", ()) if one["in"] == "query"]
        if not item.get("get", {}).get("operationId", "").startswith("list_") or not known:
            continue
        seen += 1
        address = path.replace("{", "").replace("}", "")
        refused = service.client.get(f"{address}?{'&'.join(f'{name}=%00' for name in known)}&unheard_of=1").json()
        assert [one["parameter"] for one in refused["errors"]] == ["unheard_of"], path
    assert seen >= 9


def test_what_keeps_responses_out_of_caches_is_let_through(service: Service) -> None:
    assert service.client.get("/v1/jobs?_=1700000000").status_code == 200
    job = service.submit(service.dataset())["id"]
    assert service.client.get(f"/v1/jobs/{job}?utm_source=mail").status_code == 200
