from tests.helpers.selection import INSTALLED, SLOW, SLOW_TESTS, TESTS, needs_torch


def test_the_lists_name_files_and_tests_that_are_there() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py")}
    assert SLOW - files.keys() == set()
    for test in SLOW_TESTS:
        assert any(f"def {test}(" in text for text in files.values()), test
    assert set(INSTALLED) <= files.keys()


def test_what_needs_torch_is_told_from_what_a_device_can_run() -> None:
    assert needs_torch(TESTS / "test_readers.py") and needs_torch(TESTS / "test_quantize.py")
    assert not needs_torch(TESTS / "test_policy.py") and not needs_torch(TESTS / "test_sources_av.py")
