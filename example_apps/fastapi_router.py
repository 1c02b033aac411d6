"""The gateway as a FastAPI router: in /docs, and behind a dependency that knows the users.

uvicorn example_apps.fastapi_router:app         then POST /llm/chat/completions with x-user: ada
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request

from ogw_asgi import Gateway, Principal
from ogw_asgi.fastapi import gateway_router

USERS = {
    "ada": Principal("ada"),
    "bob": Principal("bob", models=frozenset({"small-model"})),
}


async def user(request: Request, x_user: Annotated[str | None, Header()] = None) -> Principal:
    """Whatever the host uses to know its users. What it refuses is the host's own answer."""
    principal = USERS.get(x_user or "")
    if principal is None:
        raise HTTPException(status_code=401, detail="who are you?")
    request.scope["ogw_asgi.principal"] = principal  # the gateway holds bob to his model
    return principal


app = FastAPI(title="An app with a gateway")
# Without a principal from the dependency there is nobody: a route that forgets it is closed, not open.
gateway = Gateway.from_env(authenticate=lambda connection: None)
app.include_router(gateway_router(gateway, dependencies=[Depends(user)]), prefix="/llm")
