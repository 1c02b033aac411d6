import pytest
from ogw_asgi.testing import *
from .harness import gateway_of, using
pytestmark=pytest.mark.anyio
async def test_a():
    async with gateway_of(openai=ScriptedUpstream(error(503)), azure=ScriptedUpstream(chat("Hi")), vllm=using(ScriptedUpstream(), models={"a":"b"})) as w:
        r = await w.post(stream=False)
        assert r.status_code==201, r.text
        print(r.headers, r.text)
        async with w.stream() as r:
            print(r.headers, await r.aread())
        assert w.calls()==["openai","openai","azure","azure"]
