"""The contract from outside, over HTTP, section by section."""

import pytest

pytest.register_assert_rewrite("tests.contract.schema", "tests.contract.named_endpoint")
