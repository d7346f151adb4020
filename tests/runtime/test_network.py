"""Addresses and interfaces, against what the ip command and the kernel say."""

import json
import shutil
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.network import interface_of, is_local, is_loopback, local_address, split_endpoint

NOWHERE = "203.0.113.7"


def own_addresses():
    if shutil.which("ip") is None:
        return []
    listed = subprocess.run(["ip", "-j", "address"], capture_output=True, text=True, check=True).stdout
    return [
        (each["local"], interface["ifname"])
        for interface in json.loads(listed)
        for each in interface["addr_info"]
        if each["scope"] != "link" and not each.get("secondary")
    ]


@pytest.mark.parametrize(("address", "interface"), [("127.0.0.1", "lo"), *own_addresses()])
def test_own_addresses_are_found_on_their_interfaces(address, interface):
    assert interface_of(address) == interface
    assert is_local(address)
    assert local_address(address) == address
    assert is_loopback(address) == (interface == "lo")


def test_an_address_of_another_machine_is_not_local():
    assert not is_local(NOWHERE)
    assert interface_of(NOWHERE) is None


def test_localhost_stays_loopback():
    assert is_loopback(local_address("localhost"))


def test_a_name_that_means_loopback_only_here_gets_the_address_of_the_default_route():
    own_name = socket.gethostname()
    if not is_loopback(socket.gethostbyname(own_name)):
        pytest.skip("the host name of this machine is not in its own hosts file")
    try:
        expected = local_address(NOWHERE)
    except LafsError:
        pytest.skip("this machine has no default route")
    assert not is_loopback(expected)
    assert local_address(own_name) == expected


@given(st.from_regex(r"[a-z0-9.-]{1,30}", fullmatch=True), st.integers(1, 65535))
def test_endpoints_are_split(host, port):
    assert split_endpoint(f"{host}:{port}") == (host, port)
    with pytest.raises(LafsError, match="give host:port"):
        split_endpoint(host)


def test_ipv6_endpoints_are_split_at_their_brackets():
    assert split_endpoint("[fd00::2]:29400") == ("fd00::2", 29400)
    with pytest.raises(LafsError):
        split_endpoint("fd00::2:29400")
