"""A service that says who calls it and how many accounts are linked to them, and asks the next one the same.

    NEXT=http://127.0.0.1:8002 uvicorn whoami:app --port 8001
    lanyard session login --username demo    # shows a token
    curl -H "authorization: Bearer $LANYARD_UST" -H "x-correlation-id: order-4711" 127.0.0.1:8001/whoami

LANYARD_ENDPOINT is where Lanyard is, LANYARD_CALLER_KEY the key of this service; NEXT, which may be missing, is another service
with the same /whoami, in whatever language. For spans, put `opentelemetry-instrument` before the command.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI

from lanyard import CorrelationFilter, Ust, VerifiedSession, aio, current_correlation_id, outgoing_headers
from lanyard.starlette import CorrelationMiddleware, RequireSession, bearer_ust

lanyard = aio.Client(os.environ["LANYARD_ENDPOINT"], api_key=os.environ["LANYARD_CALLER_KEY"])
next_service = os.environ.get("NEXT")

log = logging.StreamHandler()
log.addFilter(CorrelationFilter())
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(correlation_id)s %(message)s", handlers=[log])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Closes the connection when the service stops."""
    yield
    await lanyard.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(CorrelationMiddleware)


@app.get("/whoami")
async def whoami(
    session: Annotated[VerifiedSession, Depends(RequireSession(lanyard))],
    ust: Annotated[Ust, Depends(bearer_ust)],
) -> dict[str, Any]:
    """Who calls, under which correlation ID, and what the next service says to the same."""
    logging.info("%s asks who they are", session.session_id)
    links = await lanyard.on_behalf_of(ust).get_linked_auth_list()
    answer: dict[str, Any] = {
        "language": "python",
        "username": session.username,
        "correlation_id": current_correlation_id(),
        "links": len(links),
    }
    if next_service:
        headers = {**outgoing_headers(), "authorization": f"Bearer {ust.expose()}"}
        async with httpx.AsyncClient(timeout=5) as http:
            said = await http.get(f"{next_service}/whoami", headers=headers)
        said.raise_for_status()
        answer["next"] = said.json()
    return answer
