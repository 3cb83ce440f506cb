"""A small slice of tests/fuzz_files.py, the same every time: damaged files of every kind, in every reader."""

import pytest

from tests.fuzz_files import fuzz, readers


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", readers(), ids=lambda reader: reader.name)
@pytest.mark.slow
def test_a_mutated_file_is_refused_by_its_name_or_read_as_it_was(reader):
    tried, findings = fuzz(reader, 60, seed=3, every=90)
    assert tried == 60 and not findings, [(finding.what, finding.content[:200]) for finding in findings[:3]]
