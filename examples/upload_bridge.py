"""An upload bridge: what is PUT over HTTP can be fetched once with ``wraith receive``.

pip install fastapi uvicorn
uvicorn upload_bridge:app
curl -T photo.jpg http://127.0.0.1:8000/photo.jpg    # {"id":"...","code":"wr1..."}
curl http://127.0.0.1:8000/status/ID                 # {"is_done":false,"bytes_done":0}
"""

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import fastapi

import wraith

UPLOAD_BYTES_MAX = 1 << 30
NAME = r"^[\w-][\w. -]{0,100}$"
offers: dict[str, wraith.Sending] = {}
bytes_done: dict[str, int] = {}


@contextlib.asynccontextmanager
async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory() as app.state.folder:
        yield
        for sending in offers.values():
            await sending.close()


app = fastapi.FastAPI(lifespan=lifespan)


@app.put("/{name}")
async def upload(
    name: Annotated[str, fastapi.Path(pattern=NAME)], request: fastapi.Request
) -> dict[str, str]:
    path = Path(tempfile.mkdtemp(dir=app.state.folder), name)
    with path.open("wb") as file:
        async for data in request.stream():
            if file.tell() + len(data) > UPLOAD_BYTES_MAX:
                raise fastapi.HTTPException(413)
            file.write(data)
    id = secrets.token_hex(16)

    def on_event(event: wraith.events.Event) -> None:
        if isinstance(event, wraith.events.ProgressEvent):
            bytes_done[id] = event.bytes_done
        if isinstance(event, wraith.events.DoneEvent):
            path.unlink()

    offers[id] = await wraith.send(path, on_event=on_event)
    return {"id": id, "code": offers[id].code}


@app.get("/status/{id}")
async def status(id: str) -> dict[str, bool | int]:
    if id not in offers:
        raise fastapi.HTTPException(404)
    return {"is_done": offers[id].is_done, "bytes_done": bytes_done.get(id, 0)}
