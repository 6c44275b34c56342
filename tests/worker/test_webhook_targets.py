"""Where webhooks never go, however it is written."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from panoweave.core.infra.addresses import EMBEDDED_IPV4, check_private, embeds_ipv4, is_public
from panoweave.core.infra.settings import Settings
from panoweave.core.webhooks.targets import BadTarget, TargetRules
from panoweave.worker.webhook_http import NotSent, Response, post, tls_context
from tests.receivers import receiving, self_signed

PUBLIC = TargetRules(http=True)
TLS = tls_context()

LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",  # Teredo, whose client is 127.0.0.1
    "[2001:4860::5efe:127.0.0.1]",  # ISATAP
    "[2001:4860::200:5efe:127.0.0.1]",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11",  # digits of full width
    "127\u30020\u30020\u30021",
    "example.com@127.0.0.1",
]
NEIGHBOURS = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
    "[fc00::1]",
    "[fe80::1]",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
]


def send(url: str, rules: TargetRules, deadline_s: float) -> Response:
    return post(url, b"{}", {}, rules, deadline_s, TLS)


class Canary:
    """Listens on loopback, and counts the connections."""

    def __init__(self) -> None:
        self.port = 0
        self.visitors = 0
        self._sockets: list[socket.socket] = []
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            try:
                listener = socket.socket(family)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((host, self.port))
            except OSError:
                continue  # a machine without IPv6
            listener.listen()
            self.port = listener.getsockname()[1]
            self._sockets.append(listener)
            threading.Thread(target=self._count, args=(listener,), daemon=True).start()

    def _count(self, listener: socket.socket) -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return
            self.visitors += 1

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    canary = Canary()
    with socket.create_connection(("127.0.0.1", canary.port)):
        pass
    while canary.visitors < 1:
        pass
    canary.visitors = 0
    yield canary
    canary.close()


@pytest.mark.parametrize("host", LOOPBACK + NEIGHBOURS)
def test_no_connection_is_made(canary: Canary, host: str) -> None:
    with pytest.raises(NotSent) as reason:
        send(f"http://{host}:{canary.port}/", PUBLIC, 5)
    assert reason.value.error in ("target_refused", "unknown_host")
    assert canary.visitors == 0


@pytest.mark.parametrize("kind", EMBEDDED_IPV4)
def test_no_address_that_carries_another_is_permitted(kind: str) -> None:
    """Whichever it carries: the first, the last and one in between, allowed by name or not."""
    network = EMBEDDED_IPV4[kind]
    for number in (0, 0x7F000001, 0x08080808, network.num_addresses - 1):
        address = network[number]
        assert embeds_ipv4(address)
        assert not is_public(address)
        for rules in (PUBLIC, TargetRules("::/0", http=True)):
            assert not rules.permits(str(address))


def test_public_addresses_are_permitted() -> None:
    for address in ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2001:4860:4860::8888"):
        assert PUBLIC.permits(address)


def test_there_are_enough_forms_of_addresses() -> None:
    assert len(set(LOOPBACK + NEIGHBOURS)) >= 25


def test_a_name_that_leads_elsewhere_at_the_second_look(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the connection goes where the checked answer led, or nowhere."""
    looked_up: list[str] = []
    resolve = socket.getaddrinfo

    def rebind(host: str, *rest: Any, **options: Any) -> Any:
        if host != "rebinding.example":
            return resolve(host, *rest, **options)
        looked_up.append(host)
        # The first answer is of a range for documentation, which these rules allow.
        return resolve("203.0.113.7" if len(looked_up) == 1 else "127.0.0.1", *rest, **options)

    rules = TargetRules("203.0.113.0/24", http=True)
    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    url = f"http://rebinding.example:{canary.port}/"
    with pytest.raises(NotSent) as reason:
        send(url, rules, 1)
    assert reason.value.error in ("timeout", "connection_failed")  # nobody lives there
    with pytest.raises(NotSent) as reason:
        send(url, rules, 1)
    assert reason.value.error == "target_refused"
    assert canary.visitors == 0


