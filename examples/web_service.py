"""A web service around one model: ``uvicorn web_service:app`` (pip install 'edgevision[cpu]' fastapi uvicorn).

POST an encoded image to /predict; the answer is JSON. All requests share one engine: calls are safe from several
threads, and FastAPI runs a function that is not ``async`` in its thread pool.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

import cv2
import numpy as np
from fastapi import Body, FastAPI, HTTPException

import edgevision

MODEL = os.environ.get("MODEL", "street")


@contextlib.asynccontextmanager
async def opened(application: FastAPI) -> AsyncIterator[None]:
    """Open the model once, and close it with the server."""
    with edgevision.load(MODEL) as model:
        application.state.model = model
        yield


app = FastAPI(lifespan=opened)


@app.post("/predict")
def predict(
    image: Annotated[bytes, Body(media_type="image/jpeg")], threshold: float = 0.25
) -> dict[str, Any]:
    """Predict one image."""
    frame = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) if image else None
    if frame is None:
        raise HTTPException(400, "the body is not an image that can be decoded")
    try:
        return app.state.model(frame, threshold=threshold).to_dict()
    except edgevision.EdgevisionError as error:
        raise HTTPException(400, str(error)) from error
