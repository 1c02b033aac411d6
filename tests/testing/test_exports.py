"""The public names, and what the package may import."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import ogw_asgi.testing


def test_all_is_sorted_and_every_name_exists() -> None:
    names = ogw_asgi.testing.__all__
    assert names == sorted(names)
    assert [name for name in names if not hasattr(ogw_asgi.testing, name)] == []


def test_importing_it_brings_no_server_no_second_library_and_nothing_private_of_the_gateway() -> None:
    script = """
import sys, ogw_asgi
before = set(sys.modules)
import ogw_asgi.testing
new = {name for name in set(sys.modules) - before if not name.startswith("ogw_asgi.testing")}
print(sorted(n for n in new if n.split(".")[0] in {"ogw_asgi", "uvicorn", "httpx2", "starlette", "trio"}))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=20)
    assert ran.stdout.strip() == "[]"


def test_the_example_in_the_docstring_fails_over() -> None:
    example = textwrap.dedent((ogw_asgi.testing.__doc__ or "").split("\n\n")[1])
    names = "from ogw_asgi import Gateway, OpenAI\nfrom ogw_asgi.testing import *\nimport anyio\n"
    program = f"{names}async def main():\n{textwrap.indent(example, '    ')}\nanyio.run(main)\n"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=20)
