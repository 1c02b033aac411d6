"""The gateway mounted in a FastAPI app that has a lifespan of its own.

uvicorn example_apps.fastapi_mount:app          then POST /llm/chat/completions
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from ogw_asgi import Gateway, combine_lifespans

gateway = Gateway.from_env()


@asynccontextmanager
async def database(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"database": "connected"}


# A mounted app gets no lifespan of its own from Starlette or FastAPI: this is the line everyone forgets.
app = FastAPI(lifespan=combine_lifespans(database, gateway.lifespan))
app.mount("/llm", gateway)


@app.get("/")
async def home() -> dict[str, str]:
    return {"chat": "POST /llm/chat/completions"}