def test_a_host_keeps_its_name_at_the_address_that_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In TLS and in the Host header, though the connection is made to an address."""
    resolve = socket.getaddrinfo

    def resolve_one(host: str, *rest: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host == "receiver.example" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_one)
    tls, certificate = self_signed(tmp_path, "DNS:receiver.example")
    trusting = tls_context()
    trusting.load_verify_locations(certificate)
    rules = TargetRules(test_targets=True)
    with receiving(tls=tls) as receiver:
        url = receiver.url.replace("127.0.0.1", "receiver.example")
        assert post(url, b"{}", {}, rules, 30, trusting).status == 200
        with pytest.raises(NotSent, match="tls_failed"):
            post(receiver.url, b"{}", {}, rules, 30, trusting)
    (received,) = receiver.received
    assert received.headers["Host"].startswith("receiver.example:")


def test_one_forbidden_address_among_several_is_enough(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def both(host: str, *rest: Any, **options: Any) -> Any:
        if host != "both.example":
            return resolve(host, *rest, **options)
        return resolve("93.184.216.34", *rest, **options) + resolve("127.0.0.1", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(NotSent, match="target_refused"):
        send(f"http://both.example:{canary.port}/", PUBLIC, 5)
    assert canary.visitors == 0


def test_a_proxy_of_the_environment_is_not_asked(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{canary.port}")
    with pytest.raises(NotSent, match="target_refused"):
        send("http://169.254.169.254/", PUBLIC, 5)
    assert canary.visitors == 0


def test_plain_http_is_refused_unless_it_was_allowed() -> None:
    with pytest.raises(NotSent, match="target_refused"):
        send("http://example.com/", TargetRules(), 5)


def private_address() -> str | None:
    """One of this machine's own, beyond loopback."""
    for family, elsewhere in ((socket.AF_INET, "10.255.255.254"), (socket.AF_INET6, "fd00::ffff")):
        with socket.socket(family, socket.SOCK_DGRAM) as asking, suppress(OSError):
            asking.connect((elsewhere, 9))  # sends nothing
            own: str = asking.getsockname()[0]
            with suppress(ValueError):
                check_private(own)
                return own
    return None


def test_a_private_network_that_was_named_is_reached() -> None:
    own = private_address()
    if own is None:
        pytest.skip("this machine has no private address")
    with receiving(host=own) as receiver:
        allowed = TargetRules(own, http=True)
        assert send(receiver.url, allowed, 5).status == 200
        with pytest.raises(NotSent, match="target_refused"):
            send(receiver.url, PUBLIC, 5)
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ("8.8.8.0/24", "is not private"),
        ("127.0.0.0/8", "is not private"),
        ("169.254.0.0/16", "is not private"),
        ("0.0.0.0/0", "is not private"),
        ("100.64.0.0/10", "a metadata service"),
        ("fd00::/8", "a metadata service"),
        ("10.0.0.0/8, ten", "legal: networks such as"),
    ],
)
def test_networks_that_cannot_be_allowed(networks: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_private(networks)
    with pytest.raises(ValueError, match="webhook_networks"):
        Settings(webhook_networks=networks)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://example.com/#part",
        "https://example.com:port/",
        "https://exämple.com/",
        "https://example.com/a b",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://localhost/",
        "https://a.localhost/",
        "https://[::1/",
        "example.com",
    ],
)
def test_a_url_that_is_never_sent_to_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadTarget):
        TargetRules().check(url)


def test_a_public_url_is_accepted() -> None:
    for url in ("https://example.com/hook?a=b", "https://example.com:8443", "https://1.1.1.1/"):
        TargetRules().check(url)
    TargetRules("10.1.0.0/16").check("https://10.1.2.3/")
