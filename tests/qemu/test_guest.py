"""What the host's kernel lacks, and other architectures: guest.sh has the tests, a guest runs all in one boot."""
import pytest

import guest


@pytest.fixture(scope="session")
def booted():
    """Guests by architecture, each booted when first asked for."""
    guests = {}

    def get(arch, config):
        if arch not in guests:
            guests[arch] = guest.Guest(arch).boot()
            config.guests.append(guests[arch])
        return guests[arch]
    return get


@pytest.mark.parametrize("name", guest.names())
@pytest.mark.parametrize("arch", guest.MACHINES)
def test_guest(booted, arch, name, pytestconfig):
    one = booted(arch, pytestconfig)
    verdict = one.verdicts.get(name)
    if verdict is None:
        pytest.fail("the guest ended after %.1f s before this test did\n%s" %
                    (one.seconds, "\n".join(one.console[-40:])), pytrace=False)
    if verdict.group(1) != "ok":
        pytest.fail("%s\n%s" % (verdict.group(4), one.told(name)), pytrace=False)


@pytest.mark.parametrize("arch", guest.MACHINES)
def test_guest_ends_by_itself(booted, arch, pytestconfig):
    one = booted(arch, pytestconfig)
    assert one.complete, "\n".join(one.console[-40:])
    assert set(one.verdicts) == set(guest.names())
