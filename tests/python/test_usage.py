"""The usage counters are exact: a short form of tests/usage.sh."""

import usage


def test_the_counters_equal_what_a_load_did(binary, tmp_path):
    counted = usage.run(binary, tmp_path, 6_000)
    assert any(key.endswith("Upload:CANCELLED") for key in counted["calls"])
    assert any(key.endswith("Get:CANCELLED") for key in counted["calls"])
    assert any(key.endswith("Put:PERMISSION_DENIED") for key in counted["calls"])
    assert counted["retries"]
