import json
import uuid

from wardgate.errors import Overloaded, tree
from wardgate.web.server.problem import problem


def test_every_error_makes_a_problem_document():
    for error in tree():
        reply = problem(error)
        document = json.loads(reply.body)
        assert reply.status == document["status"] == error.status
        assert document["type"] == f"urn:wardgate:problem:{error.slug}"
        assert (document["title"], document["detail"]) == (error.title, error.sentence)
        headers = dict(reply.headers)
        assert headers[b"content-type"] == b"application/problem+json"
        assert headers[b"content-length"] == str(len(reply.body)).encode()
        assert headers[b"cache-control"] == b"no-store"
        assert (b"retry-after" in headers) == (error.status == 503)


def test_every_reply_is_an_instance_of_its_own():
    first, second = (json.loads(problem(Overloaded).body)["instance"] for _ in range(2))
    assert first != second
    assert uuid.UUID(first.removeprefix("urn:uuid:")).version == 4
