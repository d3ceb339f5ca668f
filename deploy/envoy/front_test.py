"""Envoy before two Lanyards on one PostgreSQL, all of them real: what goes through, what does not, and what nobody notices."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest
from contextlib import closing
from pathlib import Path

import grpc
from cluster import Cluster, free_port
from grpc_health.v1 import health_pb2, health_pb2_grpc
from lanyard import Active, Client, ErrorReason, LanyardError, RetryPolicy, Ust, v1

HERE = Path(__file__).parent
LANYARD = os.environ["LANYARD_BIN"]
ENVOY = Path(grpc.__file__).parents[1] / "envoy/_bin/envoy"
PATIENCE = 30
PASSWORD = "correct horse battery"
WORKERS = 6


def eventually(what: str, condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {PATIENCE} s in vain: {what}")
        time.sleep(0.05)


def run(*words: object, **options) -> str:
    done = subprocess.run([str(word) for word in words], text=True, capture_output=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{words}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key, self.certificate = folder / f"{name}-ca.key", folder / f"{name}-ca.crt"
        run("openssl", "req", "-x509", *self.new_key(self.key), "-subj", f"/CN={name}", "-out", self.certificate)

    @staticmethod
    def new_key(path: Path) -> list[object]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", path]

    def sign(self, path: Path, name: str) -> None:
        """Makes `path`.key and `path`.crt, each in one step: whoever reads them meanwhile sees the old ones."""
        fresh = path.with_name(f".{path.name}-fresh")
        run(
            "openssl", "req", "-x509", *self.new_key(fresh.with_suffix(".key")), "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
            "-CA", self.certificate, "-CAkey", self.key, "-out", fresh.with_suffix(".crt"),
        )
        for suffix in (".key", ".crt"):
            fresh.with_suffix(suffix).replace(path.with_suffix(suffix))


class Lanyard:
    """One of the servers."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.port, self.log = world, free_port(), world.folder / f"lanyard-{number}.log"
        self.start()

    def start(self) -> None:
        environment = self.world.environment | {"LANYARD__SERVER__LISTEN": f"127.0.0.1:{self.port}"}
        with self.log.open("a") as log:
            self.process = subprocess.Popen([LANYARD, "serve"], env=environment, stdout=log, stderr=log)

    def stop(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.wait(PATIENCE)


class World:
    """PostgreSQL, two Lanyards with TLS, Envoy, a user and a caller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "envoy"
        self.files.mkdir()
        self.servers, self.clients = Authority(folder, "servers"), Authority(folder, "clients")
        self.public, self.strangers = Authority(folder, "public"), Authority(folder, "strangers")
        self.public.sign(self.files / "front", "front.example.org")
        self.servers.sign(folder / "tls", "lanyard.example.org")
        self.clients.sign(folder / "client", "client.example.org")
        self.strangers.sign(folder / "stranger", "client.example.org")
        shutil.copy(self.clients.certificate, self.files / "clients.crt")
        shutil.copy(self.servers.certificate, self.files / "servers.crt")
        self.postgres = Cluster()
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANYARD__DATABASE__URL": self.postgres.url,
            "LANYARD__KEYS__FILE": str(folder / "keys.json"),
            "LANYARD__SERVER__TLS__CERT": str(folder / "tls.crt"),
            "LANYARD__SERVER__TLS__KEY": str(folder / "tls.key"),
            # A little more than the health checks take to see it.
            "LANYARD__SERVER__DRAIN_DELAY": "3s",
            "LANYARD__PASSWORD__MEMORY_KIB": "64",
            "LANYARD__LOG__FORMAT": "json",
        }
        self.lanyard("keys", "init")
        self.lanyard("migrate")
        self.lanyard("user", "bootstrap", "root", "--password-stdin", input=f"{PASSWORD}\n")
        caller = self.lanyard("caller", "create", "shop", "--all-grants", "--may-relay-super-users", "--json")
        self.key = json.loads(caller)["key"]
        self.lanyards = [Lanyard(self, number) for number in (0, 1)]
        self.start_envoy()

    def lanyard(self, *words: str, **options) -> str:
        return run(LANYARD, *words, env=self.environment, **options)

    def start_envoy(self) -> None:
        self.port, self.admin, self.log = free_port(), free_port(), self.folder / "envoy.log"
        exchanged = {"envoy.yaml": "", "certificate.yaml": ""}
        for name in exchanged:
            text = (HERE / name).read_text()
            for here, there in [
                ("/etc/envoy", str(self.files)),
                ("port_value: 9901", f"port_value: {self.admin}"),
                ("port_value: 8443", f"port_value: {self.port}"),
                ("address: 0.0.0.0", "address: 127.0.0.1"),
                ("lanyard-0.example.org, port_value: 50051", f"127.0.0.1, port_value: {self.lanyards[0].port}"),
                ("lanyard-1.example.org, port_value: 50051", f"127.0.0.1, port_value: {self.lanyards[1].port}"),
            ]:
                exchanged[name] += here if here in text else ""
                text = text.replace(here, there)
            (self.files / name).write_text(text)
        assert "lanyard-1" in exchanged["envoy.yaml"] and "/etc/envoy" in exchanged["certificate.yaml"]
        with self.log.open("w") as log:
            command = [ENVOY, "-c", self.files / "envoy.yaml", "--concurrency", "1", "--log-level", "warn"]
            self.envoy = subprocess.Popen([*command, "--disable-hot-restart"], stdout=log, stderr=log)
        self.all_serve()

    def all_serve(self) -> None:
        eventually("Envoy takes both servers for healthy", lambda: self.healthy() == 2)

    def healthy(self) -> int:
        assert self.envoy.poll() is None, self.log.read_text()
        try:
            hosts = self.ask("/clusters?format=json")["cluster_statuses"][0].get("host_statuses", [])
        except (OSError, KeyError, ValueError):
            return 0
        bad = ("failed_active_health_check", "pending_active_hc", "failed_outlier_check")
        return sum(not any(host["health_status"].get(name) for name in bad) for host in hosts)

    def stat(self, name: str) -> int:
        stats = self.ask(f"/stats?filter=^{name}$&format=json")["stats"]
        return sum(stat.get("value", 0) for stat in stats)

    def ask(self, path: str) -> dict:
        """What Envoy says of itself."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin, timeout=5)) as connection:
            connection.request("GET", path)
            return json.load(connection.getresponse())

    def client(self, key: str | None = None, **options) -> Client:
        """Without retries of its own: what fails, failed. It waits longer than Envoy does, whose answer is the one that is tested."""
        never = RetryPolicy.never()
        options = {"ca": self.public.certificate.read_bytes(), "retry": never, "deadline": PATIENCE} | options
        return Client(f"https://127.0.0.1:{self.port}", api_key=key or self.key, **options)

    def tls(self, identity: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.public.certificate))
        if identity:
            context.load_cert_chain(self.folder / f"{identity}.crt", self.folder / f"{identity}.key")
        return context

    def close(self) -> None:
        for process in [self.envoy, *(lanyard.process for lanyard in self.lanyards)]:
            process.kill()
            process.wait()
        self.postgres.stop()


