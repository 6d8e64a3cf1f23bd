"""Clients that people have already work by changing their address."""

import json
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from shared.config import ROOT

HELD_OUT = json.loads((ROOT / "model/digits/held_out.json").read_text())

# In a process of its own, as a user's script is: the library configures warnings and logging as it pleases.
VERTEX = """
import json, sys
from google.api_core.exceptions import BadRequest, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1.services.prediction_service import PredictionServiceClient
from google.cloud.aiplatform_v1.services.prediction_service.transports.rest import PredictionServiceRestTransport

host, images = sys.argv[1], json.loads(sys.stdin.read())
transport = PredictionServiceRestTransport(host=host, url_scheme="http", credentials=AnonymousCredentials())
client = PredictionServiceClient(transport=transport)
endpoint = "projects/p/locations/l/endpoints/digits"
answer = client.predict(endpoint=endpoint, instances=images)
refused = []
for place, instances in ((endpoint, [[1]]), (endpoint + "x", images)):
    try:
        client.predict(endpoint=place, instances=instances)
    except (BadRequest, NotFound) as error:
        refused.append([type(error).__name__, error.message])
digits = [int(p["digit"]) for p in answer.predictions]
print(json.dumps([digits, answer.model_display_name, answer.model_version_id, refused]))
"""


def test_vertex_ai_s_own_client_predicts_over_rest(serve):
    """google-cloud-aiplatform, pointed at a local address, reads answers and errors as its service's."""
    running = serve("predict")

    ended = subprocess.run(
        [sys.executable, "-c", VERTEX, f"127.0.0.1:{running.port}"],
        input=json.dumps(HELD_OUT["images"][:20]),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert ended.returncode == 0, ended.stderr[-2000:]
    digits, name, version, refused = json.loads(ended.stdout.splitlines()[-1])
    assert sum(a == b for a, b in zip(digits, HELD_OUT["digits"][:20], strict=True)) >= 19
    assert (name, version) == ("digits", "1")
    assert [kind for kind, _ in refused] == ["BadRequest", "NotFound"]
    assert "got shape [1, 1]" in refused[0][1]


@pytest.fixture
def predict(client):
    """The function in this process, with the models of the repository."""
    return client("predict")


@pytest.fixture
def document(predict):
    """What predict says of itself."""
    return json.loads(predict.get("/openapi.json").data)


def test_the_openapi_document_is_one(document):
    """By the specification's own validator; every version has its path."""
    validate(document)

    assert {"/v1/models/digits:predict", "/v1/models/digits/versions/1:predict"} <= set(document["paths"])


def schemas(document):
    """The request's and the answer's schema of the digits model."""
    operation = document["paths"]["/v1/models/digits:predict"]["post"]
    request = operation["requestBody"]["content"]["application/json"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    return request, Draft202012Validator(request["schema"]), Draft202012Validator(answer)


def test_the_example_and_its_answer_are_what_the_document_says(predict, document):
    """A generated client sends what is taken and understands what comes back."""
    request, takes, answers = schemas(document)

    for body in (request["example"], {"inputs": {"image": HELD_OUT["images"][:3]}}, {"inputs": HELD_OUT["images"][:2]}):
        answer = predict.post("/v1/models/digits:predict", data=json.dumps(body))

        assert takes.is_valid(body)
        assert answer.status_code == 200
        answers.validate(json.loads(answer.data))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instances": []},
        {"instances": [[1]]},
        {"instances": [{"picture": HELD_OUT["images"][0]}]},
        {"instances": [[["1"] * 8] * 8]},
        {"instances": HELD_OUT["images"][:1], "inputs": HELD_OUT["images"][:1]},
        {"instances": HELD_OUT["images"][:1], "signature_name": "nonsense"},
        {"inputs": {"picture": []}},
    ],
)
def test_what_the_document_refuses_is_refused(predict, document, body):
    """The declarations that are published are those that check."""
    _, takes, _ = schemas(document)

    assert not takes.is_valid(body)
    assert predict.post("/v1/models/digits:predict", data=json.dumps(body)).status_code == 400
