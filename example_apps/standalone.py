"""The gateway as an app of its own, from environment variables.

    OPENAI_API_KEY=... AZURE_OPENAI_ENDPOINT=... AZURE_OPENAI_API_KEY=... uvicorn example_apps.standalone:app

From an installed package the same is `uvicorn --factory ogw_asgi:Gateway.from_env`.
"""

from ogw_asgi import Gateway

app = Gateway.from_env()