class Load:
    """Users who work until it ends; whatever fails is kept.

    They are logged in before it begins: a login is a write, and one that is under way when its server is killed fails rightly.
    """

    def __init__(self, world: World, with_writes: bool) -> None:
        self.world, self.with_writes, self.calls, self.failures = world, with_writes, 0, []
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.threads = []

    def __enter__(self) -> Load:
        for _ in range(WORKERS):
            client = self.world.client()
            ust = client.log_in("root", PASSWORD).ust
            self.threads.append(threading.Thread(target=self.work, args=(client, ust), daemon=True))
        for thread in self.threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def more(self) -> None:
        """Until a hundred calls more were made."""
        goal = self.calls + 100
        eventually("calls go on", lambda: self.calls >= goal or self.failures)

    def work(self, client: Client, ust: Ust) -> None:
        try:
            with client:
                while not self.stop.is_set():
                    verdict = client.verify(ust)
                    assert isinstance(verdict, Active), verdict
                    made = 1
                    if self.with_writes:
                        ust = client.on_behalf_of(ust).rotate().ust
                        made = 2
                    with self.lock:
                        self.calls += made
        except Exception as failure:  # noqa: BLE001: all of them are failures
            self.failures.append(failure)


class Front(unittest.TestCase):
    world: World

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanyard-envoy-", ignore_cleanup_errors=True)
        cls.addClassCleanup(folder.cleanup)
        cls.world = World(Path(folder.name))
        cls.addClassCleanup(cls.world.close)

    def tearDown(self) -> None:
        self.world.all_serve()

    def refusal(self, client: Client) -> tuple[object, str]:
        with client, self.assertRaises(LanyardError) as refused:
            client.verify("lyu1_x")
        return refused.exception.code, refused.exception.reason

    def test_grpc_goes_through_with_its_correlation_id(self) -> None:
        with self.world.client() as client:
            login = client.log_in("root", PASSWORD)
            root = client.with_correlation_id("order-4711").on_behalf_of(login.ust)
            root.renew()
            events = list(root.list_audit_events(v1.ListAuditEventsRequest(correlation_id="order-4711")))
            self.assertTrue(events and all(event.correlation_id == "order-4711" for event in events))
        eventually("it is in the log of Envoy", lambda: '"correlation_id":"order-4711"' in self.world.log.read_text())
        self.assertNotIn(self.world.key, self.world.log.read_text())

    def test_health_is_answered_without_a_key_and_nothing_else_is_routed(self) -> None:
        credentials = grpc.ssl_channel_credentials(self.world.public.certificate.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{self.world.port}", credentials) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(service="lanyard.v1.SessionService"), timeout=5)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
            reflect = channel.unary_unary("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
            with self.assertRaises(grpc.RpcError) as refused:
                reflect(b"", timeout=5)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def web_call(self, request: bytes, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes, dict[str, str]]:
        """A call by gRPC-Web over HTTP/1.1: message and trailers of the answer."""
        frame = b"\0" + struct.pack(">I", len(request)) + request
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"} | headers
        address = ("127.0.0.1", self.world.port)
        with closing(http.client.HTTPSConnection(*address, context=self.world.tls(), timeout=10)) as connection:
            connection.request("POST", "/lanyard.v1.SessionService/VerifySession", frame, headers)
            answer = connection.getresponse()
            message, trailers, rest = b"", dict(answer.getheaders()), answer.read()
        while rest:
            kind, length = struct.unpack(">BI", rest[:5])
            body, rest = rest[5 : 5 + length], rest[5 + length :]
            if kind & 0x80:
                lines = body.decode().strip().splitlines()
                trailers |= {name: value for name, _, value in (line.partition(":") for line in lines)}
            else:
                message = body
        return answer, message, trailers

    def test_grpc_web_goes_through(self) -> None:
        with self.world.client() as client:
            ust = client.log_in("root", PASSWORD).ust
            request = v1.VerifySessionRequest(ust=ust.expose()).SerializeToString()
        bearer = {"authorization": f"Bearer {self.world.key}", "x-correlation-id": "web-1"}
        answer, message, trailers = self.web_call(request, bearer)
        self.assertEqual((answer.status, trailers["grpc-status"].strip()), (200, "0"))
        self.assertEqual(answer.getheader("x-correlation-id"), "web-1")
        self.assertEqual(v1.VerifySessionResponse.FromString(message).session.username, "root")
        _, message, trailers = self.web_call(request, {})
        self.assertEqual((message, trailers["grpc-status"].strip()), (b"", "16"), "without a key")

    def test_who_has_no_good_key_is_refused_by_lanyard(self) -> None:
        code, reason = self.refusal(self.world.client(key="lyk1_" + "x" * 49))
        self.assertEqual(code, grpc.StatusCode.UNAUTHENTICATED)
        self.assertIs(reason, ErrorReason.CALLER_UNAUTHENTICATED)

    def test_a_client_certificate_is_checked_and_stands_for_nobody(self) -> None:
        def connect(identity: str) -> bytes:
            context = self.world.tls(identity)
            context.set_alpn_protocols(["http/1.1"])
            with socket.create_connection(("127.0.0.1", self.world.port), 5) as plain:
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                    secure.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    return secure.recv(100)

        self.assertTrue(connect("client").startswith(b"HTTP/1.1 404"))
        with self.assertRaises(ssl.SSLError):
            connect("stranger")
        # Neither what it says nor what it has makes it anybody.
        forged = {"x-forwarded-client-cert": "URI=spiffe://example.org/shop", "x-forwarded-for": "192.0.2.1"}
        _, _, trailers = self.web_call(v1.VerifySessionRequest(ust="x").SerializeToString(), forged)
        self.assertEqual(trailers["grpc-status"].strip(), "16")

    def test_nobody_comes_in_without_tls(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=5)) as connection:
            connection.request("GET", "/")
            with self.assertRaises(OSError):
                connection.getresponse().read()

    def test_a_server_that_is_killed_under_load_fails_no_read(self) -> None:
        with Load(self.world, with_writes=False) as load:
            for lanyard in self.world.lanyards:
                lanyard.stop(signal.SIGKILL)
                load.more()
                eventually("Envoy knows", lambda: self.world.healthy() == 1)
                load.more()
                lanyard.start()
                self.world.all_serve()
                load.more()
        self.assertEqual(load.failures, [])
        self.assertGreater(self.world.stat("cluster.lanyard.upstream_rq_retry_success"), 0, "something was tried again")

    def test_new_certificates_everywhere_under_load_fail_no_call(self) -> None:
        world = self.world

        def presented() -> bytes:
            with socket.create_connection(("127.0.0.1", world.port), 5) as plain:
                with world.tls().wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                    return secure.getpeercert(binary_form=True) or b""

        with Load(world, with_writes=True) as load:
            # Lanyard reads its certificate when it starts: one server after the other.
            world.servers.sign(world.folder / "tls", "lanyard.example.org")
            for lanyard in world.lanyards:
                lanyard.stop(signal.SIGTERM)
                load.more()
                lanyard.start()
                world.all_serve()
                load.more()
            # Envoy looks again when something is moved into the folder.
            before = presented()
            world.public.sign(world.files / "front", "front.example.org")
            fresh = world.folder / "certificate.yaml"
            shutil.copy(world.files / "certificate.yaml", fresh)
            fresh.replace(world.files / "certificate.yaml")
            eventually("Envoy has the new certificate", lambda: presented() != before)
            load.more()
        self.assertEqual(load.failures, [])

    def test_zz_all_that_was_written_is_as_it_was_written(self) -> None:
        self.assertIn("All are as they were written", self.world.lanyard("audit", "verify"))


if __name__ == "__main__":
    unittest.main()
