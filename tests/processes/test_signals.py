import os
import signal

import pytest

from verify.processes.signals import code_of_interruption, in_order


@pytest.fixture(autouse=True)
def undisturbed():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_request_to_end_is_an_interruption_and_only_meanwhile(number, code):
    signal.signal(number, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), in_order():
        os.kill(os.getpid(), number)
    assert code_of_interruption() == code
    assert signal.getsignal(number) == signal.SIG_DFL


def test_ctrl_c_has_its_own_code_also_after_an_earlier_request():
    with pytest.raises(KeyboardInterrupt), in_order():
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), in_order():
        raise KeyboardInterrupt
    assert code_of_interruption() == 130


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with in_order():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
