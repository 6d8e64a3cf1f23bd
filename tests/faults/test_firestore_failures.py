"""What Firestore may answer instead of an answer, told by a server of the tests' own, through the functions."""

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from tests.faults.history import body_of

PASSING, FOR_A_PERSON = {"UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"}, {"PERMISSION_DENIED", "NOT_FOUND"}


class Failing(grpc.GenericRpcHandler):
    """Ends every call with the status in `code`."""

    code = grpc.StatusCode.UNAVAILABLE

    def service(self, call):
        """Answer any method."""

        def fail(_, context):
            context.abort(self.code, "as the test has it")

        return grpc.unary_stream_rpc_method_handler(fail)


@pytest.fixture
def failing():
    """Run a Firestore that fails; yield it and its port."""
    handler = Failing()
    server = grpc.server(ThreadPoolExecutor(8), [handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, port
    server.stop(None).wait()


def test_every_failure_is_503_to_be_repeated_or_500_for_a_person(serve, failing):
    """Never an empty list, never "there is no such result"; what a person must mend is logged as an error."""
    handler, port = failing
    environment = {"STORE_URL": "firestore://p/(default)", "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{port}"}
    store_result, list_results = (serve(name, THREADS="4", **environment) for name in ("store_result", "list_results"))
    questions = [
        lambda: httpx.post(store_result.url, content=body_of(1), headers={"Content-Type": "application/json"}),
        *(
            lambda path=path, accept=accept: httpx.get(list_results.url + path, headers={"Accept": accept})
            for path, accept in (
                *(("/", "application/json"), ("/?count=true&fields=id", "application/json")),
                *((f"/{'a' * 26}", "application/json"), ("/", "application/x-ndjson"), ("/?order=asc", "text/csv")),
            )
        ),
    ]

    for code in sorted(PASSING | FOR_A_PERSON):
        handler.code = grpc.StatusCode[code]
        for answer in [question() for question in questions]:
            reason = answer.json()["error"]["details"][0]["reason"]
            if code in PASSING:
                assert (answer.status_code, reason in ("STORE_BUSY", "STORE_UNAVAILABLE")) == (503, True), code
                assert answer.headers["Retry-After"] == "1"
            else:
                assert (answer.status_code, reason) == (500, "MISCONFIGURED"), code
                assert "as the test has it" not in answer.text

    for running, asked in ((store_result, 1), (list_results, 5)):
        lines = [line for line in running.log_lines() if line.get("outcome") == "MISCONFIGURED"]
        assert [line["severity"] for line in lines] == ["ERROR"] * asked * len(FOR_A_PERSON)
        assert "as the test has it" in json.dumps(running.log_lines())
