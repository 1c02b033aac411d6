"""What `import ogw_asgi` gives, and that it gives it on a bare install."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import ogw_asgi
import ogw_asgi.fastapi
import ogw_asgi.providers
import ogw_asgi.testing

DOCUMENTED = {
    "Azure",
    "Breaker",
    "Gateway",
    "GatewayMiddleware",
    "Limits",
    "OpenAI",
    "OpenAICompatible",
    "Principal",
    "RequestRejected",
    "Timeouts",
    "VLLM",
    "allow_anyone",
    "bearer_tokens",
    "combine_lifespans",
}
BESIDES = {"ConfigurationError", "OGWError", "__version__"}

WITHOUT_EXTRAS = """
import sys

class Blocker:
    names = {"httpx2", "httptools", "fastapi", "uvicorn", "trio", "xllamacpp", "pydantic", "openai", "opentelemetry"}
    names |= {"coredis", "prometheus_client"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_EXTRAS + code], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_those_of_the_design_and_little_else() -> None:
    assert set(ogw_asgi.__all__) == DOCUMENTED | BESIDES


@pytest.mark.parametrize("module", [ogw_asgi, ogw_asgi.testing, ogw_asgi.providers], ids=lambda module: module.__name__)
def test_the_list_of_names_is_sorted_without_repeats_and_true(module: ModuleType) -> None:
    names = module.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(module, name) for name in names)
    assert sorted(names) == sorted(set(names), key=str)


