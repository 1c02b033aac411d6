"""The gateway in front of an existing Starlette app, whose own routes stay as they are.

    uvicorn example_apps.starlette_middleware:app   then POST /chat/completions

The middleware sees the lifespan, so nothing else has to be wired.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ogw_asgi import Gateway, GatewayMiddleware


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the host's own page")


async def list_chats(request: Request) -> JSONResponse:
    # GET on the gateway's path: the middleware takes POST alone.
    return JSONResponse({"chats": []})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


app = Starlette(
    routes=[
        Route("/", home),
        Route("/chat/completions", list_chats, methods=["GET"]),
        WebSocketRoute("/echo", echo),
    ]
)
app.add_middleware(GatewayMiddleware, gateway=Gateway.from_env())
