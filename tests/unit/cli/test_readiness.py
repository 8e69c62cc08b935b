from __future__ import annotations

import contextlib
import http.server
import ssl
import threading

import pytest

from cli import readiness
from cli.children import agent_environment
from tests.authority import Authority
from tests.ports import free_port


class Handler(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"{}" if self.status == 200 else b"ingest has been stalled")

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def gateway(*, tls=None, status=200):
    """Something that answers /readyz; yields where it listens."""
    handler = type("OfThisStatus", (Handler,), {"status": status})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"0.0.0.0:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def tls(tmp_path):
    certificate, key = Authority().issue("gateway")
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_gateway_is_asked_the_way_that_it_speaks(tls):
    with gateway() as plain, gateway(tls=tls) as secure:
        answers = [readiness.ask(each, timeout_s=2.0) for each in (plain, secure)]

    assert [each.ready for each in answers] == [True, True]
    assert [each.url.partition(":")[0] for each in answers] == ["http", "https"]
    assert all("//127.0.0.1:" in each.url for each in answers)


def test_one_that_is_not_ready_says_why():
    with gateway(status=503) as listen:
        answer = readiness.ask(listen, timeout_s=2.0)

    assert not answer.ready
    assert "is not ready: ingest has been stalled" in answer.said


def test_one_that_is_not_there_does_not_answer():
    answer = readiness.ask(f"127.0.0.1:{free_port()}", timeout_s=2.0)

    assert not answer.ready
    assert "does not answer" in answer.said


@pytest.mark.parametrize(
    ("listen", "gateway"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("0.0.0.0:50051", "127.0.0.1:50051"),
        ("[::]:50051", "[::1]:50051"),
        ("192.0.2.5:50051", "192.0.2.5:50051"),
        ("localhost:50051", "localhost:50051"),
    ],
)
def test_the_agent_of_this_machine_is_told_where_its_gateway_listens(tmp_path, listen, gateway):
    told = agent_environment({"HOSTPULSE_GRPC_LISTEN": listen}, data_dir=tmp_path, server_name="a")

    assert told["HOSTPULSE_GATEWAY"] == gateway
