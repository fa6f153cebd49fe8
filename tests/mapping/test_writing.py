"""All of something is written, whatever the end takes at once."""

from __future__ import annotations

import os
import threading

import pytest

from weirpool.mapping._writing import write_all

MORE_THAN_A_PIPE_HOLDS = b"0123456789abcdef" * 65536


@pytest.mark.realtime
@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "set by somebody else not to block"])
def test_all_is_written_to_a_pipe_that_is_full_already(blocking: bool) -> None:
    end, start = os.pipe()
    os.set_blocking(start, False)
    before = 0
    try:
        while True:
            before += os.write(start, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(start, blocking)

    def write() -> None:
        write_all(start, MORE_THAN_A_PIPE_HOLDS)
        os.close(start)

    writer = threading.Thread(target=write)
    writer.start()
    writer.join(0.05)
    assert writer.is_alive(), "nobody has read"

    with os.fdopen(end, "rb") as reader:
        assert reader.read() == b"x" * before + MORE_THAN_A_PIPE_HOLDS
    writer.join()
