"""Which name servers of a resolv.conf are handed on to a container that changes networks."""

from runners.network_switch import name_servers


def test_those_that_a_container_can_ask_in_their_order() -> None:
    text = "# made by hand\nnameserver 10.0.0.2\nsearch lan\nnameserver\t2001:db8::1\nnameserver 10.0.0.2\n"
    assert name_servers(text) == ("10.0.0.2", "2001:db8::1")


def test_none_of_a_loopback_or_of_one_interface_and_no_nonsense() -> None:
    text = "nameserver 127.0.0.53\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver\nnameserver here\n"
    assert name_servers(text) == ()
