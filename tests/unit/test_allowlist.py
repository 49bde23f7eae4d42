"""Which hosts an allowlist lets through."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.allowlist import Allowlist, AllowlistError, host_of, is_public

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "test"]))
PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.3.4", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "::127.0.0.1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "151.101.0.223", "2a04:4e42::223", "::ffff:8.8.8.8"]


def test_equal_lists_are_equal_however_they_are_spelled():
    one = Allowlist.parse(["PyPI.org.", "*.Example.org", "10.0.0.7/32", "[::1]", "münchen.test"])
    other = Allowlist.parse(["xn--mnchen-3ya.test", "::1", "*.example.org", "pypi.org", "10.0.0.7", "pypi.org"])
    assert one == other
    assert one.hosts == ("pypi.org", "xn--mnchen-3ya.test", "*.example.org", "10.0.0.7", "::1")
    assert Allowlist.parse(one.hosts) == one


@given(name=NAMES, other=NAMES)
def test_a_name_allows_itself_alone(name: str, other: str):
    allowlist = Allowlist.parse([name])
    assert allowlist.allows_name(name)
    assert allowlist.allows_name(other) == (name == other)
    assert not allowlist.allows_name(f"x{name}")


@given(below=LABELS, name=NAMES)
def test_a_suffix_allows_what_is_below_it_and_not_what_only_ends_like_it(below: str, name: str):
    allowlist = Allowlist.parse([f"*.{name}"])
    assert allowlist.allows_name(f"{below}.{name}")
    assert not allowlist.allows_name(name)
    assert not allowlist.allows_name(f"{below}{name}")
    assert not allowlist.allows_name(f"{name}.{below}.other")


@pytest.mark.parametrize("address", PRIVATE)
def test_inward_addresses_are_opened_by_a_rule_for_them_and_by_no_wider_one(address: str):
    host = ip_address(address)
    assert not is_public(host)
    for hosts in (["example.test"], ["0.0.0.0/0", "::/0"], ["0.0.0.0/1", "128.0.0.0/1"]):
        assert not Allowlist.parse(hosts).names_address(host)
        assert not Allowlist.parse(hosts).allows_resolved(host)


@pytest.mark.parametrize(("rule", "address"), [
    ("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "::ffff:127.0.0.1"), ("10.0.0.0/8", "10.200.0.1"), ("::1", "::1"),
    ("fd00::/8", "fd12::1"), ("169.254.169.254", "169.254.169.254"), ("192.168.1.0/24", "192.168.1.77"),
])  # fmt: skip
def test_an_inward_address_with_a_rule_of_its_own_is_open(rule: str, address: str):
    assert Allowlist.parse([rule]).names_address(ip_address(address))
    assert Allowlist.parse([rule]).allows_resolved(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_need_a_rule_unless_an_allowed_name_leads_there(address: str):
    assert not Allowlist.parse(["example.test"]).names_address(ip_address(address))
    assert Allowlist.parse(["example.test"]).allows_resolved(ip_address(address))
    assert Allowlist.parse(["0.0.0.0/0", "::/0"]).names_address(ip_address(address))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_an_address_only_wraps_decides(address: IPv4Address | IPv6Address):
    if isinstance(address, IPv4Address):
        prefix = IPv6Network("::ffff:0:0/96")
        assert is_public(IPv6Address(int(prefix.network_address) + int(address))) == is_public(address)
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(("host", "advice"), [
    ("https://pypi.org", "without http://"), ("pypi.org/simple", "without a path"), ("pypi.org:443", "without a port"),
    ("*", "--network bridge"), ("10.0.0.1/8", "10.0.0.0/8"), ("", "a name such as"), ("a b", "a name such as"),
    ("*.*.org", "a name such as"), ("pypi.*", "a name such as"), ("127.1", "a name such as"), ("0x7f.1", "a name"),
    ("2130706433", "a name such as"), ("-a.org", "a name such as"), ("a..org", "a name such as"), ("a.org\n", "a name"),
    ("fe80::1%eth0", "a name such as"), ("a" * 64 + ".org", "a name such as"), ("a.org,b.org", "a name such as"),
])  # fmt: skip
def test_what_is_no_host_is_refused_with_what_to_write_instead(host: str, advice: str):
    with pytest.raises(AllowlistError, match="is no") as refused:
        Allowlist.parse(["pypi.org", host])
    assert advice in str(refused.value)


@given(st.text(max_size=40))
def test_any_text_is_a_host_or_refused(text: str):
    try:
        host = host_of(text)
    except AllowlistError:
        return
    if isinstance(host, str):
        assert host == host_of(host)
        assert host.isascii()
        assert host == host.lower()
        with pytest.raises(ValueError, match="does not appear"):
            ip_address(host)