def test_every_public_name_of_the_package_is_listed() -> None:
    public = {
        name for name, value in vars(ogw_asgi).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public | {"__version__"} == set(ogw_asgi.__all__)
    assert list(ogw_asgi.__all__) == sorted(ogw_asgi.__all__, key=lambda name: (not name.isupper(), name))


@pytest.mark.parametrize("name", sorted((DOCUMENTED | BESIDES) - {"__version__"}))
def test_every_public_object_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(ogw_asgi, name)
    assert value.__doc__
    assert not value.__doc__.startswith(f"{name}(")  # what dataclasses write of themselves
    members = vars(value) if inspect.isclass(value) else {}
    undocumented = [
        member
        for member, function in members.items()
        if inspect.isfunction(inspect.unwrap(getattr(function, "__func__", function)))
        and not member.startswith("_")
        and not inspect.getdoc(getattr(value, member))
    ]
    assert undocumented == []


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert ogw_asgi.__version__ == version("ogw_asgi")


def test_the_package_is_typed() -> None:
    from importlib.resources import files

    assert files("ogw_asgi").joinpath("py.typed").is_file()


def test_the_package_works_without_any_extra() -> None:
    assert "200 openai" in run("""
import anyio, ogw_asgi
from ogw_asgi.testing import ScriptedUpstream, asgi_client, chat, error

async def main():
    async with ScriptedUpstream(error(503)).client() as down, ScriptedUpstream(chat("Hi")).client() as up:
        gateway = ogw_asgi.Gateway(
            providers=[ogw_asgi.VLLM(client=down, endpoint="http://gpu:8000"), ogw_asgi.OpenAI(client=up)],
            failover_sequence=["vllm", "openai"],
            success_status=200,
        )
        async with gateway, asgi_client(gateway) as caller:
            body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
            reply = await caller.post("/chat/completions", json=body)
        print(reply.status_code, reply.headers["x-opengateway-provider"])

anyio.run(main)
""")


def test_without_fastapi_the_router_says_what_to_install() -> None:
    assert 'pip install "ogw_asgi[fastapi]"' in run("""
import ogw_asgi
try:
    import ogw_asgi.fastapi
except ogw_asgi.ConfigurationError as error:
    print(error)
""")


@pytest.mark.parametrize(("sink", "extra"), [("opentelemetry", "otel"), ("prometheus", "prometheus")])
def test_without_its_package_a_sink_says_what_to_install(sink: str, extra: str) -> None:
    assert f'pip install "ogw_asgi[{extra}]"' in run(f"""
import ogw_asgi.telemetry
try:
    import ogw_asgi.telemetry.{sink}
except ogw_asgi.ConfigurationError as error:
    print(error)
""")


def test_without_httpx2_its_engine_says_what_to_install() -> None:
    assert "pip install httpx2" in run("""
import ogw_asgi
try:
    ogw_asgi.Gateway(engine="httpx2")
except ogw_asgi.ConfigurationError as error:
    print(error)
""")


def test_without_coredis_sharing_says_what_to_install() -> None:
    assert 'pip install "ogw_asgi[redis]"' in run("""
Blocker.names = {"coredis"}
import ogw_asgi
try:
    ogw_asgi.Gateway(redis_url="redis://cache")
except ogw_asgi.ConfigurationError as error:
    print(error)
""")


@pytest.mark.parametrize("blocked", [{"httptools"}, {"httptools", "httpx2"}])
def test_without_httptools_the_next_best_engine_is_taken_and_said(blocked: set[str]) -> None:
    engine = "httpx" if "httpx2" in blocked else "httpx2"
    assert run(f"""
Blocker.names = {blocked!r}
import anyio, logging
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
import ogw_asgi

async def main():
    async with ogw_asgi.Gateway(providers=[ogw_asgi.OpenAI(api_key="sk-c4n4ry-k")]):
        pass

anyio.run(main)
""").startswith(f"opened engine={engine} ")


def test_with_httptools_the_native_engine_is_taken_and_nothing_else_that_is_optional() -> None:
    told = run("""
Blocker.names = set()
import anyio, logging
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
import ogw_asgi

async def main():
    async with ogw_asgi.Gateway(providers=[ogw_asgi.OpenAI(api_key="sk-c4n4ry-k")]):
        pass

anyio.run(main)
optional = {"httpx", "httpx2", "httpcore", "httpcore2", "trio", "uvloop", "fastapi", "coredis", "opentelemetry"}
print(sorted((optional | {"prometheus_client"}) & set(sys.modules)))
""")
    assert told.splitlines()[0].startswith("opened engine=native ")
    assert told.splitlines()[-1] == "[]"


def test_without_httptools_the_native_engine_says_what_to_install() -> None:
    assert 'pip install "ogw_asgi[fast]"' in run("""
import ogw_asgi
try:
    ogw_asgi.Gateway(engine="native")
except ogw_asgi.ConfigurationError as error:
    print(error)
""")


def test_importing_neither_starts_logging_nor_reads_the_environment_nor_loads_extras() -> None:
    loaded = run("""
import os, logging
class Watched(dict):
    def __getitem__(self, key):
        assert not key.startswith(("OGW_", "OPENAI_", "AZURE_", "VLLM_")), key
        return dict.__getitem__(self, key)
os.environ = Watched(os.environ)
import ogw_asgi
assert logging.root.handlers == []
print(sorted(name for name in sys.modules if name.startswith("ogw_asgi.testing")))
""")
    assert loaded.strip() == "[]"


@pytest.mark.contract("6.status.off")
def test_a_gateway_without_a_status_page_loads_nothing_of_it() -> None:
    loaded = run("""
import ogw_asgi
parts = ("ogw_asgi._status", "ogw_asgi._front", "ogw_asgi._asgi.status", "ogw_asgi._asgi.onlooker")
for on in (False, True):
    ogw_asgi.Gateway(providers=[ogw_asgi.OpenAI(api_key="k")], status=on)
    print(any(name.startswith(parts) for name in sys.modules))
""")
    assert loaded.split() == ["False", "True"]


def test_every_error_that_is_raised_on_purpose_has_one_root() -> None:
    assert issubclass(ogw_asgi.ConfigurationError, ogw_asgi.OGWError)
    assert issubclass(ogw_asgi.ConfigurationError, ValueError)
    assert issubclass(ogw_asgi.RequestRejected, ogw_asgi.OGWError)
    assert repr(ogw_asgi.RequestRejected(400, "x", code="c", param="p")) == (
        "RequestRejected(400, code='c', param='p')"
    )
